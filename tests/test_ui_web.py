"""`kladml ui --web` shows the runs of a workspace on MLflow's own pages."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from kladml_backends_local import LocalTracker
from servers import START_SECONDS, answers_http, free_port


def asked(url, content=None):
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


@pytest.fixture
def run_id(tmp_path):
    """The run of a workspace."""
    (tmp_path / "place" / ".kladml").mkdir(parents=True)
    with LocalTracker(tmp_path / "place" / ".kladml" / "mlflow.db") as tracker:
        run_id = tracker.start_run("digits")
        tracker.log_metrics({"val_loss": 0.25}, 1)
        tracker.end_run()
    return run_id


@pytest.fixture
def pages(tmp_path, run_id):
    """The command, in its own process group as a shell starts it, once its server answers; and where that is."""
    pytest.importorskip("flask", reason="MLflow as a whole is not installed")
    (tmp_path / "home").mkdir()
    port = free_port()
    # No variable that tells MLflow to send no telemetry, as those of a continuous integration or of pytest do.
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "kladml_cli", "ui", "--web", "--port", str(port)],
            cwd=tmp_path / "place",
            env={**environment, "HOME": str(tmp_path / "home")},
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
        )
    try:
        until = time.monotonic() + START_SECONDS
        while not answers_http(f"http://127.0.0.1:{port}/health")():
            assert server.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < until, (tmp_path / "log").read_text()
            time.sleep(0.2)
        yield server, f"http://127.0.0.1:{port}"
    finally:
        if server.poll() is None:
            server.terminate()
            server.wait()


def test_pages_show_the_runs_and_end_with_an_interrupt(tmp_path, run_id, pages):
    server, url = pages
    assert "<title>MLflow</title>" in asked(f"{url}/")
    run = json.loads(asked(f"{url}/api/2.0/mlflow/runs/get?run_id={run_id}"))["run"]
    assert [(metric["key"], metric["value"]) for metric in run["data"]["metrics"]] == [("val_loss", 0.25)]
    os.killpg(server.pid, signal.SIGINT)  # as a terminal does
    assert server.wait(START_SECONDS) == 0
    assert not answers_http(f"{url}/health")()
    assert (tmp_path / "log").read_text() == f"MLflow's pages: {url} in a few seconds (Ctrl-C ends them)\n"
    said = (tmp_path / "place/.kladml/mlflow-server.log").read_text()
    assert "Application shutdown complete" in said
    assert "Traceback" not in said
    assert [*(tmp_path / "home").iterdir()] == []
    assert [path.name for path in (tmp_path / "place").iterdir()] == [".kladml"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_pages_end_with_the_command(pages, number):
    server, url = pages
    server.send_signal(number)
    assert server.wait(START_SECONDS) == 128 + number
    assert not answers_http(f"{url}/health")()
