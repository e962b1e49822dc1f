"""The contract of trackers, and what this one does beyond it."""

import json
import os

import pytest
from acme_kladml_jsonl.tracker import JsonlTracker

from kladml.errors import TrackerError
from kladml.testing import TrackerContract


class TestJsonlTracker(TrackerContract):
    @pytest.fixture
    def tracker(self, tmp_path):
        return JsonlTracker(tmp_path)


def test_file_is_json_as_other_programs_read_it(tmp_path):
    tracker = JsonlTracker(tmp_path)
    run_id = tracker.start_run("digits", "first")
    tracker.log_metrics({"loss": float("nan"), "acc": 0.5}, 3)
    tracker.end_run()
    text = (tmp_path / f"{run_id}.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]
    assert [sorted(line.keys() - {"time"}) for line in lines] == [
        ["experiment", "name", "start"],
        ["metrics", "step"],
        ["end"],
    ]
    assert (lines[1]["metrics"], lines[1]["step"]) == ({"loss": "nan", "acc": 0.5}, 3)


def test_half_a_line_of_a_killed_process_is_left_out(tmp_path):
    tracker = JsonlTracker(tmp_path)
    run_id = tracker.start_run("digits")
    tracker.log_metric("loss", 0.5, 1)
    tracker.close()
    with (tmp_path / f"{run_id}.jsonl").open("a") as file:
        file.write('{"metrics": {"lo')
    assert tracker.metric_history(run_id, "loss") == [(1, 0.5)]
    assert tracker.get_run(run_id).status == "RUNNING"


def test_identifier_does_not_leave_the_folder(tmp_path):
    (tmp_path / "secret.jsonl").write_text('{"start": "x", "experiment": "e"}\n')
    with pytest.raises(TrackerError, match="there is no run"):
        JsonlTracker(tmp_path / "runs").get_run("../secret")


def test_second_run_at_once_is_refused(tmp_path):
    with JsonlTracker(tmp_path) as tracker:
        tracker.start_run("digits")
        with pytest.raises(TrackerError, match="a run is going on"):
            tracker.start_run("digits")


def test_recording_without_a_run_is_refused(tmp_path):
    with pytest.raises(TrackerError, match="call start_run first"):
        JsonlTracker(tmp_path).log_metric("loss", 0.5)


@pytest.mark.parametrize("sync", [True, False])
def test_flush_waits_for_the_disk_if_the_settings_say_so(tmp_path, monkeypatch, sync):
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with JsonlTracker(tmp_path, sync=sync) as tracker:
        tracker.start_run("digits")
        tracker.flush()
    assert len(synced) == sync


def test_preflight_names_the_setting_to_change(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TrackerError, match=r"tracker\.jsonl\.folder"):
        JsonlTracker(tmp_path / "file").check()
