"""Copying a run to a tracker that has no more than the four methods."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kladml.errors import TrackerError
from kladml.history.pages import RunPage
from kladml.history.record_copying import copy_records
from kladml.interfaces import CatalogRun, RunAddress, TrackerInterface
from kladml.runner.record import RunRecord


class Noted(TrackerInterface):
    """Notes runs where nobody can read them back, until it is away."""

    def __init__(self):
        self.runs, self.is_away = [], True

    def start_run(self, experiment_name, run_name=None):
        self.runs.append({})
        return f"run-{len(self.runs)}"

    def log_params(self, params):
        pass

    def log_metric(self, key, value, step=None):
        if self.is_away and step == 1:
            problem = "the tracker is away"
            raise TrackerError(problem)
        self.runs[-1][step] = value

    def log_dataset(self, name, digest, source, context):
        self.runs[-1]["data"] = (name, digest)

    def end_run(self, status="FINISHED"):
        self.runs[-1]["status"] = status


@pytest.fixture
def page(tmp_path):
    began = datetime.now(UTC)
    run = CatalogRun(RunAddress.parse("shop/nets/digits@1"), "original", "FINISHED", began, began, {}, {})
    record = RunRecord(str(run.address), run.run_id, run.status, began.isoformat())
    record.write(tmp_path)
    return RunPage(run, record, tmp_path, [("loss", 0.5, 1, 0), ("loss", 0.25, 2, 1)])


def test_a_copy_that_failed_midway_is_not_taken_for_a_whole_one(page, tmp_path):
    tracker = Noted()
    with pytest.raises(TrackerError, match="is away"):
        copy_records(page, "noted", tracker)
    tracker.is_away = False

    copied = copy_records(page, "noted", tracker)
    assert (copied.run_id, copied.already_there) == ("run-2", False)
    assert tracker.runs == [{0: 0.5, "status": "FAILED"}, {0: 0.5, 1: 0.25, "status": "FINISHED"}]
    assert RunRecord.read(tmp_path).tracker_runs == [("noted", "run-2")]
    assert copy_records(page, "noted", tracker).already_there


@pytest.mark.parametrize("kind", ["sha256", "blake2b"])
def test_fingerprints_of_both_kinds_are_copied(page, kind):
    tracker = Noted()
    tracker.is_away = False
    page.record.tags["kladml.data_fingerprint"] = f"{kind}:0f"
    copy_records(page, "noted", tracker)
    assert tracker.runs[0]["data"] == ("training data", f"{kind}:0f")


def test_data_without_a_fingerprint_is_not_copied(page):
    tracker = Noted()
    tracker.is_away = False
    page.record.tags["kladml.data_fingerprint"] = "unknown (it is neither in memory nor a data set)"
    copy_records(page, "noted", tracker)
    assert "data" not in tracker.runs[0]
