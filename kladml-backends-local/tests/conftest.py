"""Fixtures of all tests of this distribution."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_HIDING_TELEMETRY = ("CI", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """No configuration of the machine reaches a test."""
    for name in [name for name in os.environ if name.startswith("KLADML_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def start_python(tmp_path):
    """Start a program in a fresh interpreter with warnings as errors, as a user's machine would run it."""
    started = []

    def start(program, *arguments, cwd=tmp_path, **environment):
        # Where MLflow sees a test or a CI service, it sends no telemetry anyway and would prove nothing.
        inherited = {name: value for name, value in os.environ.items() if name not in _HIDING_TELEMETRY}
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program, *map(str, arguments)],
            cwd=cwd,
            env={**inherited, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run_python(start_python):
    """Run a program to its end and return its output; it must succeed and write nothing to stderr."""

    def run(program, *arguments, **options):
        process = start_python(program, *arguments, **options)
        output, errors = process.communicate(timeout=600)
        assert (process.returncode, errors) == (0, "")
        return output

    return run


@pytest.fixture
def blocked(tmp_path) -> Path:
    """A path at which no folder can be made, for any user: its parent is a file."""
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    return tmp_path / "file" / "folder"
