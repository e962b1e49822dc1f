"""Faults end in a clear error in bounded time: servers that are dead, hung, busy, closed to us, or no servers."""

from __future__ import annotations

import base64
import json
import signal
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from kladml.errors import TrackerError
from kladml_backends_mlflow import MLflowTracker

OWNER = "kladml-backends-mlflow"


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

    do_POST = do_GET  # noqa: N815 - http.server's own names

    def log_message(self, *args):
        pass


@contextmanager
def serving(status, body=b"", **answers):
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.answers, server.requests = {"GET": (status, body), **answers}, []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def nobody():
    """The address of a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def test_server_killed_in_a_run_and_started_again(doomed_server, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"content")
    with MLflowTracker(doomed_server.url, timeout=60.0, retry_after=3600) as tracker:
        run_id = tracker.start_run("killed")
        tracker.log_metric("loss", 1.0, 0)

        doomed_server.kill()
        tracker._server._timeout = 1.0
        calls = [
            lambda: tracker.log_metric("loss", 0.5, 1),
            lambda: tracker.log_params({"lr": 0.1}),
            lambda: tracker.log_artifact(tmp_path / "file.bin", "file.bin"),
            tracker.check,
            lambda: tracker.get_run(run_id),
        ]
        for call in calls:
            with pytest.raises(
                TrackerError, match=f"{doomed_server.url} cannot be reached.*refused.*{OWNER}.*start it"
            ):
                call()

        doomed_server.start()
        tracker._server._timeout = 60.0
        with pytest.raises(TrackerError, match="cannot be reached"):
            tracker.log_metric("loss", 0.25, 2)  # left alone for an hour
        tracker.check()  # asks whatever was before, and then records are taken again
        tracker.log_metric("loss", 0.125, 3)
        tracker.end_run()
        assert tracker.metric_history(run_id, "loss") == [(0, 1.0), (3, 0.125)]
        assert tracker.get_run(run_id).status == "FINISHED"


def test_run_that_cannot_be_ended_does_not_stand_in_the_way_of_the_next(server, nobody):
    with MLflowTracker(server.url, timeout=60.0) as tracker:
        tracker.start_run("first")
        tracker._server.uri, address = nobody, tracker._server.uri
        tracker._server._timeout = 0.1
        with pytest.raises(TrackerError, match="cannot be reached"):
            tracker.end_run()
        tracker._server.uri = address
        tracker._server._timeout = 60.0
        tracker.start_run("second")
        tracker.end_run()


def test_hung_server_costs_a_run_one_timeout(server):
    with MLflowTracker(server.url, timeout=60.0, retry_after=3600) as tracker:
        tracker.start_run("hung")
        tracker._server._timeout = 0.3
        server.send(signal.SIGSTOP)
        try:
            for step in range(1000):  # five minutes, if each of them waited
                with pytest.raises(TrackerError, match=r"cannot be reached.*timed out"):
                    tracker.log_metric("loss", 0.5, step)
        finally:
            server.send(signal.SIGCONT)
        tracker._server._timeout = 60.0
        tracker.end_run()  # asks again, whatever was before
        tracker.start_run("hung")
        tracker.log_metric("loss", 0.5)
        tracker.end_run()


def test_busy_server_is_asked_again_a_few_times():
    with serving(503) as server, MLflowTracker(server.url, timeout=1.0) as tracker:
        with pytest.raises(TrackerError, match="it answers 503"):
            tracker.get_run("a")
        assert 2 <= len(server.requests) <= 3


def test_run_is_never_created_twice():
    """Where the answer to `runs/create` is lost, a second attempt would make a second run."""
    experiment = b'{"experiment": {"experiment_id": "1", "lifecycle_stage": "active"}}'
    with serving(200, experiment, POST=(503, b"")) as server, MLflowTracker(server.url, timeout=1.0) as tracker:
        with pytest.raises(TrackerError, match="503"):
            tracker.start_run("experiment")
        assert [request.command for request in server.requests] == ["GET", "POST"]


def test_check_without_a_server_says_so(nobody):
    with MLflowTracker(nobody) as tracker, pytest.raises(TrackerError, match=f"{nobody} cannot be reached.*refused"):
        tracker.check()


def test_check_of_a_hung_server_says_so():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with MLflowTracker(uri, timeout=0.3) as tracker, pytest.raises(TrackerError, match="timed out"):
            tracker.check()


@pytest.mark.parametrize("status", [401, 403])
def test_denied_access_says_which_variables_to_set(status):
    with serving(status, b"You are not authenticated") as server, MLflowTracker(server.url) as tracker:
        for call in (tracker.check, lambda: tracker.start_run("a"), lambda: tracker.get_run("a")):
            with pytest.raises(TrackerError, match=rf"denies access \({status}\).*MLFLOW_TRACKING_USERNAME"):
                call()


def test_credentials_come_from_mlflows_own_variables(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
    with serving(403) as server, MLflowTracker(server.url) as tracker:
        with pytest.raises(TrackerError) as caught:
            tracker.check()
        sent = server.requests[0].headers["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent) == b"ada:hunter2"
    assert "hunter2" not in f"{caught.value} {tracker!r} {vars(tracker)}"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>a blog</html>"),
        (404, b"<html>nothing here</html>"),
        (200, b"[1]"),
        (500, b"oops"),
        (404, b'{"detail": "Not Found"}'),
    ],
)
def test_something_else_at_the_address_is_told_apart(status, body):
    with (
        serving(status, body) as server,
        MLflowTracker(server.url) as tracker,
        pytest.raises(
            TrackerError, match=rf"answers {status} at {server.url} is no MLflow.*tracker\.mlflow\.tracking_uri"
        ),
    ):
        tracker.check()


def test_refusal_keeps_the_servers_reason():
    body = json.dumps({"error_code": "INTERNAL_ERROR", "message": "the database\nis full"}).encode()
    with (
        serving(500, body) as server,
        MLflowTracker(server.url) as tracker,
        pytest.raises(TrackerError, match="refuses runs/get: the database is full"),
    ):
        tracker.get_run("a")


def test_without_an_address_both_ways_to_give_it_are_named():
    with pytest.raises(TrackerError, match=r"tracker\.mlflow\.tracking_uri or .* MLFLOW_TRACKING_URI"):
        MLflowTracker()


@pytest.mark.parametrize(
    "uri",
    ["sqlite:///mlflow.db", "mlruns", "databricks", "http://", "http://127.0.0.1:port", "https://ada:hunter/2@mlflow"],
)
def test_address_that_is_no_servers_is_refused(uri):
    with pytest.raises(TrackerError, match=r"no http:// or https:// address.*tracker\.mlflow\.tracking_uri") as caught:
        MLflowTracker(uri)
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize("uri", ["http://ada:hunter2@127.0.0.1:5000", "https://:hunter2@mlflow.example.com"])
def test_password_in_the_address_is_refused_and_not_shown(uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackerError, match=r"has a user or password in it.*MLFLOW_TRACKING_PASSWORD") as caught:
        MLflowTracker()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_timeout_must_be_positive(timeout):
    with pytest.raises(TrackerError, match=r"tracker\.mlflow\.timeout"):
        MLflowTracker("http://127.0.0.1:5000", timeout=timeout)
