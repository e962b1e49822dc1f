"""A killed run goes on, with the backends of a laptop: one run everywhere, and the weights of one that lived."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from safetensors.numpy import load_file

from kladml.interfaces import RunAddress
from kladml_backends_local import LocalTracker, SqlCatalog

PROGRAM = """\
import os, signal, sys
import numpy as np, torch
from kladml import ExperimentRunner

torch.set_num_threads(1)
dies_at, resume = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None

class Net(torch.nn.Sequential):
    seen = 0

    def __init__(self):
        super().__init__(torch.nn.Linear(4, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 1))

    def training_step(self, batch):
        Net.seen += 1
        if Net.seen == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return ((self(batch[0])[:, 0] - batch[1]) ** 2).mean()

rng = np.random.default_rng(0)
X = rng.normal(size=(37, 4)).astype(np.float32)
training = {"max_epochs": 4, "batch_size": 8, "log_every": 2, "checkpoint": {"every_steps": 1}}
result = ExperimentRunner(publisher=None).run(Net, (X, X.sum(1)), training=training, resume=resume)
print(result.address, result.artifacts["model/model.safetensors"].removeprefix("file://"))
"""


def start(folder, *arguments):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KLADML_")}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        cwd=folder,
        env={**inherited, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def weights(done):
    assert done.returncode == 0, done.stderr
    return {name: value.tobytes() for name, value in load_file(done.stdout.split()[1]).items()}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return weights(start(tmp_path_factory.mktemp("uninterrupted"), 0))


def test_killed_run_goes_on_as_the_same_run(uninterrupted, tmp_path):
    assert start(tmp_path, 13).returncode == -signal.SIGKILL
    assert start(tmp_path, 2, "@1").returncode == -signal.SIGKILL
    done = start(tmp_path, 0, "default/default/default@1")
    assert weights(done) == uninterrupted
    assert done.stdout.startswith("default/default/default@1 ")

    with SqlCatalog(f"sqlite:///{tmp_path / '.kladml' / 'catalog.db'}") as catalog:
        (run,) = catalog.list_runs()
    assert (run.address, run.status) == (RunAddress.parse("default@1"), "FINISHED")
    with LocalTracker(tmp_path / ".kladml" / "mlflow.db") as tracker:
        tracked = tracker.get_run(run.run_id)
        assert (tracked.status, tracked.tags["kladml.resumed"]) == ("FINISHED", "2")
        assert [step for step, _ in tracker.metric_history(run.run_id, "loss")] == [1, 2, 3, 4]
        # What was said before the kill, and said again because it came after the last checkpoint, is there twice.
        assert {step for step, _ in tracker.metric_history(run.run_id, "loss_step")} == set(range(2, 21, 2))
        rates = tracker.metric_history(run.run_id, "lr_step")
    assert {value for _, value in rates} == {0.001}
