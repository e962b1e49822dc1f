"""A tracking server is killed in the middle of a run and comes back later: nothing is lost, and nothing double.

What is printed is what docs/tracking.md shows.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from servers import free_port, mlflow_server

COMMAND = [sys.executable, "-c", "import sys; from kladml_cli.main import main; sys.exit(main())"]
PAGE = Path(__file__).parents[1] / "docs" / "tracking.md"
EPOCHS = 20


@pytest.fixture
def environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("KLADML_") and name != "KLADML_REQUIRE_SERVICES"]:
        monkeypatch.delenv(name)
    return {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}


@pytest.fixture
def kladml(tmp_path, environment):
    """Run a command; returns its status and what it prints on both streams."""

    def run(*arguments):
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    return run


def train_and_kill_the_server(folder, environment, server):
    """Train; end the server when the third epoch is over; return what is printed."""
    training = subprocess.Popen(
        [*COMMAND, "train", "train.yaml", "--tracker", "mlflow", "--set", "training.early_stopping.enabled=false"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    printed = []
    with training:
        for line in training.stdout:
            printed.append(line)
            if line.startswith("epoch  3/"):
                server.close()
    assert training.returncode == 0, "".join(printed)
    return "".join(printed)


def sessions_of_page():
    """Return what the page shows, by command, in order."""
    shown = PAGE.read_text(encoding="utf-8").partition("### When the server is away")[2].partition("\n## ")[0]
    blocks = re.findall(r"```console\n(.*?)```", shown, re.DOTALL)
    parts = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return [part.partition("\n")[2] for part in parts]


def masked(text):
    """Return lines without what differs from run to run."""
    text = re.sub(r"/\S*/\.kladml", "FOLDER", text)
    text = re.sub(r"cannot be reached: [^(;]*", "cannot be reached: WHY ", text)  # refused, reset or cut off
    text = re.sub(r"[0-9a-f]{32}|(?<=digits-)[0-9a-f]{8}|\d\d:\d\d|:\d{4,5}\b|\d+(\.\d+)?", "#", text)
    return [re.sub(r"\s+", " ", line).strip() for line in text.strip().splitlines()]


def pattern_of(lines):
    anything = re.escape("...")
    return "".join(r"(.*\n)*?" if line == "..." else re.escape(line).replace(anything, ".*") + r"\n" for line in lines)


def test_server_that_dies_and_comes_back(tmp_path, kladml, environment):
    port = free_port()
    environment["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{port}"
    kladml("init", "--example", "digits")
    with ExitStack() as server:
        server.enter_context(mlflow_server(tmp_path, port))
        printed = [train_and_kill_the_server(tmp_path, environment, server)]
    status, output = kladml("sync")
    assert status == 5
    printed.append(output)
    with mlflow_server(tmp_path, port):
        for _ in range(2):
            status, output = kladml("sync")
            assert status == 0
            printed.append(output)
        check_on_server(tmp_path, environment["MLFLOW_TRACKING_URI"])
    for shown, found in zip(sessions_of_page(), printed, strict=True):
        assert re.fullmatch(pattern_of(masked(shown)), "".join(f"{line}\n" for line in masked(found))), found


def check_on_server(folder, uri):
    """Compare the run on the server with what the console was told: nothing lost, nothing double."""
    program = f"""
import json
from mlflow import MlflowClient
client = MlflowClient({uri!r})
(experiment,) = [found for found in client.search_experiments() if found.name == "digits"]
(run,) = client.search_runs([experiment.experiment_id])
history = lambda key: [point.step for point in client.get_metric_history(run.info.run_id, key)]
print(json.dumps({{
    "status": run.info.status,
    "epochs": history("val_loss"),
    "steps": history("loss_step"),
    "project": experiment.tags["kladml.project"],
    "inputs": len(run.inputs.dataset_inputs),
    "params": run.data.params["training.max_epochs"],
}}))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], stdout=subprocess.PIPE, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["status"] == "FINISHED"
    assert found["epochs"] == list(range(1, EPOCHS + 1))
    assert found["steps"] == sorted(set(found["steps"]))
    assert len(found["steps"]) > EPOCHS
    assert (found["project"], found["inputs"], found["params"]) == ("default", 1, str(EPOCHS))
