"""Backends and models for tests of the runner."""

from __future__ import annotations

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
