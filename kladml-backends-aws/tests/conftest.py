"""A private S3 server for the tests: moto's, in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from contextlib import closing, contextmanager
from dataclasses import dataclass

import boto3
import pytest

from kladml_backends_aws import S3Storage


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@dataclass
class Server:
    """A running server and its address."""

    url: str
    process: subprocess.Popen

    def kill(self):
        self.process.kill()
        self.process.wait()


@contextmanager
def running_server():
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        server = Server(f"http://127.0.0.1:{port}", process)
        try:
            wait_until_up(server)
            yield server
        finally:
            server.kill()


def wait_until_up(server: Server) -> None:
    for _ in range(600):
        if server.process.poll() is not None:
            pytest.fail(f"moto's server ended with status {server.process.returncode}")
        try:
            with urllib.request.urlopen(f"{server.url}/moto-api/data.json"):
                return
        except OSError:
            time.sleep(0.05)
    pytest.fail("moto's server does not answer")


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch, tmp_path_factory):
    """Credentials for the private server, and nothing of the machine's own."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    absent = str(tmp_path_factory.getbasetemp() / "no-such-file")
    monkeypatch.setenv("AWS_CONFIG_FILE", absent)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", absent)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


@pytest.fixture(scope="session")
def server():
    with running_server() as server:
        yield server


@pytest.fixture
def doomed_server():
    """A server of the test's own, which it may kill."""
    with running_server() as server:
        yield server


@pytest.fixture
def new_bucket():
    """`new_bucket(server)` makes an empty bucket and returns its name."""

    def make(server: Server) -> str:
        name = f"bucket-{uuid.uuid4().hex}"
        with closing(boto3.client("s3", endpoint_url=server.url)) as client:
            client.create_bucket(Bucket=name)
        return name

    return make


@pytest.fixture
def bucket(server, new_bucket):
    return new_bucket(server)


@pytest.fixture
def storage(server, bucket):
    with S3Storage(bucket, endpoint_url=server.url) as storage:
        yield storage
