"""Following a run while it goes on: what its tracker records, what it publishes, and how it ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from kladml_cli.run_events import ToldEvents, events_of
from kladml_cli.run_listening import is_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kladml.history.series import Point
    from kladml.interfaces import CatalogRun, Listener, TrackerInterface
    from kladml.runner.record import RunRecord
    from kladml_cli.run_place import OpenPlace

_SHARE = 10
"""Reading takes at most one part in so many of the time."""


class RunFollower:
    """Yields the events of a run, first those of the past, and returns when it has ended.

    Args:
        place: Where the run is.
        run: The run.
        interval: Seconds between two looks at the tracker's records; more where a look takes long.
        listener: What receives the messages of the run's publisher, or None.
    """

    def __init__(
        self, place: OpenPlace, run: CatalogRun, interval: float = 1.0, listener: Listener | None = None
    ) -> None:
        self._place = place
        self._run = run
        self._interval = interval
        self._listener = listener
        self._tracker: TrackerInterface | None = place.tracker_of(run)
        if self._tracker is not None and not {"points", "read"} & self._tracker.capabilities:
            self._tracker = None
        self._told = ToldEvents()
        self._seen: dict[str, int] = {}

    @property
    def hears_nothing(self) -> bool:
        """Whether nothing tells of metrics, so that only the end of the run will be seen."""
        return self._tracker is None and self._listener is None

    def past(self) -> list[dict[str, Any]]:
        """Return what has been, beginning with `run_started`."""
        run = self._run
        started = {"event": "run_started", "time": run.started_at.timestamp(), "address": str(run.address)}
        return [{**started, "run_id": run.run_id, "status": run.status}, *self._recorded()]

    def coming(self) -> Iterator[dict[str, Any]]:
        """Yield what comes, up to `run_ended`."""
        while True:
            ended = self._end()
            began = time.monotonic()
            yield from self._recorded()
            if ended is not None:
                yield ended
                return
            wait = max(self._interval, _SHARE * (time.monotonic() - began))
            if self._listener is None:
                time.sleep(wait)
                continue
            for event in self._heard(self._listener, wait):
                yield event
                if event["event"] == "run_ended":
                    return

    def _recorded(self) -> list[dict[str, Any]]:
        """Return the events that the tracker has and that were not told yet."""
        if self._tracker is None:
            return []
        return [event for event in events_of(self._new_points(self._tracker)) if self._told.is_new(event)]

    def _new_points(self, tracker: TrackerInterface) -> list[Point]:
        found: list[Point] = []
        if "points" in tracker.capabilities:
            counts: dict[str, int] = {}
            for point in tracker.metric_points(self._run.run_id):
                counts[point[0]] = counts.get(point[0], 0) + 1
                if counts[point[0]] > self._seen.get(point[0], 0):
                    found.append(point)
            self._seen |= counts
            return found
        now = round(1000 * time.time())
        for name in tracker.get_run(self._run.run_id).metrics:
            values = tracker.metric_history(self._run.run_id, name)
            found += [(name, value, now, step) for step, value in values[self._seen.get(name, 0) :]]
            self._seen[name] = len(values)
        return found

    def _heard(self, listener: Listener, seconds: float) -> Iterator[dict[str, Any]]:
        from kladml.errors import PublisherError
        from kladml.log import get_logger

        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                event = listener.next(left)
            except PublisherError as error:
                get_logger(__name__).warning(f"{error}; the tracker's records are followed instead")
                listener.close()
                self._listener = None
                return
            if event is None or event.get("event") == "run_started" or not is_whole(event):
                continue
            if self._told.is_new(event):
                yield event

    def _end(self) -> dict[str, Any] | None:
        """Return the event of the run's end, or None while it goes on."""
        from kladml.history.standing import LOST, RUNNING, loss_of
        from kladml.runner.record import RunRecord

        run = self._place.get_run(self._run.address)
        if run.status == RUNNING:
            return None
        folder = self._place.runs / run.address.path
        record = RunRecord.read(folder)
        ended = time.time() if run.ended_at is None else run.ended_at.timestamp()
        return {
            "event": "run_ended",
            "time": ended,
            "status": run.status,
            "metrics": run.metrics or _metrics(record),
            "seconds": max(ended - run.started_at.timestamp(), 0.0),
            "error": loss_of(folder) if run.status == LOST else record and record.error,
        }


def _metrics(record: RunRecord | None) -> dict[str, float]:
    return {} if record is None else record.metrics
