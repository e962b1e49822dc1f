"""A private MLflow tracking server for the tests, in a process group of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# MLflow reads it once, when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@dataclass
class Server:
    """A tracking server that can be killed and started again on the same port and database."""

    folder: Path
    port: int
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                start_new_session=True,
            )
        for _ in range(1200):
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.url}/health"):
                    return
            except OSError:
                time.sleep(0.1)
        pytest.fail(f"mlflow server did not start: {(self.folder / 'log.txt').read_text()}")

    def send(self, signal_number):
        """Send a signal to the server and to the workers that it started."""
        os.killpg(self.process.pid, signal_number)

    def kill(self):
        if self.process.poll() is None:
            self.send(signal.SIGKILL)
        self.process.wait()


@contextmanager
def running_server(folder):
    server = Server(folder, free_port())
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(autouse=True)
def mlflow_environment(monkeypatch):
    """Nothing of the machine's own settings."""
    for name in ("URI", "USERNAME", "PASSWORD", "TOKEN", "AUTH"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    # A minute of patience for one server beats ten seconds for each test.
    with running_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture
def doomed_server(tmp_path):
    """A server of the test's own, which it may kill."""
    with running_server(tmp_path) as server:
        yield server
