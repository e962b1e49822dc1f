"""Training on a CUDA device: its numbers, what is no number, going on, and one precision after another.

The raw loops share nothing with the trainer. All but the device is also tried on the CPU, so that these tests are
known to work where there is no GPU; there fp16 gets torch's scaler and autocast for the CPU.
"""

from __future__ import annotations

import math
import os
import signal

import pytest
import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional as F

from kladml.errors import NonFiniteError, TrainingStopped
from kladml.training import fitting
from kladml.training.checkpointing import store as checkpoints
from kladml.training.finite import LazyFiniteCheck

HAS_CUDA = torch.cuda.is_available()
if HAS_CUDA:  # cuBLAS looks at it once in a process, and deterministic algorithms multiply only with it
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

pytestmark = pytest.mark.filterwarnings("default")  # drivers and kernels say this and that

NEEDS_CUDA = pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=NEEDS_CUDA)]
PRECISIONS = ["no", "bf16", "fp16"]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
OPTIMIZERS = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}
ARGUMENTS = {"sgd": {"momentum": 0.9}, "adamw": {"eps": 1e-4, "weight_decay": 0.1}}
BATCH, EPOCHS, SEED, LR = 4, 3, 3, 0.05


@pytest.fixture(autouse=True)
def deterministic():
    """Sums in one order on a GPU as well: tests below compare bit by bit."""
    torch.use_deterministic_algorithms(HAS_CUDA)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def settings(monkeypatch):
    """Make the configuration for a device and a precision, without shuffling."""

    def make(device, precision="no", optimizer="sgd", **changes):
        if device == "cuda" and precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            pytest.skip("needs a CUDA device that computes in bf16")
        if device == "cpu" and precision == "fp16":
            monkeypatch.setattr(fitting, "make_accelerator", scaled_on_cpu)
        common = {"shuffle": False, "batch_size": BATCH, "max_epochs": EPOCHS, "seed": SEED, "lr": LR}
        named = {"optimizer": optimizer, "optimizer_args": ARGUMENTS[optimizer]}
        return common | named | {"device": device, "mixed_precision": precision} | changes

    return make


def scaled_on_cpu(_):
    """Return an accelerator for fp16 on the CPU, which Accelerate itself does not give."""
    accelerator = Accelerator(cpu=True)
    accelerator.native_amp = True
    accelerator.state._mixed_precision = "fp16"
    accelerator.scaler = torch.amp.GradScaler("cpu")
    return accelerator


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Dropout(0.2), nn.Linear(32, 8))


def samples(count):
    random = torch.Generator().manual_seed(1)
    inputs = torch.randn(count, 16, generator=random)
    return inputs, inputs[:, :8].argmax(1)


def raw_loop(
    module, data, device, precision="no", optimizer="sgd", *, accumulation=1, clipping=None, loss_of=F.cross_entropy
):
    """Train as torch's page on mixed precision does; return the loss of each epoch and the steps taken."""
    module.to(device)
    updates = OPTIMIZERS[optimizer](module.parameters(), lr=LR, fused=True, **ARGUMENTS[optimizer])
    scaler = torch.amp.GradScaler(device, enabled=precision == "fp16")
    batches = list(zip(*(part.split(BATCH) for part in data), strict=True))
    history, steps = [], 0
    torch.manual_seed(SEED)
    for _ in range(EPOCHS):
        total = 0.0
        for begin in range(0, len(batches), accumulation):
            window = batches[begin : begin + accumulation]
            count = sum(len(targets) for _, targets in window)
            for inputs, targets in window:
                with torch.autocast(device, DTYPES.get(precision), enabled=precision != "no"):
                    loss = loss_of(module(inputs.to(device)), targets.to(device))
                scaler.scale(loss * len(targets) / count).backward()
                total += loss.item() * len(targets)
            if clipping:
                scaler.unscale_(updates)
                nn.utils.clip_grad_norm_(module.parameters(), clipping)
            scale = scaler.get_scale()
            scaler.step(updates)
            scaler.update()
            updates.zero_grad()
            steps += scaler.get_scale() >= scale  # else it skipped the step
        history.append(total / len(data[0]))
    return history, steps


def state(module):
    return {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
@pytest.mark.parametrize(("accumulation", "clipping"), [(1, None), (1, 0.1), (4, None), (4, 0.1)])
def test_weights_are_bitwise_those_of_a_raw_loop(
    trainer, settings, same, device, precision, optimizer, accumulation, clipping
):
    """Windows are full and their sizes powers of two, so that both compute the same numbers in the same order."""
    data, module, reference = samples(32), network(), network()
    bound = {"gradient_accumulation_steps": accumulation, "gradient_clipping": clipping}

    result = trainer(**settings(device, precision, optimizer, **bound)).fit(module, data, loss="cross_entropy")
    history, steps = raw_loop(
        reference, data, device, precision, optimizer, accumulation=accumulation, clipping=clipping
    )

    assert same(state(module), state(reference))
    assert result.steps == steps
    assert [epoch["loss"] for epoch in result.history] == pytest.approx(history, rel=1e-12)
    assert {(value.device.type, value.dtype) for value in module.state_dict().values()} == {(device, torch.float32)}
    assert not same(state(module), state(network()))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("precision", "tolerance"), [("no", 1e-5), ("bf16", 5e-3), ("fp16", 5e-3)])
@pytest.mark.parametrize("clipping", [None, 0.5])
def test_a_short_last_window_is_that_of_a_raw_loop(trainer, settings, device, precision, tolerance, clipping):
    """Batches of 4 and 3 are weighted at another place than in the raw loop, which rounds elsewhere.

    In 16 bits a rounding of a gradient is 2^-8 of it or less, a step is 0.05 times it, and there are 6 steps.
    """
    data, module, reference = samples(23), network(), network()
    bound = {"gradient_accumulation_steps": 4, "gradient_clipping": clipping}

    trainer(**settings(device, precision, **bound)).fit(module, data, loss="cross_entropy")
    raw_loop(reference, data, device, precision, accumulation=4, clipping=clipping)

    ours, raw, first = state(module), state(reference), state(network())
    assert max((ours[name] - raw[name]).abs().max() for name in raw) < tolerance
    assert max((first[name] - raw[name]).abs().max() for name in raw) > 0.05


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("clipping", [None, 0.1])
def test_fp16_skips_the_steps_that_a_raw_loop_skips(trainer, settings, same, device, clipping):
    data, module, reference = samples(32), network(), network()
    wanted = settings(device, "fp16", "adamw", gradient_clipping=clipping)

    def steep(scores, targets):
        return F.cross_entropy(scores, targets) * 32  # times the first scale, more than fp16 holds

    result = trainer(**wanted).fit(module, data, loss=steep)
    _, steps = raw_loop(reference, data, device, "fp16", "adamw", clipping=clipping, loss_of=steep)

    assert result.steps == steps
    assert 0 < steps < 8 * EPOCHS
    assert same(state(module), state(reference))


class Sick(nn.Module):
    """Gives a number that is none in one batch, counted over all epochs from 0; in all after it, it is well."""

    def __init__(self, batch=None, where="loss"):
        super().__init__()
        self.net, self.batch, self.where, self.seen = network(), batch, where, 0

    def training_step(self, batch):
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        if self.seen == self.batch:
            loss = loss * math.nan if self.where == "loss" else Broken.apply(loss)
        self.seen += 1
        return loss


class Broken(torch.autograd.Function):
    @staticmethod
    def forward(_, tensor):
        return tensor.clone()

    @staticmethod
    def backward(_, gradient):
        return gradient * math.nan


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
@pytest.mark.parametrize("where", ["loss", "gradient"])
@pytest.mark.parametrize(("accumulation", "clipping"), [(1, None), (1, 0.1), (2, None)])
def test_nan_leaves_the_weights_before_its_step_which_is_named(
    trainer, settings, same, monkeypatch, device, precision, optimizer, where, accumulation, clipping
):
    """On a GPU the host hears of it at the next log step, and until then no step changes anything."""
    bound = {"gradient_accumulation_steps": accumulation, "gradient_clipping": clipping, "log_every": 4}
    wanted = settings(device, precision, optimizer, **bound)
    checks, place = [], LazyFiniteCheck.where_possible
    monkeypatch.setattr(LazyFiniteCheck, "where_possible", lambda *given: checks.append(place(*given)) or checks[-1])
    bad = 10  # of 8 batches an epoch
    module, reference = Sick(bad, where), Sick()

    with pytest.raises(
        NonFiniteError, match=rf"in optimizer step {bad // accumulation + 1}, and the weights were left as they were"
    ):
        trainer(**wanted).fit(module, samples(32))
    assert isinstance(checks[0], LazyFiniteCheck) is (device == "cuda")
    trainer(**wanted, max_steps=bad // accumulation).fit(reference, samples(32))

    assert same(state(module), state(reference))
    at_once = bad + (accumulation if where == "gradient" else 1)
    until_the_log_step = -(-(bad + 1) // (4 * accumulation)) * 4 * accumulation
    assert module.seen == (until_the_log_step if device == "cuda" else at_once)


class Stopped(nn.Module):
    """Is told to end (SIGTERM) while it computes one batch, counted from 1."""

    def __init__(self, batch=None, seed=0):
        super().__init__()
        self.net, self.batch, self.seen = network(seed), batch, 0

    def training_step(self, batch):
        self.seen += 1
        if self.seen == self.batch:
            signal.raise_signal(signal.SIGTERM)
        scores = self.net(batch[0])
        return {"loss": F.cross_entropy(scores, batch[1]), "accuracy": (scores.argmax(1) == batch[1]).float().mean()}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
@pytest.mark.parametrize("stop", [3, 5, 6, 8, 13, "max_steps"])
def test_a_training_goes_on_to_the_last_bit(trainer, settings, same, tmp_path, device, precision, optimizer, stop):
    """Stopped inside a window, at its end, at an epoch's end, or by `max_steps`; with dropout on the device."""
    data = samples(31)  # 8 batches an epoch, in windows of 3, 3 and 2
    wanted = settings(device, precision, optimizer, gradient_accumulation_steps=3, gradient_clipping=1.0)
    whole = Stopped()
    expected = trainer(checkpoint_dir=tmp_path / "whole", **wanted).fit(whole, data)

    if stop == "max_steps":
        trainer(checkpoint_dir=tmp_path / "cut", **wanted, max_steps=4).fit(Stopped(), data)
    else:
        with pytest.raises(TrainingStopped):
            trainer(checkpoint_dir=tmp_path / "cut", **wanted).fit(Stopped(stop), data)
    resumed = Stopped(seed=99)
    result = trainer(checkpoint_dir=tmp_path / "cut", **wanted).fit(resumed, data, resume=tmp_path / "cut")

    assert same(state(resumed), state(whole))
    assert 0 < resumed.seen < whole.seen
    assert (result.steps, result.history) == (expected.steps, expected.history)
    ours, other = checkpoints.load(result.last_checkpoint), checkpoints.load(expected.last_checkpoint)
    assert same(ours.optimizer, other.optimizer)
    assert ours.state["scaler"] == other.state["scaler"]


@pytest.mark.parametrize("device", DEVICES)
def test_fits_in_one_process_may_differ_in_precision(trainer, settings, same, device):
    order = ["no", "bf16", "no"] if device == "cpu" else ["no", "bf16", "fp16", "no", "fp16", "bf16"]
    ends = {}
    for precision in order:
        module = network()
        trainer(**settings(device, precision)).fit(module, samples(32), loss="cross_entropy")
        ends.setdefault(precision, []).append(state(module))

    assert all(same(found, of_one[0]) for of_one in ends.values() for found in of_one)
    firsts = [of_one[0] for of_one in ends.values()]
    assert not any(same(one, other) for at, one in enumerate(firsts) for other in firsts[:at])
