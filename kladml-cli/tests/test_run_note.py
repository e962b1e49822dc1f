"""Ending a run from outside, where its process could not."""

from __future__ import annotations

import json
import logging

import pytest

from kladml.interfaces import ConfigEntry, ExperimentAddress
from kladml.runner.record import RunRecord
from kladml.workspace import Workspace
from kladml_backends_local import LocalTracker
from kladml_cli.configuration import Configuration
from kladml_cli.run_note import RunNote, ended_note


@pytest.fixture
def begin(workspace):
    """Begin a run as a process does that is killed later; return its configuration and the note of it."""

    def start(*, tracker="local", catalog="sql"):
        chosen = [ConfigEntry("tracker.use", tracker, "test"), ConfigEntry("catalog.use", catalog, "test")]
        configuration = Configuration(Workspace.find(), overrides=chosen)
        known = LocalTracker(workspace / ".kladml/mlflow.db")
        run_id = known.start_run("default")
        address = "default/default/default@1"
        if catalog == "sql":
            opened = configuration.open_catalog()
            address = str(opened.add_run(ExperimentAddress.parse("default"), run_id, {}))
            opened.close()
        record = RunRecord(address, run_id, tracker_runs=[("local", run_id)])
        record.write(workspace / ".kladml/runs/default/default/default/1")
        known.close()
        return configuration, RunNote(address, run_id)

    return start


def test_a_note_is_read_as_it_was_written(tmp_path):
    assert RunNote.read(tmp_path / "run.json") is None
    for note in (RunNote("a/b/c@1", "r"), RunNote("a/b/c@1", "r", "FINISHED")):
        note.write(tmp_path / "run.json")
        assert RunNote.read(tmp_path / "run.json") == note


def test_catalog_tracker_and_record_are_told(begin, workspace, kladml):
    configuration, note = begin()
    ended = ended_note(note, configuration, "FAILED", "killed by SIGKILL")
    assert ended.outcome == "run default/default/default@1 is marked FAILED"
    assert [run["status"] for run in json.loads(kladml("runs", "list", "--json").output)] == ["FAILED"]
    assert LocalTracker(workspace / ".kladml/mlflow.db").get_run(note.run_id).status == "FAILED"
    record = RunRecord.read(workspace / ".kladml/runs/default/default/default/1")
    assert (record.status, record.error) == ("FAILED", "killed by SIGKILL")


def test_an_end_that_was_recorded_stays(begin, kladml):
    configuration, note = begin()
    ended = RunNote(note.address, note.run_id, "FINISHED")
    assert ended_note(ended, configuration, "FAILED", "killed") == ended
    assert [run["status"] for run in json.loads(kladml("runs", "list", "--json").output)] == ["RUNNING"]


def test_a_run_without_catalog_and_tracker_is_marked_in_its_folder(begin, workspace):
    configuration, note = begin(tracker="none", catalog="none")
    assert ended_note(note, configuration, "KILLED", "interrupted").status == "KILLED"
    assert RunRecord.read(workspace / ".kladml/runs/default/default/default/1").status == "KILLED"


def test_a_tracker_that_cannot_go_on_with_a_run_is_warned_about(begin, install, workspace, caplog):
    module = """\
from kladml import TrackerInterface
from kladml.plugins import hookimpl

class Forgetful(TrackerInterface):
    def start_run(self, experiment_name, run_name=None): return "1"
    def log_params(self, params): ...
    def log_metric(self, key, value, step=None): ...
    def end_run(self, status="FINISHED"): ...

@hookimpl
def kladml_register_tracker(): return Forgetful
"""
    install("forgetful", {("tracker", "forgetful"): "forgetful_plugin"}, {"forgetful_plugin": module})
    configuration, note = begin(tracker="forgetful")
    with caplog.at_level(logging.WARNING):
        assert ended_note(note, configuration, "FAILED", "killed").status == "FAILED"
    (message,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert message.startswith("tracker forgetful (forgetful 1.0) cannot be told that run ")


def test_a_catalog_that_fails_leaves_the_outcome_open(begin, workspace, caplog):
    configuration, note = begin()
    (workspace / ".kladml/runs/default/default/default/1/run.json").unlink()
    strange = RunNote("default/default/default@9", note.run_id)
    ended = ended_note(strange, configuration, "FAILED", "killed")
    assert ended.outcome == "run default/default/default@9 began, and its end could not be recorded"
    assert "could not be recorded" in caplog.text
