"""Delivering what processes left behind that are no more."""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kladml.files.lock import FolderLock, HeldError
from kladml.log import get_logger
from kladml.spool.drain import Drain
from kladml.spool.folder import GONE, RUN, SpoolFolder, spooled_runs
from kladml.spool.segments import segment_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kladml.spool.events import Sink

_GOING_ON = ("", "RUNNING")
_BEGUN_SECONDS = 3600.0

log = get_logger(__name__)


def left_behind(spool: Path, destination: str | None = None) -> list[SpoolFolder]:
    """Return the folders of a spool whose process is no more, or has given up delivering, the oldest first.

    Args:
        spool: The tracker's spool.
        destination: Only runs that belong there; all by default.
    """
    _tidy(spool)
    found = []
    for folder in spooled_runs(spool):
        run = folder.read_run()
        if run is not None and destination in (None, run.destination):
            with _held(folder) as is_held:
                if is_held:
                    found.append(folder)
    return found


def deliver(folder: SpoolFolder, sink: Sink, *, progress: Callable[[int], None] = lambda _: None) -> int | None:
    """Deliver a run that nobody records any more, and remove its folder; one that did not end was killed.

    Args:
        folder: The run's folder.
        sink: Where it belongs.
        progress: Called with the number of records of each batch.

    Returns:
        How many records were delivered; None if another process has the folder, or had it.

    Raises:
        TrackerError: The sink does not take them now; what it took is not delivered again.
    """
    with _held(folder) as is_held:
        run = folder.read_run()
        if not is_held or run is None:
            return None
        count = 0
        drain = Drain(folder, run, sink)
        try:
            while delivered := drain.step():
                count += delivered
                progress(delivered)
            if drain.status in _GOING_ON:
                drain.end(drain.ended or "KILLED")
        finally:
            drain.close()
        folder.remove()
    return count


def _tidy(spool: Path) -> None:
    """Remove what killed processes left that is no run's: a folder half removed, or one that no run had yet."""
    for path in spool.glob(f"*{GONE}"):
        shutil.rmtree(path, ignore_errors=True)
    for path in spool.glob("*"):
        lock = FolderLock(path)
        try:
            is_old = time.time() - path.stat().st_mtime > _BEGUN_SECONDS
            if is_old and path.is_dir() and not (path / RUN).exists() and not segment_numbers(path):
                lock.take()
                if not (path / RUN).exists():
                    SpoolFolder(path).remove()
        except (HeldError, OSError) as error:  # a run on a full disk, of which nothing is here
            log.debug(f"{path} stays: {error}")
        finally:
            lock.let_go()


@contextmanager
def _held(folder: SpoolFolder) -> Iterator[bool]:
    """Have a folder for a while; tells whether it is there and nobody else has it."""
    lock = FolderLock(folder.path)
    is_held = False
    if folder.read_run() is not None:
        try:
            lock.take()
            is_held = folder.read_run() is not None
            if not is_held:  # it was just removed, and is there again with nothing but this lock
                folder.remove()
        except HeldError:
            pass
        except OSError as error:
            log.debug(f"{folder.path} cannot be locked: {error}")
    try:
        yield is_held
    finally:
        lock.let_go()
