"""Everything that is known of a run, from its catalog, its folder, its tracker and its storage."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from kladml.history.series import series_of
from kladml.history.standing import LOST, loss_of
from kladml.runner.record import CODE_DIFF, CONFIG, RunRecord

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kladml.history.best import Criterion
    from kladml.history.series import Point, Series
    from kladml.interfaces import CatalogRun, TrackerInterface

_UNKNOWN = "unknown"


@dataclass(frozen=True)
class RunPage:
    """Everything that is known of a run.

    Attributes:
        run: The run as the catalog has it.
        record: The run as its folder has it, or another place; else only what the catalog knows.
        folder: Its folder, which may be absent.
        points: All values of its metrics, as far as a tracker gives them back.
        criterion: What is known of the monitored metric.
        has_record: Whether its folder is on this machine.
        record_from: The other place that has the record, as people read it, or None.
        problem: Why its tracker could not be read, or nothing.
    """

    run: CatalogRun
    record: RunRecord
    folder: Path
    points: list[Point] = field(default_factory=list)
    criterion: Criterion | None = None
    has_record: bool = True
    record_from: str | None = None
    problem: str = ""

    @property
    def address(self) -> str:
        """Its full address."""
        return str(self.run.address)

    @cached_property
    def metrics(self) -> dict[str, Series]:
        """Its metrics by name."""
        return series_of(self.points, self.run.metrics or self.record.metrics, self.criterion)

    @property
    def seconds(self) -> float:
        """How long it took, or has been going on."""
        return ((self.run.ended_at or datetime.now(UTC)) - self.run.started_at).total_seconds()

    @property
    def params(self) -> dict[str, Any]:
        """Its configuration, flat."""
        return self.record.params

    @property
    def code_version(self) -> str:
        """The Git revision of its code, or `unknown`."""
        return self.record.tags.get("kladml.code_version", _UNKNOWN)

    @property
    def data_fingerprint(self) -> str:
        """The fingerprint of its training data, or why there is none."""
        return self.record.tags.get("kladml.data_fingerprint", _UNKNOWN)

    @property
    def val_fingerprint(self) -> str | None:
        """The fingerprint of its validation data, or why there is none; None where an older version noted none."""
        return self.record.tags.get("kladml.val_fingerprint")

    @property
    def plugins(self) -> list[str]:
        """Its backends with their versions."""
        if self.record.plugins:
            return self.record.plugins
        text = self.record.tags.get("kladml.plugins", "")
        return [part if part.endswith(")") else f"{part})" for part in text.split("), ")] if text else []

    @property
    def environment(self) -> dict[str, Any]:
        """Interpreter, platform and device; of an older run the interpreter alone."""
        python = self.record.tags.get("kladml.python")
        before = {"python": python} if python else {}
        return {name: value for name, value in self.record.environment.items() if name != "distributions"} or before

    @property
    def distributions(self) -> dict[str, str]:
        """The installed distributions, by name."""
        found: Mapping[str, str] = self.record.environment.get("distributions") or {}
        return dict(found)

    @property
    def error(self) -> str | None:
        """Why it ended early, or how it was lost; None where nothing is known."""
        if self.run.status == LOST:
            return loss_of(self.folder)
        return self.record.error

    def code_diff(self) -> str | None:
        """Return how its code differed from its revision, or None."""
        file = self.folder / CODE_DIFF
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None

    def as_dict(self) -> dict[str, Any]:
        """Return all of it, JSON-able."""
        return {
            "address": self.address,
            "run_id": self.run.run_id,
            "status": self.run.status,
            "error": self.error,
            "started_at": self.run.started_at.isoformat(),
            "ended_at": None if self.run.ended_at is None else self.run.ended_at.isoformat(),
            "seconds": self.seconds,
            "params": self.params,
            "metrics": {name: series.as_dict() for name, series in self.metrics.items()},
            "code_version": self.code_version,
            "code_diff": self.code_diff(),
            "code_files": self.record.code_files,
            "untracked": self.record.untracked,
            "data_fingerprint": self.data_fingerprint,
            "val_fingerprint": self.val_fingerprint,
            "plugins": self.plugins,
            "environment": self.environment,
            "distributions": self.distributions,
            "tags": self.record.tags,
            "backends": self.run.backends,
            "tracker_runs": dict(self.record.tracker_runs),
            "resumed": self.record.resumed,
        }


def read_page(
    run: CatalogRun, runs: Path, tracker: TrackerInterface | None = None, criterion: Criterion | None = None
) -> RunPage:
    """Read everything about a run.

    Args:
        run: The run.
        runs: The folder of all runs of the workspace.
        tracker: A tracker that has the run and can read it, or None.
        criterion: What is known of the monitored metric.

    Raises:
        TrackerError: The tracker fails.
        WorkspaceError: The run's record cannot be read.
    """
    folder = runs / run.address.path
    record = RunRecord.read(folder)
    if record is not None and run.run_id not in (record.run_id, *record.earlier_ids):
        record = None  # the folder is another run's, of a catalog that was there before
    points = [] if tracker is None else _points(run, tracker)
    if record is not None and not record.params:
        record.params = _stored_params(folder)
    known = record or RunRecord(str(run.address), run.run_id, run.status, run.started_at.isoformat())
    problem = ""
    if run.metrics and not points and tracker is not None and tracker.capabilities & {"points", "read"}:
        problem = f"the tracker has no values of the metrics of {run.address}: only the final ones are known"
    return RunPage(run, known, folder, points, criterion, has_record=record is not None, problem=problem)


def _stored_params(folder: Path) -> dict[str, Any]:
    """Return the configuration of a run whose record is of a version that did not repeat it there."""
    from kladml.config import BACKEND_SECTIONS, read_yaml

    file = folder / CONFIG
    entries = read_yaml(file) if file.is_file() else []
    return {
        entry.key: entry.value
        for entry in entries
        if entry.key.partition(".")[0] not in BACKEND_SECTIONS and entry.value not in (None, {})
    }


def _points(run: CatalogRun, tracker: TrackerInterface) -> list[Point]:
    if "points" in tracker.capabilities:
        return tracker.metric_points(run.run_id)
    if "read" not in tracker.capabilities:
        return []
    names = tracker.get_run(run.run_id).metrics
    return [(name, value, 0, step) for name in names for step, value in tracker.metric_history(run.run_id, name)]
