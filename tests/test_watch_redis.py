"""`kladml watch` hears a run of another process through a Redis server, and goes on without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from servers import redis_server

EPOCHS = 4
MODEL = """\
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.steps = 0

    def training_step(self, batch):
        self.steps += self.training
        while self.training and not Path(f"go{self.steps}").exists():  # a step an epoch, each when the test says so
            time.sleep(0.01)
        inputs, targets = batch
        return F.mse_loss(self.layer(inputs), targets)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def data():
    return torch.ones(8, 2), torch.ones(8, 1)
"""


@pytest.fixture
def start(tmp_path):
    """Start a command in a workspace."""
    (tmp_path / "model.py").write_text(MODEL)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KLADML_", "MLFLOW_"))}
    started = []

    def start_one(*arguments, **variables):
        process = subprocess.Popen(
            [sys.executable, "-m", "kladml_cli", *arguments],
            cwd=tmp_path,
            env={**kept, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    init = start_one("init")
    assert init.wait(120) == 0
    yield start_one
    for process in started:
        with process:
            process.kill()


def go(folder, *steps):
    for step in steps:
        Path(folder, f"go{step}").touch()


def train_and_watch(start, folder, url, tracker):
    """Train, held at the first step, and watch; returns both once the watcher listens."""
    training = start(
        *("train", "--model", "model.py:Net", "--data", "model.py:data", "--publisher", "redis"),
        *("--tracker", tracker, "--set", f"training.max_epochs={EPOCHS}", "--set", "training.batch_size=8"),
        KLADML_PUBLISHER__REDIS__URL=url,
        KLADML_PUBLISHER__REDIS__TIMEOUT="0.9",
    )
    record = folder / ".kladml" / "runs" / "default" / "default" / "default" / "1" / "run.json"
    while not record.exists():
        assert training.poll() is None, training.stderr.read()
        time.sleep(0.05)
    watching = start("watch", "@1", "--json", "--interval", "0.2", KLADML_PUBLISHER__REDIS__URL=url)
    started = json.loads(watching.stdout.readline())
    assert (started["event"], started["status"]) == ("run_started", "RUNNING")
    return training, watching


def ended(process):
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return [json.loads(line) for line in output.splitlines()], errors


def epochs(events):
    return [event["epoch"] for event in events if event["event"] == "epoch_ended"]


def test_run_of_another_process_without_a_tracker_is_heard_to_its_end(start, tmp_path):
    with redis_server(tmp_path) as url:
        training, watching = train_and_watch(start, tmp_path, url, "none")
        go(tmp_path, *range(1, EPOCHS + 1))
        events, errors = ended(watching)
        assert training.wait(120) == 0
    assert errors == ""
    assert epochs(events) == [*range(1, EPOCHS + 1)]
    assert all(event["metrics"]["loss"] >= 0 for event in events if event["event"] == "epoch_ended")
    assert events[-1]["event"] == "run_ended"
    assert events[-1]["status"] == "FINISHED"
    assert any(event["event"] == "checkpoint_saved" for event in events)


def test_server_that_is_killed_is_told_once_and_the_tracker_is_followed(start, tmp_path):
    with redis_server(tmp_path) as url:
        training, watching = train_and_watch(start, tmp_path, url, "local")
        go(tmp_path, 1, 2)
        events = []
        while 2 not in epochs(events):
            events.append(json.loads(watching.stdout.readline()))
    said = watching.stderr.readline()
    assert "nothing can be received from the Redis server" in said
    assert "the tracker's records are followed instead" in said
    go(tmp_path, 3, 4)
    rest, errors = ended(watching)
    assert training.wait(120) == 0
    assert errors == ""
    assert epochs([*events, *rest]) == [*range(1, EPOCHS + 1)]
    assert (rest[-1]["event"], rest[-1]["status"]) == ("run_ended", "FINISHED")
