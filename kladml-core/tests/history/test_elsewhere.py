"""What a tracker or a storage tells of a run of another machine."""

from __future__ import annotations

from datetime import UTC, datetime

from kladml.history.elsewhere import tracked_record
from kladml.interfaces import CatalogRun, RunAddress
from kladml.testing.fakes import MemoryTracker


def test_parameters_are_what_they_were_before_a_tracker_made_them_text():
    params = {
        "run_name": "2024",
        "data.target": "1",
        "training.max_epochs": 3,
        "training.optimizer.lr": 0.001,
        "training.compile": False,
        "data.args": {"size": 2},
        "model.args.code": "1_000",
        "model.args.key": "0x10",
        "model.args.share": float("inf"),
    }
    tracker = MemoryTracker()
    run_id = tracker.start_run("digits")
    tracker.log_params(params)
    run = CatalogRun(RunAddress.parse("shop/nets/digits@1"), run_id, "FINISHED", datetime.now(UTC), None, {}, {})

    record = tracked_record(run, tracker)

    assert record is not None
    assert record.params == {**params, "model.args.share": "inf"}
