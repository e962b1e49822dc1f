"""A private Redis server for the tests, in a process of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import redis

from kladml_backends_redis.settings import PASSWORD_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@dataclass
class Server:
    """A Redis server that can be killed and started again on the same port."""

    folder: Path
    port: int
    options: tuple[str, ...] = ()
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket(self) -> str:
        return str(self.folder / "redis.sock")

    def start(self):
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        command += ["--unixsocket", self.socket, "--save", "", *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            if self.process.poll() is not None:
                pytest.fail(f"redis-server ended with status {self.process.returncode}")
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        pytest.fail("redis-server does not answer")

    def kill(self):
        self.process.kill()
        self.process.wait()


def require_redis_server():
    if shutil.which("redis-server") is None:
        message = "redis-server is not installed (Debian: apt-get install redis-server)"
        if os.environ.get("KLADML_REQUIRE_SERVICES") == "1":
            pytest.fail(message)
        pytest.skip(message)


@contextmanager
def running_server(folder, *options):
    require_redis_server()
    server = Server(folder, free_port(), options)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(autouse=True)
def no_password(monkeypatch):
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def doomed_server(tmp_path):
    """A server of the test's own, which it may kill."""
    with running_server(tmp_path) as server:
        yield server


@pytest.fixture
def guarded_server(tmp_path):
    """A server that asks for the password `hunter2`."""
    with running_server(tmp_path, "--requirepass", "hunter2") as server:
        yield server


@pytest.fixture
def hung_server():
    """The address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


@contextmanager
def subscribed(server, pattern="*", password=None):
    """Subscribe to channels; the server has confirmed it when the block begins."""
    with redis.Redis(port=server.port, password=password) as client, client.pubsub() as subscriber:
        subscriber.psubscribe(pattern)
        assert subscriber.get_message(timeout=10)["type"] == "psubscribe"
        yield subscriber


@pytest.fixture
def subscribe():
    return subscribed
