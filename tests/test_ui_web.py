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


def test_pages_show_the_runs_and_end_with_an_interrupt(tmp_path):
    pytest.importorskip("flask", reason="MLflow as a whole is not installed")
    (tmp_path / ".kladml").mkdir()
    with LocalTracker(tmp_path / ".kladml" / "mlflow.db") as tracker:
        run_id = tracker.start_run("digits")
        tracker.log_metrics({"val_loss": 0.25}, 1)
        tracker.end_run()
    port = free_port()
    command = [sys.executable, "-m", "kladml_cli", "ui", "--web", "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            command,
            cwd=tmp_path,
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
        assert "<title>MLflow</title>" in asked(f"http://127.0.0.1:{port}/")
        api = f"http://127.0.0.1:{port}/api/2.0/mlflow"
        run = json.loads(asked(f"{api}/runs/get?run_id={run_id}"))["run"]
        assert [(metric["key"], metric["value"]) for metric in run["data"]["metrics"]] == [("val_loss", 0.25)]
        os.killpg(server.pid, signal.SIGINT)  # as a terminal does
        assert server.wait(START_SECONDS) == 0
        assert not answers_http(f"http://127.0.0.1:{port}/health")()
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    assert f"MLflow's pages: http://127.0.0.1:{port} (Ctrl-C ends them)" in (tmp_path / "log").read_text()
