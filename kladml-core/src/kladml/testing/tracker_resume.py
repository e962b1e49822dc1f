"""The part of the tracker contract about going on with a run that ended or was cut off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

import pytest

from kladml.errors import CapabilityError, TrackerError
from kladml.interfaces import RUN_STATUSES
from kladml.testing.backend import BackendContract

if TYPE_CHECKING:
    from kladml.interfaces import TrackerInterface

Reopen = Callable[[], "TrackerInterface"]
"""Opens the same tracker once more, as another process would."""

END_STATUSES = [status for status in RUN_STATUSES if status != "RUNNING"]
EXPERIMENT = "contract/trackers/naïve 模型"


class TrackerResumeContract(BackendContract):
    """The fixtures of the tracker contract and its rules for resumed runs; subclass `TrackerContract` instead."""

    kind: ClassVar[str] = "tracker"
    optional: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "artifacts": ("log_artifact",),
        "read": ("get_run", "metric_history"),
        "resume": ("resume_run",),
        "points": ("metric_points",),
        "search": ("param_values", "tag_values"),
        "sync": ("undelivered", "sync"),
    }

    @pytest.fixture
    def tracker(self) -> TrackerInterface:
        """The tracker under test: a new object for each case, without a run."""
        raise NotImplementedError(self._missing("tracker"))

    @pytest.fixture
    def backend(self, tracker: TrackerInterface) -> TrackerInterface:
        """The tracker, for the rules of all kinds."""
        return tracker

    @pytest.fixture
    def reopen(self, tracker: TrackerInterface) -> Reopen | None:
        """A function that opens what `tracker` records to a second time, or None where that is impossible."""
        del tracker
        return None

    @pytest.fixture
    def resuming(self, tracker: TrackerInterface) -> TrackerInterface:
        """The tracker, where it can go on with a run."""
        if "resume" not in tracker.capabilities:
            pytest.skip("this tracker does not offer the capability 'resume'")
        return tracker

    @pytest.mark.parametrize("status", END_STATUSES)
    def test_resumed_run_goes_on_where_it_ended(self, resuming: TrackerInterface, status: str) -> None:
        """A resumed run is running again, keeps what it has, takes further records, and ends once more."""
        run_id = resuming.start_run(EXPERIMENT)
        resuming.log_params({"a": 1})
        resuming.log_metric("loss", 0.5, 1)
        resuming.set_tags({"note": "first"})
        resuming.end_run(status)
        resuming.resume_run(run_id)
        resuming.flush()
        before = resuming.get_run(run_id).status if "read" in resuming.capabilities else "RUNNING"
        resuming.log_params({"b": 2})
        resuming.log_metrics({"loss": 0.25}, 2)
        resuming.set_tags({"note": "second"})
        resuming.end_run("FINISHED")
        assert before == "RUNNING"
        if "read" in resuming.capabilities:
            run = resuming.get_run(run_id)
            assert (run.status, run.metrics) == ("FINISHED", {"loss": 0.25})
            assert {"a": "1", "b": "2"}.items() <= run.params.items()
            assert run.tags.get("note", run.params.get("tags.note")) == "second"
            assert resuming.metric_history(run_id, "loss") == [(1, 0.5), (2, 0.25)]

    def test_run_that_never_ended_is_resumed_elsewhere(self, resuming: TrackerInterface, reopen: Reopen | None) -> None:
        """Another object goes on with a run that was let go of without an end; its records are there."""
        if reopen is None:
            pytest.skip("override the fixture 'reopen' to prove that another process can go on with a run")
        run_id = resuming.start_run(EXPERIMENT)
        resuming.log_metric("loss", 0.5, 1)
        resuming.close()
        with reopen() as second:
            second.resume_run(run_id)
            second.log_metric("loss", 0.25, 2)
            second.end_run()
            if "read" in second.capabilities:
                assert second.get_run(run_id).status == "FINISHED"
                assert second.metric_history(run_id, "loss") == [(1, 0.5), (2, 0.25)]

    def test_resumed_run_is_no_new_run(self, resuming: TrackerInterface) -> None:
        """After a resumed run, the next one starts anew, and the resumed one stays as it was."""
        first = resuming.start_run(EXPERIMENT)
        resuming.end_run("KILLED")
        resuming.resume_run(first)
        resuming.end_run()
        second = resuming.start_run(EXPERIMENT)
        resuming.log_metric("loss", 0.5, 1)
        resuming.end_run("FAILED")
        assert second != first
        if "read" in resuming.capabilities:
            assert (resuming.get_run(first).status, resuming.get_run(first).metrics) == ("FINISHED", {})

    def test_resuming_an_unknown_run(self, tracker: TrackerInterface) -> None:
        """A run that does not exist raises `TrackerError` and a new run can start; who cannot resume says so."""
        if "resume" not in tracker.capabilities:
            with pytest.raises(CapabilityError, match="resume"):
                tracker.resume_run("0" * 32)
            return
        with pytest.raises(TrackerError):
            tracker.resume_run("0" * 32)
        tracker.start_run(EXPERIMENT)
        tracker.end_run()
