"""Copying a run to another storage or tracker, and proving that it got there."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kladml.errors import StorageError, TrackerError
from kladml.history.standing import LOST
from kladml.history.weights import sha256_of
from kladml.runner.provenance import experiment_tags
from kladml.runner.registration import flat_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from kladml.history.pages import RunPage
    from kladml.interfaces import StorageInterface, TrackerInterface

COPIED_FROM = "kladml.copied_from"


@dataclass(frozen=True, slots=True)
class Place:
    """A storage and a bucket in it.

    Attributes:
        name: Name of the storage.
        storage: The storage.
        bucket: The bucket.
    """

    name: str
    storage: StorageInterface
    bucket: str

    def __str__(self) -> str:
        """Return how people read it."""
        return f"storage {self.name} ({self.bucket})"


@dataclass
class CopiedFiles:
    """The files of a run that are in another storage now.

    Attributes:
        sha256: The SHA-256 of each file by its key, as it was read back from there.
        already_there: Keys that were there before, with the same content.
    """

    sha256: dict[str, str] = field(default_factory=dict)
    already_there: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CopiedRecords:
    """What a tracker has of a run now.

    Attributes:
        run_id: Its identifier there.
        points: How many values of metrics were recorded.
        with_times: Whether they have the times at which they were recorded first.
        waiting: What is not delivered yet, as people read it, or None.
        verified: Whether they were read back and are the same.
    """

    run_id: str
    points: int
    with_times: bool
    waiting: str | None = None
    verified: bool = False


def files_of(page: RunPage, source: Place | None) -> list[str]:
    """Return the names of the files of a run, in its storage, or in its folder where it has none."""
    if source is not None:
        prefix = f"{page.run.address.path}/"
        return [key.removeprefix(prefix) for key in source.storage.iter_files(source.bucket, prefix)]
    kept = page.folder / "artifacts"
    return sorted(path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file())


def copy_files(
    page: RunPage, source: Place | None, target: Place, progress: Callable[[int], None] = lambda _: None
) -> CopiedFiles:
    """Copy the files of a run to another storage, and read each back to compare its SHA-256.

    Args:
        page: The run.
        source: Where they are, or None for the run's folder.
        target: Where they go, under the same keys.
        progress: Called with 1 for every file.

    Raises:
        StorageError: A file cannot be copied, arrived damaged, or is another one there.
    """
    copied = CopiedFiles()
    with tempfile.TemporaryDirectory(prefix="kladml-") as folder:
        for name in files_of(page, source):
            key = f"{page.run.address.path}/{name}"
            if source is None:
                local = page.folder / "artifacts" / name
            else:
                local = Path(source.storage.download_file(source.bucket, key, Path(folder, "source")))
            digest = sha256_of(local)
            if target.storage.exists(target.bucket, key):
                _check(target, key, digest, Path(folder, "target"), "another file")
                copied.already_there.append(key)
            else:
                target.storage.upload_file(local, target.bucket, key)
                _check(target, key, digest, Path(folder, "target"), "damaged")
            copied.sha256[key] = digest
            progress(1)
    return copied


def copy_records(page: RunPage, name: str, tracker: TrackerInterface) -> CopiedRecords:
    """Record a run on another tracker, with its parameters, tags, histories and its end.

    Args:
        page: The run.
        name: Name of the tracker.
        tracker: The tracker.

    Raises:
        TrackerError: It has the run already, or fails.
    """
    from kladml.spool.tracker import SpooledTracker

    known = dict(page.record.tracker_runs)
    if name in known:
        problem = f"tracker {name} has run {page.address} already, as {known[name]}"
        raise TrackerError(problem, next_step="delete it there first, or choose another tracker")
    run_id = tracker.start_run(flat_name(page.run.address.experiment), page.params.get("run_name"))
    status = "FAILED"
    with_times = isinstance(tracker, SpooledTracker)
    try:
        tracker.log_params(page.params)
        tracker.set_tags({**page.record.tags, **_times(page), COPIED_FROM: page.address})
        tracker.set_experiment_tags(experiment_tags(page.run.address.experiment))
        if page.data_fingerprint.startswith("sha256:"):
            data = page.params.get("data.train") or "training data"
            tracker.log_dataset(data, page.data_fingerprint, data, "training")
        if isinstance(tracker, SpooledTracker):
            tracker.log_points(page.points)
        else:
            for key, value, _, step in page.points:
                tracker.log_metric(key, value, step)
        status = "KILLED" if page.run.status == LOST else page.run.status
    finally:
        tracker.end_run(status)
    waiting = next((str(one) for one in tracker.undelivered() if one.run_id == run_id), None)
    verified = waiting is None and _is_same(page, run_id, tracker, with_times=with_times)
    return CopiedRecords(run_id, len(page.points), with_times, waiting, verified)


def _check(target: Place, key: str, digest: str, file: Path, what: str) -> None:
    found = sha256_of(Path(target.storage.download_file(target.bucket, key, file)))
    if found != digest:
        problem = f"{key} in {target} is {what}: its SHA-256 is {found}, and that of the run's file {digest}"
        raise StorageError(problem, next_step="delete it there, and copy the run once more")


def _times(page: RunPage) -> dict[str, str]:
    """Return when the run began and ended, which a tracker takes for the time of the copy."""
    times = {"kladml.started_at": page.run.started_at.isoformat()}
    return times if page.run.ended_at is None else {**times, "kladml.ended_at": page.run.ended_at.isoformat()}


def _is_same(page: RunPage, run_id: str, tracker: TrackerInterface, *, with_times: bool) -> bool:
    """Read a copy back, where that is possible, and compare its histories; tell whether they were compared.

    Raises:
        TrackerError: They differ.
    """
    if "points" not in tracker.capabilities:
        return False
    found = Counter(map(_comparable, tracker.metric_points(run_id)))
    wanted = Counter(map(_comparable, page.points))
    if not with_times:
        found, wanted = (Counter({(key, value, 0, step): 1 for key, value, _, step in one}) for one in (found, wanted))
    if found != wanted:
        missing, more = (wanted - found).total(), (found - wanted).total()
        problem = f"the copy {run_id} lacks {missing} values of {page.address}, and has {more} that it does not have"
        raise TrackerError(problem, next_step="delete the copy, and repeat it")
    return True


def _comparable(point: Any) -> tuple[str, float | str, int, int]:
    key, value, milliseconds, step = point
    return key, "nan" if isnan(value) else value, milliseconds, step
