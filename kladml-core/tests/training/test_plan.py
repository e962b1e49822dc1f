"""The step plan alone: windows of batches of any sizes, clipping, and what a step leaves behind."""

from __future__ import annotations

import json

import pytest
import torch
from accelerate import Accelerator
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from kladml.errors import NonFiniteError
from kladml.training.accelerator import fresh_state
from kladml.training.data_parallel import DataParallel
from kladml.training.plan import StepPlan
from kladml.training.ranks import Ranks

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=8)


class Planned:
    """A plan for a small module in 64 bits, which notes the gradients that its optimizer uses."""

    def __init__(self, *, accumulation=1, clipping=None, module=None, lr=0.1):
        torch.manual_seed(0)
        self.accelerator = Accelerator(cpu=True)
        build = nn.Linear(3, 2, dtype=torch.float64)
        self.module, optimizer = self.accelerator.prepare(
            module or build, torch.optim.SGD((module or build).parameters(), lr=lr)
        )
        self.used = []
        optimizer.optimizer.register_step_pre_hook(lambda *_: self.used.append(self.gradients()))
        self.plan = StepPlan(
            self.accelerator,
            DataParallel(Ranks(), self.accelerator),
            self.module,
            optimizer,
            self.module.parameters(),
            accumulation=accumulation,
            clipping=clipping,
        )

    def gradients(self):
        return [parameter.grad.clone() for parameter in self.module.parameters() if parameter.grad is not None]

    def weights(self):
        return [parameter.detach().clone() for parameter in self.module.parameters()]

    def add(self, inputs, targets, *, is_last=False, size=None):
        """Take in one batch; return whether it ended a step."""
        size = len(inputs) if size is None else size
        closes = self.plan.closes_window(is_last=is_last)
        with self.plan.context(closes=closes):
            loss = F.mse_loss(self.module(inputs), targets)
            self.plan.backward(loss, size, size)
        return closes and self.plan.step()


@pytest.fixture
def planned():
    with fresh_state():
        yield Planned


def data(samples, seed):
    random = torch.Generator().manual_seed(seed)
    double = {"generator": random, "dtype": torch.float64}
    return torch.randn(samples, 3, **double), torch.randn(samples, 2, **double)


def full_gradient(module, inputs, targets):
    return torch.autograd.grad(F.mse_loss(module(inputs), targets), list(module.parameters()))


@given(sizes=SIZES, accumulation=st.integers(1, 9), seed=st.integers(0, 2**40))
def test_a_windows_gradient_is_the_mean_over_its_samples_however_they_are_cut(sizes, accumulation, seed):
    inputs, targets = data(sum(sizes), seed)
    with fresh_state():
        planned = Planned(accumulation=accumulation)
        cuts = list(zip(inputs.split(sizes), targets.split(sizes), strict=True))
        for start in range(0, len(cuts), accumulation):
            window = cuts[start : start + accumulation]
            expected = full_gradient(planned.module, *(torch.cat(part) for part in zip(*window, strict=True)))
            for number, batch in enumerate(window, start=start + 1):
                stepped = planned.add(*batch, is_last=number == len(cuts))
                assert stepped is (number == start + len(window))
                assert planned.plan.in_window is not stepped
            for used, full in zip(planned.used[-1], expected, strict=True):
                assert torch.allclose(used, full, rtol=0, atol=1e-12)
        assert planned.plan.steps == len(planned.used) == -(-len(cuts) // accumulation)


@given(sizes=st.lists(st.integers(0, 5), min_size=1, max_size=6), seed=st.integers(0, 2**40))
def test_batches_that_do_not_count_add_nothing_wherever_they_are(sizes, seed):
    inputs, targets = data(5, seed)
    with fresh_state():
        planned = Planned(accumulation=len(sizes))
        counted = [(inputs[:size], targets[:size]) for size in sizes if size]
        expected = [torch.zeros(2, 3), torch.zeros(2)]
        if counted:
            expected = full_gradient(planned.module, *(torch.cat(part) for part in zip(*counted, strict=True)))
        for size in sizes:
            planned.add(inputs[: size or 5], targets[: size or 5], size=size)

        for used, full in zip(planned.used[0], expected, strict=True):
            assert torch.allclose(used, full.double(), rtol=0, atol=1e-12)


def test_full_batches_are_divided_by_their_number_as_plain_loops_do(planned):
    """To the last bit: whoever compares with such a loop finds no difference."""
    found, (inputs, targets) = planned(accumulation=3), data(12, 1)
    reference = [torch.zeros_like(weight) for weight in found.weights()]
    for batch in zip(inputs.split(4), targets.split(4), strict=True):
        loss = F.mse_loss(found.module(batch[0]), batch[1]) / 3
        gradients = torch.autograd.grad(loss, list(found.module.parameters()))
        reference = [total + gradient for total, gradient in zip(reference, gradients, strict=True)]
    for batch in zip(inputs.split(4), targets.split(4), strict=True):
        found.add(*batch)

    assert all(map(torch.equal, found.used[0], reference))


@pytest.mark.parametrize("clipping", [0.01, 0.5, 1e6])
@pytest.mark.parametrize("sizes", [[4, 4], [4, 1], [1, 9]])
def test_the_norm_that_is_clipped_is_that_of_the_whole_window(planned, clipping, sizes):
    inputs, targets = data(sum(sizes), 1)
    found = planned(accumulation=2, clipping=clipping)
    full = full_gradient(found.module, inputs, targets)
    norm = torch.cat([gradient.flatten() for gradient in full]).norm()
    factor = min(1.0, clipping / (norm.item() + 1e-6))

    for batch in zip(inputs.split(sizes), targets.split(sizes), strict=True):
        found.add(*batch)

    for used, gradient in zip(found.used[0], full, strict=True):
        assert torch.allclose(used, gradient * factor, rtol=1e-9, atol=0)


@pytest.mark.parametrize("clipping", [None, 0, 0.0])
def test_no_bound_is_no_clipping(planned, clipping):
    (inputs, targets), found = data(4, 1), planned(clipping=clipping)
    targets = targets * 1e9
    full = full_gradient(found.module, inputs, targets)
    found.add(inputs, targets)

    assert all(map(torch.equal, found.used[0], full))


def test_accelerates_own_state_says_when_gradients_are_synchronised(planned):
    found, (inputs, targets) = planned(accumulation=3), data(4, 1)
    said = []
    for number in range(7):
        found.plan.closes_window(is_last=number == 6)
        said.append(found.accelerator.sync_gradients)
        found.add(inputs, targets, is_last=number == 6)

    assert said == [False, False, True, False, False, True, True]


def test_an_empty_window_takes_no_step(planned):
    found = planned(accumulation=3)
    before = found.weights()

    assert found.plan.step() is False
    assert found.plan.steps == 0
    assert not found.used
    assert all(map(torch.equal, before, found.weights()))


def test_an_open_window_can_be_closed(planned):
    """As at the end of a stream of unknown length."""
    found, (inputs, targets) = planned(accumulation=5), data(7, 1)
    full = full_gradient(found.module, inputs, targets)
    found.add(inputs[:4], targets[:4])
    found.add(inputs[4:], targets[4:])

    assert found.plan.in_window
    assert found.plan.step() is True
    for used, gradient in zip(found.used[0], full, strict=True):
        assert torch.allclose(used, gradient, rtol=0, atol=1e-12)
    assert not found.plan.in_window
    assert found.plan.step() is False


def test_a_step_lets_go_of_all_gradients_and_moves_the_weights(planned):
    found, (inputs, targets) = planned(), data(4, 1)
    before = found.weights()
    found.add(inputs, targets)

    assert not found.gradients()
    for weight, start, gradient in zip(found.weights(), before, found.used[0], strict=True):
        assert torch.equal(weight, start - 0.1 * gradient)


@pytest.mark.parametrize("clipping", [None, 1.0])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [(0, 0), (1, 1)])
def test_a_gradient_that_is_no_number_is_not_used_and_the_plan_goes_on(planned, clipping, bad, place):
    found, (inputs, targets) = planned(clipping=clipping), data(4, 1)
    found.add(inputs, targets)
    before = found.weights()
    number, element = place
    gradient = list(found.module.parameters())[number]
    hook = gradient.register_hook(
        lambda value: torch.where(torch.arange(value.numel()).view_as(value) == element, bad, value)
    )

    with pytest.raises(NonFiniteError, match=r"in optimizer step 2, and the weights were left as they were"):
        found.add(inputs, targets)

    assert all(map(torch.equal, before, found.weights()))
    assert not found.gradients()
    assert (found.plan.steps, len(found.used), found.plan.in_window) == (1, 1, False)
    hook.remove()
    assert found.add(inputs, targets) is True
    assert found.plan.steps == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64])
def test_gradients_of_any_type_are_judged(planned, dtype):
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.ones(2, dtype=dtype))

        def forward(self, inputs):
            return (self.factor * inputs).abs().double()

    found = planned(module=Scale())
    fine = torch.ones(4, 2, dtype=dtype)
    assert found.add(fine, torch.zeros(4, 2, dtype=torch.float64)) is True
    before = found.weights()
    with pytest.raises(NonFiniteError):
        found.add(fine * float("nan"), torch.zeros(4, 2, dtype=torch.float64))

    assert all(map(torch.equal, before, found.weights()))


def test_parameters_of_several_types_are_judged_together(planned):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
            self.second = nn.Parameter(torch.ones(2, dtype=torch.float64))

        def forward(self, inputs):
            return (inputs * self.first).sum(1, keepdim=True) + self.second

    found, (inputs, targets) = planned(module=Mixed()), data(4, 1)
    assert found.add(inputs, targets) is True
    with pytest.raises(NonFiniteError):
        found.add(inputs * float("inf"), targets)


@pytest.mark.parametrize("cut", [1, 2, 3])
@pytest.mark.parametrize("sizes", [[3, 3, 3, 3], [2, 4, 1, 5]])
def test_a_window_goes_on_from_its_state_to_the_last_bit(planned, cut, sizes):
    inputs, targets = data(sum(sizes), 1)
    cuts = list(zip(inputs.split(sizes), targets.split(sizes), strict=True))
    whole, first = planned(accumulation=4, clipping=0.1), planned(accumulation=4, clipping=0.1)
    for batch in cuts:
        whole.add(*batch)
    for batch in cuts[:cut]:
        first.add(*batch)
    state, gradients = json.loads(json.dumps(first.plan.state_dict())), first.plan.gradients()
    kept = {name: value.clone() for name, value in gradients.items()}

    second = planned(accumulation=4, clipping=0.1)
    second.plan.load_state_dict(state, kept)
    for batch in cuts[cut:]:
        second.add(*batch)

    assert set(gradients) == {"grad.0", "grad.1"}
    assert all(map(torch.equal, second.used[0], whole.used[0]))
    assert all(map(torch.equal, second.weights(), whole.weights()))
    assert not whole.plan.gradients(), "between windows there is nothing to keep"


@pytest.mark.parametrize("sizes", [[2, 2], [3, 1]])
def test_sparse_gradients_are_weighted_and_kept_as_well(planned, sizes):
    def build():
        torch.manual_seed(0)
        return nn.Sequential(nn.Embedding(10, 2, sparse=True), nn.Flatten()).double()

    inputs, targets = torch.tensor([[1], [2], [1], [7]]), torch.ones(4, 2, dtype=torch.float64)
    dense = nn.Sequential(nn.Embedding(10, 2), nn.Flatten()).double()
    dense.load_state_dict(build().state_dict())
    (expected,) = full_gradient(dense, inputs, targets)
    first, second = planned(accumulation=2, module=build()), planned(accumulation=2, module=build())

    first.add(inputs[: sizes[0]], targets[: sizes[0]])
    second.plan.load_state_dict(first.plan.state_dict(), first.plan.gradients())
    for found in (first, second):
        found.add(inputs[sizes[0] :], targets[sizes[0] :])
        (used,) = found.used[0]
        assert used.is_sparse
        assert torch.allclose(used.to_dense(), expected, rtol=0, atol=1e-12)
