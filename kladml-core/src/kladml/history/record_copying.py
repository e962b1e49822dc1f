"""Copying what a tracker has of a run to another tracker, and proving that it got there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

from kladml.errors import RefusedRunError, TrackerError
from kladml.history.standing import LOST
from kladml.runner.fingerprints import is_fingerprint
from kladml.runner.provenance import experiment_tags
from kladml.runner.registration import flat_name

if TYPE_CHECKING:
    from kladml.history.pages import RunPage
    from kladml.interfaces import TrackerInterface

COPIED_FROM = "kladml.copied_from"


@dataclass(frozen=True, slots=True)
class CopiedRecords:
    """What a tracker has of a run now.

    Attributes:
        run_id: Its identifier there.
        points: How many values of metrics the run has.
        with_times: Whether they have the times at which they were recorded first.
        waiting: Why they are not all there yet, or None.
        verified: Whether they were read back and are the same.
        already_there: Whether the tracker had all of it before.
    """

    run_id: str
    points: int
    with_times: bool
    waiting: str | None = None
    verified: bool = False
    already_there: bool = False


def copy_records(page: RunPage, name: str, tracker: TrackerInterface) -> CopiedRecords:
    """Record a run on another tracker, with its parameters, tags, histories and its end.

    A copy that is there already is left; one that was cut off is completed, where nothing becomes double by that.

    Args:
        page: The run, whose folder remembers the copy.
        name: Name of the tracker.
        tracker: The tracker.

    Raises:
        TrackerError: The tracker fails, or has another copy than the one that belongs there.
    """
    return _Copying(page, name, tracker).copied()


class _Copying:
    """A run on its way to a tracker.

    Args:
        page: The run.
        name: Name of the tracker.
        tracker: The tracker.
    """

    def __init__(self, page: RunPage, name: str, tracker: TrackerInterface) -> None:
        from kladml.spool.tracker import SpooledTracker

        self._page, self._name, self._tracker = page, name, tracker
        self._spooled = tracker if isinstance(tracker, SpooledTracker) else None
        # A tracker that could not tell when its values were recorded says 0.
        self._with_times = self._spooled is not None and all(point[2] for point in page.points)

    def copied(self) -> CopiedRecords:
        known = dict(self._page.record.tracker_runs).get(self._name)
        if known is not None and self._name not in self._page.record.copied_to:
            return self._as_it_is(known)  # it recorded the run itself
        status = None if known is None else self._status_of(known)
        if known is None or status is None:
            run_id = self._tracker.start_run(
                flat_name(self._page.run.address.experiment), self._page.params.get("run_name")
            )
            if self._can_tell:
                self._remember(run_id)
        elif status == self._status and self._is_same(known) is not False:
            return self._as_it_is(known)
        else:
            self._go_on(known)
            run_id = known
        self._record()
        if not self._can_tell:  # only a whole copy is noted, as a part of one could not be told from it
            self._remember(run_id)
        waiting = self._deliver(run_id)
        if waiting is None and self._is_same(run_id) is False:
            self._refuse(run_id)
        verified = waiting is None and "points" in self._tracker.capabilities
        return CopiedRecords(run_id, len(self._page.points), self._with_times, waiting, verified)

    def _as_it_is(self, run_id: str) -> CopiedRecords:
        is_copy = self._name in self._page.record.copied_to
        verified = is_copy and "points" in self._tracker.capabilities
        with_times = self._with_times or not is_copy
        return CopiedRecords(run_id, len(self._page.points), with_times, verified=verified, already_there=True)

    def _status_of(self, run_id: str) -> str | None:
        """Return the status of a copy, or None for one that was deleted; what waits of it is delivered first."""
        if any(one.run_id == run_id for one in self._tracker.undelivered()):
            self._tracker.sync(run_id)
        if not self._can_tell:
            return self._status
        try:
            tracked = self._tracker.get_run(run_id)
        except RefusedRunError:
            return None
        return None if tracked.is_deleted else tracked.status

    @property
    def _can_tell(self) -> bool:
        """Whether the tracker tells how a copy stands there."""
        return "read" in self._tracker.capabilities

    def _go_on(self, run_id: str) -> None:
        """Go on with a copy that was cut off: with their times, values that come again are not double."""
        if not self._with_times or "resume" not in self._tracker.capabilities:
            problem = f"the copy {run_id} of {self._page.address} on tracker {self._name} is not complete"
            raise TrackerError(problem, next_step="delete it there, and copy the run once more")
        self._tracker.resume_run(run_id)

    def _remember(self, run_id: str) -> None:
        """Note where the copy is, so that it is found again also after this process was killed."""
        record = self._page.record
        if self._page.has_record:
            others = [pair for pair in record.tracker_runs if pair[0] != self._name]
            record.tracker_runs = [*others, (self._name, run_id)]
            record.copied_to = [*dict.fromkeys([*record.copied_to, self._name])]
            record.write(self._page.folder)

    def _record(self) -> None:
        page, tracker = self._page, self._tracker
        status = "FAILED"
        try:
            tracker.log_params(page.params)
            tracker.set_tags({**page.record.tags, **self._times(), COPIED_FROM: page.address})
            tracker.set_experiment_tags(experiment_tags(page.run.address.experiment))
            if is_fingerprint(page.data_fingerprint):
                data = page.params.get("data.train") or "training data"
                tracker.log_dataset(data, page.data_fingerprint, data, "training")
            if self._spooled is not None and self._with_times:
                self._spooled.log_points(page.points)
            else:
                for key, value, _, step in page.points:
                    tracker.log_metric(key, value, step)
            status = self._status
        finally:
            tracker.end_run(status)

    @property
    def _status(self) -> str:
        """The status of the copy: trackers do not know that a run is lost."""
        return "KILLED" if self._page.run.status == LOST else self._page.run.status

    def _times(self) -> dict[str, str]:
        """Return when the run began and ended, which a tracker takes for the time of the copy."""
        run = self._page.run
        times = {"kladml.started_at": run.started_at.isoformat()}
        return times if run.ended_at is None else {**times, "kladml.ended_at": run.ended_at.isoformat()}

    def _deliver(self, run_id: str) -> str | None:
        """Deliver what the end of the copy did not wait for; return why that is not possible now, or None."""
        if any(one.run_id == run_id for one in self._tracker.undelivered()):
            try:
                self._tracker.sync(run_id)
            except TrackerError as error:
                return error.problem
        return None

    def _is_same(self, run_id: str) -> bool | None:
        """Read a copy back and tell whether it has the values of the run; None where it cannot be read."""
        if "points" not in self._tracker.capabilities:
            return None
        found, wanted = self._counted(run_id)
        return found == wanted

    def _counted(self, run_id: str) -> tuple[Counter[Any], Counter[Any]]:
        """Return how often each value is there, and how often it should be."""
        both = (
            Counter(map(_comparable, self._tracker.metric_points(run_id))),
            Counter(map(_comparable, self._page.points)),
        )
        if self._with_times:
            return both
        found, wanted = (Counter({(key, value, step): 1 for key, value, _, step in one}) for one in both)
        return found, wanted

    def _refuse(self, run_id: str) -> None:
        found, wanted = self._counted(run_id)
        missing, more = (wanted - found).total(), (found - wanted).total()
        which = f"the copy {run_id} on tracker {self._name}"
        problem = f"{which} lacks {missing} values of {self._page.address}, and has {more} that it does not have"
        raise TrackerError(problem, next_step="delete it there, and copy the run once more")


def _comparable(point: Any) -> tuple[str, float | str, int, int]:
    key, value, milliseconds, step = point
    return key, "nan" if isnan(value) else value, milliseconds, step
