"""Keeping what is no number out of the weights with a flag on the device, which fused optimizers obey.

On a CPU the trainer reads every value at once; here it is made to treat one as a device that it must not wait for.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kladml.config.schema import CheckpointConfig
from kladml.errors import NonFiniteError
from kladml.training import finite
from kladml.training.finite import FiniteCheck, LazyFiniteCheck
from kladml.training.fitting import Fitting

CPU = torch.device("cpu")


@pytest.fixture
def lazily(monkeypatch):
    """Let the trainer judge losses and gradients on the device, and read the verdict where it logs."""
    monkeypatch.setattr(finite, "_FUSED_ON", ("cpu",))
    built = Fitting.__init__

    def build(self, *arguments, **options):
        built(self, *arguments, **options)
        assert isinstance(self.plan.finite, LazyFiniteCheck)
        self._reads_at_once = False

    monkeypatch.setattr(Fitting, "__init__", build)


class Broken(torch.autograd.Function):
    @staticmethod
    def forward(context, tensor, value):
        context.value = value
        return tensor.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient * context.value, None


class Sick(nn.Module):
    """Gives a number that is none in one batch, counted over all epochs from 0; in all after it, it is well."""

    def __init__(self, batch=None, value=math.nan, where="loss"):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))
        self.batch, self.value, self.where, self.seen = batch, value, where, 0

    def training_step(self, batch):
        loss = F.mse_loss(self.net(batch[0]), batch[1])
        if self.seen == self.batch:
            loss = loss * self.value if self.where == "loss" else Broken.apply(loss, self.value)
        self.seen += 1
        return loss


SETTINGS = {"batch_size": 4, "max_epochs": 3, "shuffle": False}  # 6 batches an epoch


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "adam"])
@pytest.mark.parametrize(("where", "value"), [("loss", math.nan), ("loss", math.inf), ("gradient", math.nan)])
@pytest.mark.parametrize(("accumulation", "clipping"), [(1, None), (1, 0.1), (2, None)])
@pytest.mark.parametrize("batch", [0, 3, 9])
def test_a_bad_step_keeps_the_weights_before_it_and_is_named(
    trainer, regression, weights, same, lazily, optimizer, where, value, accumulation, clipping, batch
):
    settings = SETTINGS | {
        "optimizer": optimizer,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": clipping,
    }
    good = batch // accumulation
    module, reference = Sick(batch, value, where), Sick()

    with pytest.raises(NonFiniteError, match=rf"in optimizer step {good + 1}, and the weights were left as they were"):
        trainer(**settings).fit(module, regression(23))
    if good:
        trainer(max_steps=good, **settings).fit(reference, regression(23))

    assert same(weights(module), weights(reference))
    assert module.seen == 6 * (batch // 6 + 1), "it goes on until somebody asks, here at the end of the epoch"


@pytest.mark.parametrize(("log_every", "read_at"), [(1, 4), (2, 4), (3, 6), (5, 5)])
def test_the_flag_is_read_where_losses_are_logged(trainer, regression, recorder, lazily, log_every, read_at):
    module = Sick(3)

    with pytest.raises(NonFiniteError, match="in optimizer step 4"):
        trainer(callbacks=[recorder], log_every=log_every, **SETTINGS).fit(module, regression(23))

    assert module.seen == read_at
    assert [call[1] for call in recorder.named("step")] == list(range(log_every, read_at, log_every))


@pytest.mark.parametrize("saving", [{"every_steps": 1}, {"every_epochs": 1}])
def test_a_bad_state_is_never_kept(trainer, regression, lazily, tmp_path, saving):
    with pytest.raises(NonFiniteError, match="in optimizer step 4"):
        trainer(checkpoint_dir=tmp_path, checkpoint=CheckpointConfig(keep_last=9, **saving), **SETTINGS).fit(
            Sick(3), regression(23)
        )

    steps = [1, 2, 3] if "every_steps" in saving else []
    assert sorted(path.name for path in tmp_path.glob("step-*")) == [f"step-{step:08d}" for step in steps]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("clipping", [None, 0.1])
def test_a_training_in_which_all_is_well_is_bitwise_the_same(
    trainer, regression, weights, same, monkeypatch, optimizer, clipping
):
    settings = SETTINGS | {"optimizer": optimizer, "gradient_clipping": clipping}
    at_once, later = Sick(), Sick()
    expected = trainer(**settings).fit(at_once, regression(23), regression(5))
    monkeypatch.setattr(finite, "_FUSED_ON", ("cpu",))
    result = trainer(**settings).fit(later, regression(23), regression(5))

    assert same(weights(later), weights(at_once))
    assert result.history == expected.history


def optimizer_of(kind, *parameters, **options):
    return kind(parameters, lr=0.1, **options)


@pytest.mark.parametrize(
    ("build", "possible"),
    [
        (lambda p, q: optimizer_of(torch.optim.AdamW, p, q, fused=True), True),
        (lambda p, q: optimizer_of(torch.optim.SGD, p, q, fused=True), True),
        (lambda p, q: optimizer_of(torch.optim.AdamW, p, q), False),
        (lambda p, q: optimizer_of(torch.optim.RMSprop, p, q), False),
        (lambda p, q: torch.optim.AdamW([{"params": [p], "fused": True}, {"params": [q], "fused": False}]), False),
    ],
)
def test_a_flag_is_for_optimizers_that_obey_it(monkeypatch, build, possible):
    parameters = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))]
    optimizer = build(*parameters)
    assert LazyFiniteCheck.where_possible(optimizer, parameters, CPU) is None, "reading costs nothing on a CPU"
    monkeypatch.setattr(finite, "_FUSED_ON", ("cpu",))

    assert (LazyFiniteCheck.where_possible(optimizer, parameters, CPU) is not None) is possible


def test_a_flag_is_not_for_parameters_of_several_types(monkeypatch):
    monkeypatch.setattr(finite, "_FUSED_ON", ("cpu",))
    parameters = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2, dtype=torch.float64))]
    optimizer = torch.optim.AdamW(parameters, fused=True)

    assert LazyFiniteCheck.where_possible(optimizer, parameters, CPU) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_first_bad_step_stays_the_first(bad):
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1, fused=True)
    check = LazyFiniteCheck(optimizer, CPU)
    verdicts, values = [], []
    for number in (1.0, 1.0, bad, 1.0, bad, 1.0):
        parameter.grad = torch.full((2,), number)
        check.gradients([parameter.grad], None, [torch.tensor(0.5)])
        optimizer.step()
        verdicts.append(check.first_bad_step())
        values.append(parameter[0].item())

    assert verdicts == [None, None, 3, 3, 3, 3]
    assert values == pytest.approx([0.9, 0.8, 0.8, 0.8, 0.8, 0.8])


def test_a_norm_that_overflows_is_bad_as_well():
    parameter = nn.Parameter(torch.ones(2))
    gradients, norm = [torch.zeros(2)], torch.tensor(math.inf)
    lazy = LazyFiniteCheck(torch.optim.SGD([parameter], lr=0.1, fused=True), CPU)
    lazy.gradients(gradients, norm, [])

    assert lazy.first_bad_step() == 1
    assert not FiniteCheck([parameter]).gradients(gradients, norm, [])


def test_steps_are_counted_beyond_what_32_bits_of_float_hold():
    parameter = nn.Parameter(torch.ones(2))
    check = LazyFiniteCheck(torch.optim.SGD([parameter], lr=0.1, fused=True), CPU)
    check._good.fill_(2.0**24)
    for number in (1.0, 1.0, math.nan):
        check.gradients([torch.full((2,), number)], None, [])

    assert check.first_bad_step() == 2**24 + 3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64])
@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_gradients_are_judged_and_left_as_they_are(dtype, default):
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        check = FiniteCheck([nn.Parameter(torch.ones(3, dtype=dtype))])
        fine = torch.tensor([1.0, -3e4, 1e-7]).to(dtype)
        for value, is_finite in ((1.0, True), (math.nan, False), (2.0, True), (math.inf, False), (3.0, True)):
            gradients = [fine.clone(), torch.full((2, 2), value).to(dtype)]
            assert check.gradients(gradients, None, []) is is_finite
            assert torch.equal(gradients[0], fine)
        assert check.gradients([], None, []) is True
        assert check.first_bad_step() is None
    finally:
        torch.set_default_dtype(before)


def test_large_gradients_are_no_reason_to_stop():
    parameters = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))]

    assert FiniteCheck(parameters).gradients([torch.full((2,), 3e38), torch.full((2,), -3e38)], None, [])
