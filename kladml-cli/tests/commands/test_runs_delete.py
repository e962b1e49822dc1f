"""`kladml runs delete` and `kladml runs copy`."""

from __future__ import annotations

import hashlib
import json

import pytest

from kladml.files.lock import FolderLock

OTHER_STORAGE = """\
from pathlib import Path

from kladml_backends_local import LocalStorage
from kladml.plugins import hookimpl

class Other(LocalStorage):
    pass

class Damaging(LocalStorage):
    def upload_file(self, local_path, bucket, key):
        uri = super().upload_file(local_path, bucket, key)
        if key.endswith("model/model"):
            Path(uri.removeprefix("file://")).write_text("damaged")
        return uri
"""


@pytest.fixture
def two_runs(train, workspace):
    for _ in range(2):
        assert train("--experiment", "digits", "--publisher", "none").status == 0
    return workspace


def test_delete_removes_folder_files_and_entry(kladml, train, two_runs):
    outcome = kladml("runs", "delete", "@1", "--yes")
    assert (outcome.status, outcome.errors) == (0, "")
    lines = outcome.output.splitlines()
    assert lines[0] == "default/default/digits@1  FINISHED  will be deleted:"
    assert lines[1].startswith("  .kladml/runs/default/default/digits/1: ")
    assert lines[2] == "  storage local: 3 files in runs"
    assert lines[3] == "  catalog sql: its entry"
    assert lines[4:] == ["deleted default/default/digits@1"]
    assert not (two_runs / ".kladml/runs/default/default/digits/1").exists()
    assert [path for path in (two_runs / "data/runs/default/default/digits/1").rglob("*") if path.is_file()] == []
    assert (two_runs / "data/runs/default/default/digits/2/run.json").exists()
    assert [run["address"] for run in json.loads(kladml("runs", "list", "--json").output)] == [
        "default/default/digits@2"
    ]
    assert "the nearest is default/default/digits@2" in kladml("runs", "show", "@1").errors
    assert "digits@3" in train("--experiment", "digits", "--publisher", "none").output


def test_delete_several_and_each_once(kladml, two_runs):
    outcome = kladml("runs", "delete", "@1", "@-1", "digits@1", "--yes", "--json")
    found = json.loads(outcome.output)
    assert [(entry["address"][-2:], entry["deleted"], len(entry["stored_files"])) for entry in found] == [
        ("@1", True, 3),
        ("@2", True, 3),
    ]
    assert json.loads(kladml("runs", "list", "--json").output) == []


def test_dry_run_changes_nothing(kladml, two_runs):
    before = sorted(two_runs.rglob("*"))
    outcome = kladml("runs", "delete", "@1", "--dry-run")
    assert "default/default/digits@1  FINISHED  would be deleted:" in outcome.output
    assert sorted(two_runs.rglob("*")) == before
    assert len(json.loads(kladml("runs", "list", "--json").output)) == 2


def test_delete_asks_or_needs_yes(kladml, two_runs):
    outcome = kladml("runs", "delete", "@1")
    assert outcome.status == 2
    assert "--yes is needed" in outcome.errors
    assert (two_runs / ".kladml/runs/default/default/digits/1").exists()


def test_a_run_that_goes_on_is_not_deleted(kladml, two_runs):
    lock = FolderLock(two_runs / ".kladml/runs/default/default/digits/2")
    lock.take()
    try:
        outcome = kladml("runs", "delete", "@2", "--yes")
    finally:
        lock.let_go()
    assert outcome.status == 7
    assert "run default/default/digits@2 is being trained by" in outcome.errors
    assert (two_runs / "data/runs/default/default/digits/2/run.json").exists()
    assert kladml("runs", "delete", "@2", "--yes").status == 0


def test_what_trackers_have_stays_and_is_named(kladml, train, workspace):
    assert train("--tracker", "local", "--publisher", "none").status == 0
    (entry,) = json.loads(kladml("runs", "delete", "@1", "--dry-run", "--json").output)
    (run,) = json.loads(kladml("runs", "list", "--json").output)
    assert entry["stays"] == [f"tracker local: run {run['run_id']}"]


# Copying


def install_other(install, name, root):
    hook = f"""
@hookimpl
def kladml_register_storage():
    return {name}
"""
    install("other", {("storage", "other"): "other"}, {"other": OTHER_STORAGE + hook})
    return ("--set", f"storage.other.root={root}")


def test_files_are_copied_and_compared(kladml, install, two_runs, tmp_path):
    settings = install_other(install, "Other", tmp_path / "other")
    outcome = kladml("runs", "copy", "@1", "--to", "storage=other", "--json", *settings)
    assert outcome.status == 0, outcome.errors
    copied = json.loads(outcome.output)["storage"]
    (model,) = [path for path in (tmp_path / "other").rglob("model") if path.is_file()]
    key = "default/default/digits/1/model/model"
    assert copied["sha256"][key] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert copied["sha256"].keys() == {
        key,
        "default/default/digits/1/config.yaml",
        "default/default/digits/1/run.json",
    }
    again = kladml("runs", "copy", "@1", "--to", "storage=other", *settings)
    assert "3 files are in storage other, of which 3 were there already" in again.output
    model.write_text("another")
    changed = kladml("runs", "copy", "@1", "--to", "storage=other", *settings)
    assert changed.status == 5
    assert "is another file: its SHA-256 is" in changed.errors


def test_a_file_that_arrives_damaged_is_an_error(kladml, install, two_runs, tmp_path):
    settings = install_other(install, "Damaging", tmp_path / "other")
    outcome = kladml("runs", "copy", "@1", "--to", "storage=other", *settings)
    assert outcome.status == 5
    assert "is damaged, and was deleted: its SHA-256 is" in outcome.errors
    assert not [path for path in (tmp_path / "other").rglob("model") if path.is_file()]


def test_records_are_copied_with_their_times(kladml, train, install, workspace, tmp_path):
    source = """
from kladml_backends_local import LocalTracker
from kladml.plugins import hookimpl

class Archive(LocalTracker):
    pass

@hookimpl
def kladml_register_tracker(): return Archive
"""
    install("archive", {("tracker", "archive"): "archive"}, {"archive": source})
    settings = ("--set", f"tracker.archive.database={tmp_path / 'archive.db'}")
    assert train("--tracker", "local", "--publisher", "none").status == 0
    outcome = kladml("runs", "copy", "@1", "--to", "tracker=archive", "--json", *settings)
    assert outcome.status == 0, outcome.errors
    copied = json.loads(outcome.output)["tracker"]
    assert (copied["with_times"], copied["verified"], copied["waiting"]) == (True, True, None)

    from kladml_backends_local import LocalTracker

    (run,) = json.loads(kladml("runs", "list", "--json").output)
    with LocalTracker(workspace / ".kladml/mlflow.db") as one, LocalTracker(tmp_path / "archive.db") as other:
        assert other.metric_points(copied["run_id"]) == one.metric_points(run["run_id"])
        tracked = other.get_run(copied["run_id"])
    assert tracked.status == "FINISHED"
    assert tracked.tags["kladml.copied_from"] == "default/default/default@1"
    assert tracked.tags["kladml.started_at"] == run["started_at"]
    assert tracked.params["model.ref"] == "model.py:MeanModel"
    again = kladml("runs", "copy", "@1", "--to", "tracker=archive", *settings)
    assert f"values are on tracker archive as {copied['run_id']}, and were before" in again.output
    itself = kladml("runs", "copy", "@1", "--to", "tracker=local")
    assert f"values are on tracker local as {run['run_id']}, and were before" in itself.output


@pytest.mark.parametrize(
    ("target", "status", "part"),
    [
        ("s3", 2, "write storage=NAME, tracker=NAME"),
        ("storage=", 2, "write storage=NAME"),
        ("catalog=sql", 2, "write storage=NAME"),
        ("storage=a,storage=b", 2, "two of kind storage"),
        ("storage=local", 5, "are in storage local (runs) already"),
        ("storage=nope", 4, "nope"),
    ],
)
def test_wrong_targets(kladml, two_runs, target, status, part):
    outcome = kladml("runs", "copy", "@1", "--to", target)
    assert outcome.status == status
    assert part in outcome.errors
