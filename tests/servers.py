"""Private server processes for tests that cross distributions: S3 (moto), MLflow, Redis; each on a free port."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

START_SECONDS = 120


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def process(command, log, *, cwd, answers):
    """Run a server until the block ends, in a process group of its own, once `answers()` is true."""
    with log.open("ab") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, cwd=cwd, start_new_session=True)
    try:
        end = time.monotonic() + START_SECONDS
        while not answers():
            if server.poll() is not None or time.monotonic() > end:
                pytest.fail(f"{command[0]} did not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield server
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers_http(url):
    def answers():
        try:
            with urllib.request.urlopen(url, timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    return answers


def answers_tcp(port):
    def answers():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                return True
        except OSError:
            return False

    return answers


@contextmanager
def s3_server(folder):
    """Yield the URL of a private S3 server."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with process(command, folder / "moto.log", cwd=folder, answers=answers_http(f"{url}/moto-api/data.json")):
        yield url


@contextmanager
def mlflow_server(folder):
    """Yield the URL of a private MLflow tracking server."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with process(command, folder / "mlflow.log", cwd=folder, answers=answers_http(f"{url}/health")):
        yield url


@contextmanager
def redis_server(folder):
    """Yield the URL of a private Redis server."""
    binary = shutil.which("redis-server")
    if binary is None:
        message = "redis-server is not installed (Debian: apt-get install redis-server)"
        if os.environ.get("KLADML_REQUIRE_SERVICES") == "1":
            pytest.fail(message)
        pytest.skip(message)
    port = free_port()
    command = [binary, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    with process(command, folder / "redis.log", cwd=folder, answers=answers_tcp(port)):
        yield f"redis://127.0.0.1:{port}/0"
