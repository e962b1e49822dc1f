"""Fixtures of all tests of this distribution: a run's messages, and a terminal to show them on."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys

import pytest

ADDRESS = "default/default/digits@3"
CHANNEL = f"kladml:{ADDRESS}"

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CHANGING_OUTPUT = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "TERM")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Nothing that is set on the machine changes how a test's output looks."""
    for name in _CHANGING_OUTPUT:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def play(tmp_path):
    """Return a publisher's listener for a run of some epochs with ten steps each, told in order."""

    def tell(publisher, *, epochs=3, max_epochs=None, status="FINISHED", artifacts=None, ends=True):
        time = 1_000_000.0

        def publish(**message):
            nonlocal time
            time += 1
            publisher.publish(CHANNEL, {"time": time, **message})

        publish(
            event="run_started",
            address=ADDRESS,
            run_id="0f3c",
            max_epochs=max_epochs or epochs,
            steps_per_epoch=10,
            selected=[],
        )
        metrics = {}
        for epoch in range(1, epochs + 1):
            for step in range(10 * (epoch - 1) + 1, 10 * epoch + 1):
                publish(event="step", epoch=epoch, step=step, loss=2 / step, lr=0.01)
            metrics = {"accuracy": 0.5, "loss": 1 / epoch, "lr": 0.01, "val_accuracy": 0.9, "val_loss": 2 / epoch}
            publish(event="epoch_ended", epoch=epoch, step=10 * epoch, metrics=metrics)
        if ends:
            publish(
                event="run_ended",
                status=status,
                metrics=metrics,
                artifacts=artifacts or {},
                how_to_view=["mlflow ui --backend-store-uri sqlite:///.kladml/mlflow.db"],
                seconds=42.0,
            )

    return tell


@pytest.fixture
def on_terminal(tmp_path):
    """Run a program with a terminal of 80 columns as its standard streams; return what appears, raw."""
    pty = pytest.importorskip("pty", reason="needs a POSIX terminal")
    import fcntl
    import termios

    def run(program, *, columns=80, stdout=None, **environment):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={**os.environ, "TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join(sys.path), **environment},
            stdin=theirs,
            stdout=theirs if stdout is None else stdout,
            stderr=theirs,
        )
        os.close(theirs)
        output = b""
        try:
            while chunk := os.read(ours, 65_536):
                output += chunk
        except OSError:  # how Linux says that the other side is closed
            pass
        finally:
            os.close(ours)
            process.wait(timeout=60)
        return output.decode()

    return run


@pytest.fixture
def frames():
    """Return the function that splits raw output into the lines that were ever drawn, without control codes."""

    def split(output):
        return [line for line in re.split(r"[\r\n]+", _CONTROL.sub("", output)) if line]

    return split


@pytest.fixture
def program():
    """Return the function that makes a program of statements that have a publisher `p` and `tell`."""

    def make(body, arguments=""):
        return (
            "import sys, time\n"
            "from kladml_backends_console import ConsolePublisher\n"
            f"p = ConsolePublisher({arguments})\n"
            "def tell(event, **fields):\n"
            f"    p.publish('{CHANNEL}', dict(fields, event=event, time=fields.get('time', time.time())))\n"
            f"def start(): tell('run_started', address='{ADDRESS}', max_epochs=3, steps_per_epoch=10)\n"
            "def step(n): tell('step', epoch=1 + (n - 1) // 10, step=n, loss=1 / n, lr=0.1)\n"
            "def epoch(n, **metrics):\n"
            "    tell('epoch_ended', epoch=n, step=10 * n, metrics=metrics or {'loss': 0.5, 'val_loss': 0.25})\n"
            "def end(status='FINISHED', artifacts={}):\n"
            "    tell('run_ended', status=status, metrics={'val_loss': 0.25}, artifacts=artifacts, seconds=1.5,\n"
            "         how_to_view=['mlflow ui'])\n"
            f"{body}\n"
        )

    return make
