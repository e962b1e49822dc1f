"""The example in several processes: as one process with the joined batch, by our launcher and by torchrun."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="several processes are for Linux and macOS")

SCRIPT = """\
import json

from kladml import ExperimentRunner
from model import DigitsNet

from data import train_digits, val_digits

result = ExperimentRunner(tracker=None, publisher=None).run(
    DigitsNet,
    train_digits(),
    val_digits(),
    experiment_name="by-torchrun",
    model_args={"dropout": 0.0},
    training={
        "distributed": True,
        "max_epochs": 2,
        "batch_size": 32,
        "device": "cpu",
        "optimizer": {"name": "sgd", "lr": 0.1, "args": {"momentum": 0.9}},
    },
)
print("metrics", json.dumps(result.metrics), flush=True)
"""


def run(*command, cwd):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KLADML_", "MLFLOW_"))}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**environment, "COLUMNS": "80", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A workspace made by `kladml init --example digits`."""
    folder = tmp_path_factory.mktemp("digits")
    run("-m", "kladml_cli", "init", str(folder), "--example", "digits", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def train(project):
    """Train for two epochs and return the metrics.

    Without dropout, whose random numbers are each process's own, and without Adam, which makes steps of full
    size from gradients that are nothing but rounding errors.
    """

    def start(*arguments):
        quick = ("--tracker", "none", "--publisher", "none", "--set", "model.args.dropout=0.0", "--json")
        settings = ("--set", "training.max_epochs=2", "--set", "training.device=cpu")
        settings += ("--set", "training.optimizer.name=sgd", "--set", "training.optimizer.lr=0.1")
        settings += ("--set", "training.optimizer.args.momentum=0.9", "--set", "training.checkpoint.restore_best=false")
        output = run("-m", "kladml_cli", "train", "train.yaml", *quick, *settings, *arguments, cwd=project)
        return json.loads(output)["metrics"]

    return start


@pytest.fixture(scope="module")
def alone(train):
    """The metrics of one process that trains on batches of 64."""
    return train("--set", "training.batch_size=64")


def test_two_processes_give_the_metrics_of_one_with_the_joined_batch(train, alone):
    together = train("--set", "training.batch_size=32", "--distributed", "--num-processes", "2")
    assert alone["val_accuracy"] > 0.7
    assert together == pytest.approx(alone, rel=1e-4)


def test_a_script_of_the_users_is_started_by_torchrun(project, alone):
    (project / "script.py").write_text(SCRIPT, encoding="utf-8")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    output = run(*launcher, "script.py", cwd=project)
    metrics = [json.loads(line.removeprefix("metrics ")) for line in output.splitlines() if line.startswith("metrics ")]
    assert len(metrics) == 2
    assert metrics[0] == pytest.approx(metrics[1])
    assert metrics[0] == pytest.approx(alone, rel=1e-4)
    listed = json.loads(run("-m", "kladml_cli", "runs", "list", "--json", cwd=project))
    runs = [found for found in listed if "by-torchrun" in found["address"]]
    assert [found["status"] for found in runs] == ["FINISHED"]
