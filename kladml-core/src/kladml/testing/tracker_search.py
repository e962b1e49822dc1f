"""The part of the tracker contract about reading many things at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from kladml.errors import CapabilityError
from kladml.testing.tracker_resume import EXPERIMENT, TrackerResumeContract

if TYPE_CHECKING:
    from kladml.interfaces import TrackerInterface

_TOLERANCE = 2_000


class TrackerSearchContract(TrackerResumeContract):
    """The rules for the capabilities `points` and `search`; subclass `TrackerContract` instead."""

    def test_points_are_all_values_with_their_times(self, tracker: TrackerInterface) -> None:
        """`metric_points` returns every value with its step, and a time in milliseconds near that of the recording."""
        if "points" not in tracker.capabilities:
            with pytest.raises(CapabilityError, match="points"):
                tracker.metric_points("0" * 32)
            return
        before = time.time_ns() // 1_000_000
        run_id = tracker.start_run(EXPERIMENT)
        for step in (1, 2, 3):
            tracker.log_metrics({"loss": 1 / step, "accuracy": float(step)}, step)
        tracker.end_run()
        after = time.time_ns() // 1_000_000
        points = tracker.metric_points(run_id)
        assert [(value, step) for key, value, _, step in points if key == "loss"] == [(1.0, 1), (0.5, 2), (1 / 3, 3)]
        assert [(value, step) for key, value, _, step in points if key == "accuracy"] == [(1.0, 1), (2.0, 2), (3.0, 3)]
        assert all(before - _TOLERANCE <= moment <= after + _TOLERANCE for _, _, moment, _ in points)
        assert tracker.metric_points("0" * 32) == []

    def test_parameters_and_tags_of_all_runs_are_found(self, tracker: TrackerInterface) -> None:
        """`param_values` takes whole names and the ends of names after a dot, `tag_values` whole names alone."""
        if "search" not in tracker.capabilities:
            for read in (tracker.param_values, tracker.tag_values):
                with pytest.raises(CapabilityError, match="search"):
                    read(["lr"])
            return
        run_ids = []
        for rate in (0.1, 0.2):
            run_ids.append(tracker.start_run(EXPERIMENT))
            tracker.log_params({"training.optimizer.lr": rate, "lr": rate / 2, "color": "red", "50_lr": 1})
            tracker.set_tags({"kladml.seed": "3", "seed": "4"})
            tracker.end_run()
        found = tracker.param_values(["lr"])
        assert found[run_ids[0]] == {"training.optimizer.lr": "0.1", "lr": "0.05"}
        assert found[run_ids[1]] == {"training.optimizer.lr": "0.2", "lr": "0.1"}
        assert tracker.param_values(["optimizer.lr", "color"])[run_ids[0]] == {
            "training.optimizer.lr": "0.1",
            "color": "red",
        }
        assert tracker.tag_values(["seed"])[run_ids[0]] == {"seed": "4"}
        assert tracker.param_values(["absent"]) == {}
        assert tracker.param_values([]) == {}
