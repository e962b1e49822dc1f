"""Private servers for tests that cross distributions: S3 (moto), MLflow, Redis, PostgreSQL; each on a free port.

A proxy before one of them counts its requests, holds them, damages them, or is away.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

START_SECONDS = 120


def lacks(message):
    if os.environ.get("KLADML_REQUIRE_SERVICES") == "1":
        pytest.fail(message)
    pytest.skip(message)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextmanager
def process(command, log, *, cwd, answers, env=None):
    """Run a server until the block ends, in a process group of its own, once `answers()` is true."""
    with log.open("ab") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, cwd=cwd, env=env, start_new_session=True)
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
def mlflow_server(folder, port=None):
    """Yield the URL of a private MLflow tracking server, which keeps what it had in that folder before."""
    url = f"http://127.0.0.1:{(port := port or free_port())}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    # Its jobs are eight processes more, each of which imports MLflow.
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with process(command, folder / "mlflow.log", cwd=folder, answers=answers_http(f"{url}/health"), env=env):
        yield url


@contextmanager
def redis_server(folder):
    """Yield the URL of a private Redis server."""
    binary = shutil.which("redis-server")
    if binary is None:
        lacks("redis-server is not installed (Debian: apt-get install redis-server)")
    port = free_port()
    command = [binary, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    with process(command, folder / "redis.log", cwd=folder, answers=answers_tcp(port)):
        yield f"redis://127.0.0.1:{port}/0"


def program_of_postgresql(name):
    """Debian keeps the server's programs out of the path."""
    found = shutil.which(name) or next(map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))[-1:]), None)
    if found is None:
        lacks(f"PostgreSQL's {name} is not installed (Debian: apt-get install postgresql)")
    return found


@contextmanager
def postgresql_server(user, password):
    """Yield the port of a private PostgreSQL server that wants a password."""
    initdb, postgres = program_of_postgresql("initdb"), program_of_postgresql("postgres")
    # It refuses to run as root, and pytest's own folders are closed to others.
    other = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="kladml-pg-") as name:
        folder = Path(name)
        (folder / "password").write_text(password)
        for path in (folder, folder / "password") if other else ():
            shutil.chown(path, **other)
        command = [initdb, "--pgdata", f"{folder}/data", "--username", user, "--auth", "scram-sha-256", "--no-sync"]
        command += ["--pwfile", str(folder / "password")]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, **other)
        port = free_port()
        command = [postgres, "-D", f"{folder}/data", "-p", str(port), "-h", "127.0.0.1", "-k", name, "-F"]
        with (folder / "log.txt").open("ab") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True, **other)
        try:
            end = time.monotonic() + START_SECONDS
            while "is ready to accept connections" not in (folder / "log.txt").read_text():
                if server.poll() is not None or time.monotonic() > end:
                    pytest.fail(f"postgres did not start: {(folder / 'log.txt').read_text()}")
                time.sleep(0.1)
            yield port
        finally:
            server.send_signal(signal.SIGQUIT)  # without waiting for connections to end
            server.wait()


class Proxy(ThreadingHTTPServer):
    """Hands requests on to a server.

    Attributes:
        requests: Method and path of each request that came, in order.
        alter: Given method, path and body of each request, returns the body to hand on; it may also wait.
        is_away: Whether connections are closed without an answer.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, url):
        super().__init__(("127.0.0.1", 0), _Forwarding)
        self.behind = urlsplit(url).netloc
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.reset()

    def reset(self):
        self.requests = []
        self.is_away = False
        self.alter = lambda method, path, body: body

    def count(self, method, part=""):
        return sum(1 for found, path in self.requests if found == method and part in path)

    def handle_error(self, request, client_address):
        """Say nothing of clients that were killed."""


class _Forwarding(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        proxy = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        proxy.requests.append((self.command, self.path))
        if not proxy.is_away:
            body = proxy.alter(self.command, self.path, body)
        if proxy.is_away:
            self.close_connection = True
            return
        with closing(HTTPConnection(proxy.behind, timeout=60)) as behind:
            # As it is: what signs a request signs the host that it was sent to.
            headers = {name: value for name, value in self.headers.items() if name != "Expect"}
            behind.request(self.command, self.path, body, headers)
            answer = behind.getresponse()
            content = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        self.wfile.write(content)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - http.server's own names

    def log_message(self, *args):
        pass


@contextmanager
def proxy_before(url):
    """Yield a proxy before a server."""
    with Proxy(url) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
