"""Ctrl-C in the middle of what takes long: one sentence, status 130, nothing half done, and repeating it goes on."""

from __future__ import annotations

import json
import signal
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")

SLOW = """\
import os, sys, time
from kladml_backends_local.storage import LocalStorage
from kladml_backends_local.tracker import LocalTracker


def wait():
    if "SLOW_WAITS" in os.environ:
        print("waiting", flush=True)
        time.sleep(600)


class SlowStorage(LocalStorage):
    calls = 0

    def after_the_first(self):
        self.calls += 1
        if self.calls == 2:
            wait()

    def upload_file(self, *arguments):
        self.after_the_first()
        return super().upload_file(*arguments)

    def delete_file(self, *arguments):
        self.after_the_first()
        return super().delete_file(*arguments)

    def download_file(self, bucket, key, local_path):
        if key.endswith(os.environ.get("SLOW_DOWNLOAD", "never")):
            wait()
        return super().download_file(bucket, key, local_path)


class SlowTracker(LocalTracker):
    def log_points(self, points):
        wait()
        return super().log_points(points)

    def undelivered(self):
        from kladml.interfaces import UndeliveredRun
        return [UndeliveredRun("1" * 32, "digits", "a run", "nowhere", 7)]

    def sync(self, *arguments, **options):
        wait()
        return 7
"""
PLUGIN = """\
from kladml.plugins import hookimpl

@hookimpl
def kladml_register_{kind}():
    from slow import Slow{kind_class}
    return Slow{kind_class}
"""


@pytest.fixture
def slow(workspace, install, train):
    """A run with files, and backends that wait in the middle."""
    modules = {
        f"slow_{kind}": PLUGIN.format(kind=kind, kind_class=kind.capitalize()) for kind in ("storage", "tracker")
    }
    points = {(kind, "slow"): f"slow_{kind}" for kind in ("storage", "tracker")}
    install("slow-backends", points, {"slow": SLOW, **modules})
    (workspace / "kladml.yaml").write_text("storage: {slow: {root: elsewhere}}\ntracker: {slow: {}}\n")
    assert train().status == 0
    return workspace


@pytest.fixture
def interrupt(start_kladml):
    """Run a command, interrupt it when it waits, and return its last line on standard error."""

    def run(*arguments, **environment):
        process = start_kladml(*arguments, SLOW_WAITS="1", **environment)
        for line in process.stdout:
            if line == "waiting\n":
                break
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 130, (output, errors)
        assert "Traceback" not in errors or "waiting.py" in errors  # which line of the user's own was running
        return errors.splitlines()[-1]

    return run


def test_copying_a_runs_files(slow, interrupt, run_kladml):
    said = interrupt("runs", "copy", "@1", "--to", "storage=slow")
    assert said == "Interrupted: what was copied stays; repeat it to copy the rest"
    again = run_kladml("runs", "copy", "@1", "--to", "storage=slow", "--json")
    copied = json.loads(again.output)["storage"]
    assert len(copied["already_there"]) == 1
    assert len(copied["sha256"]) > 1


def test_copying_a_runs_records(slow, interrupt, run_kladml):
    said = interrupt("runs", "copy", "@1", "--to", "tracker=slow")
    assert said == "Interrupted: a part of it may be on tracker slow, marked FAILED; repeat it to copy it whole"
    assert run_kladml("runs", "show", "@1").status == 0


def test_deleting_a_run(slow, train, interrupt, run_kladml):
    assert train("--storage", "slow").status == 0
    said = interrupt("runs", "delete", "@2", "--yes")
    assert said == "Interrupted: repeat it to delete the rest of default/default/default@2"
    assert [run["address"][-2:] for run in json.loads(run_kladml("runs", "list", "--json").output)] == ["@2", "@1"]
    assert run_kladml("runs", "delete", "@2", "--yes").status == 0
    assert [run["address"][-2:] for run in json.loads(run_kladml("runs", "list", "--json").output)] == ["@1"]
    assert not any(path.is_file() for path in (slow / "elsewhere").rglob("*"))


def test_delivering_what_waits(slow, interrupt):
    said = interrupt("sync", "--tracker", "slow")
    assert said == "Interrupted: nothing is lost; repeat it to deliver the rest"


def test_moving_data_sets(slow, interrupt, run_kladml):
    folder = slow / "photos"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.txt").write_text(str(number))
    assert run_kladml("data", "add", "photos", folder).status == 0
    said = "Interrupted: what was moved stays; repeat it to move the rest"
    assert interrupt("data", "push", "photos", "--storage", "slow") == said
    assert run_kladml("data", "pull", "photos@1", "--storage", "slow").status == 6
    assert run_kladml("data", "push", "photos", "--storage", "slow").status == 0
    (slow / ".kladml/datasets").rename(slow / "gone")
    (slow / ".kladml/objects").rename(slow / "gone too")
    digest = json.loads((slow / "gone/photos/1.json").read_text())["files"][3]["blake2b"][-20:]
    assert interrupt("data", "pull", "photos", "--storage", "slow", SLOW_DOWNLOAD=digest) == said
    assert [version["here"] for version in json.loads(run_kladml("data", "list", "--json").output)] == [False]
    assert run_kladml("data", "pull", "photos", "--storage", "slow").status == 0
    assert run_kladml("data", "verify", "photos").status == 0


def test_adding_a_data_set(workspace, start_kladml, run_kladml):
    with (workspace / "big.bin").open("wb") as file:
        file.truncate(20_000_000_000)  # takes no room, and a minute to read
    process = start_kladml("data", "add", "big", "big.bin", "--link")
    while not (workspace / ".kladml/objects").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, output, errors) == (130, "", "Interrupted: nothing was added\n")
    assert json.loads(run_kladml("data", "list", "--json").output) == []
    assert [path for path in (workspace / ".kladml/objects").rglob("*") if path.is_file()] == []


REPRODUCED = """\
import os, time
from model import MeanModel


class Waiting(MeanModel):
    def train(self, X_train, y_train=None):
        if "SLOW_WAITS" in os.environ:
            print("waiting", flush=True)
            time.sleep(600)
        return super().train(X_train, y_train)
"""


def test_reproducing_a_run(workspace, train, interrupt, run_kladml):
    (workspace / "waiting.py").write_text(REPRODUCED)
    assert train(model="waiting.py:Waiting").status == 0
    process = interrupt("reproduce", "@1")
    assert process.startswith("Interrupted: run default/default/default@2 is marked KILLED")
    assert [run["status"] for run in json.loads(run_kladml("runs", "list", "--json").output)] == ["KILLED", "FINISHED"]


@pytest.mark.parametrize("arguments", [("runs", "list"), ("plugins", "list", "--json"), ("train", "--help")])
def test_a_pipe_that_closes_is_no_error(workspace, start_kladml, arguments):
    process = start_kladml(*arguments, PYTHONUNBUFFERED="")
    process.stdout.close()
    assert process.stderr.read() == ("no runs yet; 'kladml train CONFIG' makes one\n" if arguments[0] == "runs" else "")
    assert process.wait(timeout=60) == (0 if arguments[0] == "runs" else 141)
