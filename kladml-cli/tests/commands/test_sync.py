"""Delivering what a killed process left, with the tracker on this machine."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from kladml_backends_local import LocalTracker

RECORD = """
import os, signal, sys
from kladml_backends_local import LocalTracker
tracker = LocalTracker(".kladml/mlflow.db")
run_id = tracker.start_run("default/default/digits", "cut off")
for step in range(100):
    tracker.log_metric("loss", 1 / (step + 1), step)
print(run_id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def left(workspace):
    """A run whose process was killed, with what it recorded."""
    done = subprocess.run([sys.executable, "-c", RECORD], cwd=workspace, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    return done.stdout.strip()


def test_what_a_killed_process_left_is_delivered_once(kladml, workspace, left):
    outcome = kladml("sync")
    assert (outcome.status, outcome.errors) == (0, "")
    tracker, experiment, *name, events, state = outcome.output.split()
    assert (tracker, experiment, name, state) == ("local", "default/default/digits", ["cut", "off"], "delivered")
    assert 0 < int(events) <= 100
    run = LocalTracker(workspace / ".kladml/mlflow.db").get_run(left)
    assert (run.status, run.metrics) == ("KILLED", {"loss": 1 / 100})
    again = kladml("sync")
    assert (again.status, again.output, again.errors) == (0, "", "nothing waits to be delivered\n")


def test_list_delivers_nothing(kladml, workspace, left):
    for _ in range(2):
        (row,) = json.loads(kladml("sync", "--list", "--json").output)
        assert (row["run_id"], row["tracker"], row["state"], row["problem"]) == (left, "local", "waits", None)
    assert [path.name for path in (workspace / ".kladml/spool/local").iterdir()] == [left]


def test_what_cannot_be_delivered_is_kept_and_said(kladml, workspace, left):
    database = workspace / ".kladml/mlflow.db"
    content = database.read_bytes()
    for name in ("mlflow.db-wal", "mlflow.db-shm"):
        (workspace / ".kladml" / name).unlink(missing_ok=True)
    database.write_bytes(b"no database" * 1_000)
    outcome = kladml("sync")
    assert outcome.status == 5
    assert outcome.output.split()[-1] == "waits"
    assert "1 of 1 runs could not be delivered and are kept: " in outcome.errors
    assert "file is not a database" in outcome.errors
    database.write_bytes(content)
    assert kladml("sync").status == 0


def test_a_run_of_another_database_is_left_alone_unless_it_is_redirected(kladml, workspace, left):
    other = ["--set", "tracker.local.database=.kladml/other.db"]
    outcome = kladml("sync", *other)
    assert outcome.status == 5
    assert f"run '{left}' was recorded for mlflow.db, and this tracker is other.db" in outcome.errors
    assert kladml("sync", "--redirect", *other).status == 0
    assert LocalTracker(workspace / ".kladml/other.db").get_run(left).status == "KILLED"


def test_only_the_named_tracker(kladml, workspace, left):
    outcome = kladml("sync", "--tracker", "nope")
    assert outcome.status == 4
    assert "nope" in outcome.errors
    assert kladml("sync", "--tracker", "local").status == 0
