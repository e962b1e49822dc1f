"""Fixtures of the trainer's tests: small modules, data, and a trainer on the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from kladml.config import TrainingConfig
from kladml.config.schema import OptimizerConfig
from kladml.training import TrainerCallback, UniversalTrainer


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Sums in one order: the tests below compare bit by bit, and share the machine with others."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def double():
    """64 bit floats as torch's default, for comparisons of what is equal only up to rounding."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


class Recorder(TrainerCallback):
    """Remembers every call, in order."""

    def __init__(self):
        self.calls = []

    def on_fit_started(self, info):
        self.calls.append(("fit_started", info))

    def on_step(self, epoch, step, loss, lr):
        self.calls.append(("step", epoch, step, loss, lr))

    def on_epoch_ended(self, epoch, step, metrics):
        self.calls.append(("epoch_ended", epoch, step, dict(metrics)))

    def on_checkpoint_saved(self, path, step, *, is_best):
        self.calls.append(("checkpoint_saved", path, step, is_best))

    def on_fit_ended(self, result):
        self.calls.append(("fit_ended", result))

    def named(self, name):
        return [call[1:] for call in self.calls if call[0] == name]


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def config():
    """Make a configuration: plain SGD on the CPU, three epochs, unless told otherwise."""

    def make(**changes):
        optimizer = OptimizerConfig(
            name=changes.pop("optimizer", "sgd"), lr=changes.pop("lr", 0.05), args=changes.pop("optimizer_args", {})
        )
        plain = TrainingConfig(device="cpu", max_epochs=3, batch_size=8, log_every=0, optimizer=optimizer)
        return replace(plain, **changes)

    return make


@pytest.fixture
def trainer(config):
    """Make a trainer: `checkpoint_dir` and `callbacks` go to it, the rest to its configuration."""

    def make(*, checkpoint_dir=None, callbacks=(), **changes):
        return UniversalTrainer(config(**changes), checkpoint_dir=checkpoint_dir, callbacks=callbacks)

    return make


@pytest.fixture
def net():
    """Make the same small network each time: 3 inputs, and as many outputs as wanted."""

    def make(outputs=1, *, seed=0, dropout=0.0):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Dropout(dropout), nn.Linear(5, outputs))

    return make


@pytest.fixture
def regression():
    """Make inputs of shape (n, 3) and targets of shape (n, 1)."""

    def make(samples=23, *, seed=1):
        random = torch.Generator().manual_seed(seed)
        inputs = torch.randn(samples, 3, generator=random)
        return inputs, inputs.sum(1, keepdim=True) + torch.randn(samples, 1, generator=random)

    return make


@pytest.fixture
def classification():
    """Make inputs of shape (n, 3) and classes of shape (n,), three of them."""

    def make(samples=23, *, seed=1):
        random = torch.Generator().manual_seed(seed)
        inputs = torch.randn(samples, 3, generator=random)
        return inputs, inputs.argmax(1)

    return make


@pytest.fixture
def weights():
    """Copy a module's state, to compare it later."""
    return lambda module: {name: value.clone() for name, value in module.state_dict().items()}


@pytest.fixture
def same():
    """Tell whether two state dicts are equal bit by bit."""
    return lambda one, other: one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
