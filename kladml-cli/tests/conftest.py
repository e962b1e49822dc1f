"""Fixtures of all tests of this distribution: workspaces, plugins made up on the spot, and the command itself."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_CHANGING_OUTPUT = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "TERM")

MODEL = """\
import time

from kladml import BaseModel, MLTask


class MeanModel(BaseModel):
    ml_task = MLTask.REGRESSION

    def __init__(self, sleep=0.0):
        self.sleep = sleep

    def train(self, X_train, y_train=None):
        self.mean = sum(float(y) for y in y_train) / len(y_train)
        self.run.log_metric("mean", self.mean)
        print("training", flush=True)
        time.sleep(self.sleep)
        return {"mse": 0.25}

    def predict(self, X):
        return [self.mean] * len(X)

    def evaluate(self, X_test, y_test=None):
        return {"mse": 0.125}

    def save(self, path):
        with open(path, "w") as file:
            file.write(str(self.mean))

    def load(self, path):
        with open(path) as file:
            self.mean = float(file.read())


class Broken(MeanModel):
    def train(self, X_train, y_train=None):
        return self._fail()

    def _fail(self):
        raise ValueError("the weather is bad")


class HalfAModel(BaseModel):
    ml_task = MLTask.REGRESSION

    def train(self, X_train):
        return {}


def data():
    return [[0.0], [1.0]], [1.0, 2.0]
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Nothing that is set on the machine reaches a test, and nothing that a test changes leaves it."""
    for name in [*_CHANGING_OUTPUT, *(name for name in os.environ if name.startswith("KLADML_"))]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", sys.path[:])
    yield
    assert logging.getLogger("kladml").handlers == []


@dataclass(frozen=True)
class Outcome:
    """What a command came to: its exit status, standard output and standard error."""

    status: int
    output: str
    errors: str


@pytest.fixture
def kladml(capsys):
    """Run the command in this process."""
    from kladml_cli.main import main

    def run(*arguments):
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        output, errors = capsys.readouterr()
        return Outcome(status, output, errors)

    return run


def restore_sigint():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def start_kladml(tmp_path):
    """Start the command as a process of its own, in the current folder."""
    started = []

    def start(*arguments, **environment):
        process = subprocess.Popen(
            [sys.executable, "-m", "kladml_cli", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A parent in the background ignores SIGINT, and a child would inherit that.
            preexec_fn=None if sys.platform == "win32" else restore_sigint,  # noqa: PLW1509 - no threads here
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run_kladml(start_kladml):
    """Run the command as a process of its own to its end."""

    def run(*arguments, **environment):
        process = start_kladml(*arguments, **environment)
        output, errors = process.communicate(timeout=600)
        return Outcome(process.returncode, output, errors)

    return run


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty current folder that lies in no workspace."""
    path = tmp_path / "here"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


@pytest.fixture
def workspace(folder) -> Path:
    """A workspace as current folder, with some models and data in `model.py`."""
    (folder / ".kladml").mkdir()
    (folder / "model.py").write_text(MODEL, encoding="utf-8")
    return folder


@pytest.fixture
def train(kladml):
    """Train the smallest model in this process, with nothing that takes long to set up."""

    def run(*arguments, model="model.py:MeanModel", data="model.py:data"):
        quick = ("--tracker", "none") if "--tracker" not in arguments else ()
        return kladml("train", "--model", model, "--data", data, *quick, *arguments)

    return run


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a made-up distribution with entry points, and modules with their source."""
    site = tmp_path / "site"

    def add(distribution, entry_points, modules=None, version="1.0"):
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = [f"[kladml.{kind}]\n{name} = {value}\n" for (kind, name), value in entry_points.items()]
        (info / "entry_points.txt").write_text("".join(lines))
        for name, source in (modules or {}).items():
            (site / f"{name}.py").write_text(source)
            monkeypatch.delitem(sys.modules, name, raising=False)
        if str(site) not in sys.path:
            monkeypatch.syspath_prepend(str(site))

    return add
