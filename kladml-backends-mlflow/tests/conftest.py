"""Private servers for the tests: MLflow's, in a process group of its own, PostgreSQL for it, and faulty ones."""

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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest

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
    store: str | None = None
    process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", self.store or f"sqlite:///{self.folder / 'mlflow.db'}"]
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
        if self.process is None:
            return
        if self.process.poll() is None:
            self.send(signal.SIGKILL)
        self.process.wait()


@contextmanager
def running_server(folder, store=None, *, is_absent=False):
    server = Server(folder, free_port(), store)
    try:
        if not is_absent:
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
def open_tracker(request, tmp_path):
    """`open_tracker()` opens a tracker on the server, or on another address."""
    from kladml_backends_mlflow import MLflowTracker

    with ExitStack() as stack:

        def open_one(url=None, *, timeout=60.0, spool=tmp_path / "spool"):  # machines that run tests are busy
            url = url or request.getfixturevalue("server").url
            return stack.enter_context(MLflowTracker(url, timeout=timeout, spool=spool))

        yield open_one


@pytest.fixture
def doomed_server(tmp_path):
    """A server of the test's own, which it may kill."""
    with running_server(tmp_path) as server:
        yield server


@pytest.fixture
def absent_server(tmp_path):
    """A server that the test starts."""
    with running_server(tmp_path, is_absent=True) as server:
        yield server


def program_of_postgresql(name):
    """Debian keeps the server's programs out of the path."""
    found = shutil.which(name) or next(map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))[-1:]), None)
    if found is None:
        lacks(f"PostgreSQL's {name} is not installed (Debian: apt-get install postgresql)")
    return found


def lacks(message):
    if os.environ.get("KLADML_REQUIRE_SERVICES") == "1":
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def running_postgresql():
    """A PostgreSQL server; yields the address of its database."""
    initdb, postgres = program_of_postgresql("initdb"), program_of_postgresql("postgres")
    if find_spec("psycopg2") is None:
        lacks("psycopg2 is not installed (pip install psycopg2-binary)")
    # It refuses to run as root, and pytest's own folders are closed to others.
    other = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="kladml-pg-") as folder:
        if other:
            shutil.chown(folder, **other)
        port = free_port()
        initialize = [initdb, "--pgdata", f"{folder}/data", "--username", "mlflow", "--auth", "trust", "--no-sync"]
        subprocess.run(initialize, check=True, capture_output=True, cwd=folder, **other)
        command = [postgres, "-D", f"{folder}/data", "-p", str(port), "-h", "127.0.0.1", "-k", folder, "-F"]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, start_new_session=True, **other
        )
        try:
            wait_until_up(process, port)
            yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGQUIT)  # without waiting for MLflow's connections to end
            process.wait()


def wait_until_up(process, port):
    for _ in range(600):
        if process.poll() is not None:
            pytest.fail(f"postgres ended with status {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("postgres does not answer")


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory):
    """A tracking server that keeps its runs in PostgreSQL."""
    with running_postgresql() as store, running_server(tmp_path_factory.mktemp("mlflow-pg"), store) as server:
        yield server


class Answers(BaseHTTPRequestHandler):
    """Answers with the status and body that the server has for the method, and notes each request."""

    def do_GET(self):
        self.server.requests.append(self)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, body = self.server.answers.get(self.command, self.server.answers["GET"])
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_GET  # noqa: N815 - http.server's own names

    def log_message(self, *args):
        pass


class Forwards(Answers):
    """Forwards requests to another server; `server.loses` tells of which the answer is not sent back."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests.append(self)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: self.headers[name] for name in ("Content-Type",) if name in self.headers}
        request = urllib.request.Request(f"{self.server.behind}{self.path}", body or None, headers, method=self.command)
        try:
            with urllib.request.urlopen(request) as response:
                status, answer = response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                status, answer = error.code, error.read()
        if self.server.loses(self):
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_PUT = do_GET  # noqa: N815


@contextmanager
def answering(handler, **attributes):
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        vars(server).update(attributes, requests=[], url=f"http://127.0.0.1:{server.server_port}")
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def serving():
    """`serving(status, body, POST=(status, body))` is a server that answers so."""

    def serve(status, body=b"", **answers):
        return answering(Answers, answers={"GET": (status, body), **answers})

    return serve


@pytest.fixture
def forwarding():
    """`forwarding(url, loses)` is a proxy; the answers to requests for which `loses` is true are lost."""
    return lambda url, loses: answering(Forwards, behind=url, loses=loses)


@pytest.fixture
def nobody():
    """The address of a port that nobody listens on."""
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def hung_server():
    """The address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
