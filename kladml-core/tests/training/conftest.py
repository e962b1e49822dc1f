"""Fixtures of the trainer's tests: small modules, data, and a trainer on the CPU."""

from __future__ import annotations

import inspect
import json
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
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


@pytest.fixture
def seed():
    """A seed that is another one in every run; a failing test prints it, and KLADML_TEST_SEED repeats it."""
    chosen = int(os.environ.get("KLADML_TEST_SEED") or secrets.randbelow(2**31))
    print(f"\nKLADML_TEST_SEED={chosen}")  # noqa: T201 - pytest shows it where the test fails
    return chosen


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

    def on_validated(self, epoch, step, metrics):
        self.calls.append(("validated", epoch, step, dict(metrics)))

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


@dataclass
class RankEnd:
    """How one of several processes ended.

    `returned` is what its function returned, `tensors` what that held under this name; `error` and `message` are
    the type and text of its exception.
    """

    exit_code: int
    log: str
    returned: dict | None = None
    tensors: dict | None = None
    error: str | None = None
    message: str = ""


@pytest.fixture(scope="session")
def rank_server():
    """The process that forks ranks; see `rank_server.py`. It ends with the tests."""
    if not hasattr(os, "fork"):
        pytest.skip("several processes are for Linux and macOS")
    program = [sys.executable, "-W", "ignore", Path(__file__).with_name("rank_server.py")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as server:
        yield server
        server.stdin.close()


@pytest.fixture
def run_ranks(rank_server, tmp_path):
    """Call a module's function in several processes that a launcher seems to have started, and return their ends.

    The function must be at the top of its file, and its arguments JSON-able. If `fails` is false, all have to succeed.
    """
    runs = iter(range(1000))

    def run(world, function, *, fails=False, limit=60, environment=None, **arguments):
        folder = tmp_path / f"ranks-{next(runs)}"
        folder.mkdir()
        request = {
            "world": world,
            "file": inspect.getsourcefile(function),
            "function": function.__name__,
            "arguments": arguments,
            "folder": str(folder),
            "limit": limit,
            "environment": environment or {},
        }
        rank_server.stdin.write(json.dumps(request) + "\n")
        rank_server.stdin.flush()
        exit_codes = json.loads(rank_server.stdout.readline())
        ends = []
        for rank, exit_code in enumerate(exit_codes):
            path = folder / f"rank-{rank}"
            end = RankEnd(exit_code, path.with_suffix(".log").read_text())
            said = json.loads(path.with_suffix(".json").read_text()) if path.with_suffix(".json").is_file() else {}
            end.returned, end.error, end.message = said.get("returned"), said.get("error"), said.get("message", "")
            if end.returned is not None:
                end.tensors = load_file(path.with_suffix(".safetensors"))
            ends.append(end)
        if not fails:
            assert exit_codes == [0] * world, "\n".join(end.log for end in ends)
        return ends

    return run
