"""Backends and models for tests of the runner."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kladml import BaseModel, ExperimentRunner, MLTask
from kladml.plugins import PluginIndex, PluginRegistry
from kladml.testing.fakes import MemoryCatalog, MemoryPublisher, MemoryStorage, MemoryTracker


class MeanModel(BaseModel):
    """Predicts the mean of the targets."""

    ml_task = MLTask.REGRESSION

    def train(self, X_train, y_train=None, X_val=None, y_val=None):
        self.mean = float(np.mean(y_train))
        self.run.log_metric("seen", len(X_train), step=1)
        return {"mse": float(np.mean((y_train - self.mean) ** 2))}

    def predict(self, X):
        return np.full(len(X), self.mean)

    def evaluate(self, X_test, y_test=None):
        return {"mse": float(np.mean((y_test - self.mean) ** 2))}

    def save(self, path):
        np.save(path, self.mean)

    def load(self, path):
        self.mean = float(np.load(path))


class Backends:
    """One backend of each kind in memory, and a runner with them."""

    def __init__(self):
        self.storage = MemoryStorage()
        self.tracker = MemoryTracker()
        self.publisher = MemoryPublisher()
        self.catalog = MemoryCatalog()

    def runner(self, **other):
        chosen = {
            "storage": self.storage,
            "tracker": self.tracker,
            "publisher": self.publisher,
            "catalog": self.catalog,
            "config": None,
            "registry": PluginRegistry(PluginIndex([])),
        }
        return ExperimentRunner(**(chosen | other))

    def events(self):
        return [message["event"] for _, message in self.publisher.messages]


@pytest.fixture
def backends():
    return Backends()


@pytest.fixture
def model_class():
    return MeanModel


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    return random.random((20, 3)), random.random(20)


@pytest.fixture(autouse=True)
def in_a_workspace(tmp_path, monkeypatch):
    """Run each test in a workspace of its own."""
    (tmp_path / ".kladml").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Program:
    """`program.py` as one process, or as one of several that train together."""

    def __init__(self, folder, options, variables):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("KLADML_")}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("program.py")), json.dumps(options)],
            cwd=folder,
            env={**environment, "OMP_NUM_THREADS": "1", **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def report(self):
        """Wait for the end and return what the program says of it; None if it was killed."""
        output, errors = self.process.communicate(timeout=300)
        lines = [line for line in output.splitlines() if line.startswith("{")]
        assert lines or self.process.returncode < 0, errors
        return json.loads(lines[-1]) if lines else None

    def line(self):
        """Wait for a line of its output."""
        return self.process.stdout.readline().strip()

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The weights that a run of `program.py` ends with, alone and undisturbed."""
    return Program(tmp_path_factory.mktemp("uninterrupted"), {"alone": True}, {}).report()["weights"]


@pytest.fixture
def start(tmp_path):
    """Start `program.py` in a folder; what still runs at the end of the test is killed."""
    started = []

    def start_one(folder=tmp_path, variables=(), **options):
        started.append(Program(folder, options, dict(variables)))
        return started[-1]

    yield start_one
    for program in started:
        program.process.kill()
        program.process.communicate()


@pytest.fixture
def start_ranks(start, tmp_path):
    """Start `program.py` as several processes that train together, each in a folder if there are several."""

    def start_all(world, folders=(), **options):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        common = {"WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        folders = folders or [tmp_path] * world
        return [
            start(
                folder,
                {**{k: str(v) for k, v in common.items()}, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                **options,
            )
            for rank, folder in enumerate(folders)
        ]

    return start_all
