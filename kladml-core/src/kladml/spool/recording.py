"""One run while it is recorded."""

from __future__ import annotations

import shutil
import time
import uuid
from typing import TYPE_CHECKING

from kladml.errors import RefusedRunError, TrackerError
from kladml.files.lock import FolderLock, HeldError
from kladml.log import get_logger
from kladml.spool.background import DrainThread
from kladml.spool.drain import Drain, count_left
from kladml.spool.events import Status
from kladml.spool.folder import RUN, SpoolFolder
from kladml.spool.runs import belongs_elsewhere
from kladml.spool.segments import SEGMENT_BYTES, SegmentPool, segment_path
from kladml.spool.writer import SpoolWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kladml.spool.background import Failure
    from kladml.spool.events import Sink, SpooledRun

MOST_WAITING = 16
"""Segments that wait for a sink with backpressure, before whoever records has to wait as well: 64 MiB."""

_LONGEST_WAIT = 60.0
_WAIT = 0.02

log = get_logger(__name__)


class Recording:
    """A run that is recorded to its folder and drained from there.

    Args:
        spool: The tracker's spool, in which the run has a folder.
        run: The run. What an earlier process left of it in its folder is delivered first.
        sink: Where its records go.
        owner: The tracker's distribution, for errors.
        check_key: Raises a `TrackerError` for a metric's key that is not acceptable.
        backpressure: Whether recording waits for a sink that works and does not keep up.

    Attributes:
        run_id: The run's identifier.
        folder: The run's folder.
        writer: Takes the records.

    Raises:
        TrackerError: Another process records this run, or what was left of it belongs elsewhere.
    """

    def __init__(
        self,
        spool: Path,
        run: SpooledRun,
        sink: Sink,
        *,
        owner: str,
        check_key: Callable[[str], None],
        backpressure: bool,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.run_id = run.run_id
        self.folder = SpoolFolder(spool / run.run_id)
        self._lock = FolderLock(self.folder.path)
        self._owner = owner
        self._take_lock()
        run = self._written_down(run)
        self._backpressure = backpressure
        self._pool = SegmentPool(self.folder.path, segment_bytes)
        delivered = self.folder.delivered().position  # its segment may be gone, and its number is not given again
        first = max([*self.folder.numbers(), delivered.segment if delivered.offset else 0]) + 1
        self._is_old, self._is_to_stay = first > 1, False
        self.writer = SpoolWriter(self._pool, check_key=check_key, first=first, made_room=self._wait_for_room)
        self._drain = Drain(self.folder, run, sink, writer=self.writer, take_back=self._take_back)
        self._thread = DrainThread(self._drain, self.folder, self._on_end)

    @property
    def run(self) -> SpooledRun:
        """The run, as its destination knows it."""
        return self._drain.run

    @property
    def failure(self) -> Failure | None:
        """What keeps records from being delivered; None while they are."""
        return self._thread.failure

    @property
    def was_told(self) -> bool:
        """Whether the user was warned that something keeps records from being delivered."""
        return self._thread.was_told

    @was_told.setter
    def was_told(self, was_told: bool) -> None:
        self._thread.was_told = was_told

    def deliver_first(self) -> None:
        """Make the run known where it belongs before anything is recorded, if that is possible now.

        Raises:
            RefusedRunError: It will not be possible later either; the run is not recorded.
        """
        try:
            self._drain.step()
        except RefusedRunError:
            self.writer.close()
            self._drain.close()
            self._on_end(is_done=not self._is_old)
            raise
        except Exception as error:  # noqa: BLE001 - tried again in the background, which tells the user
            log.debug(f"{type(error).__name__}: {error}")

    def start(self) -> None:
        """Begin to deliver in the background."""
        self._thread.start()

    def settle(self, seconds: float) -> bool:
        """Wait until what was recorded is delivered, and tell whether it is."""
        return self._thread.settle(seconds)

    def sync(self) -> None:
        """Have what was recorded brought to the disk itself, in a moment."""
        self._thread.sync()

    def finish(self, status: str, seconds: float) -> int:
        """End the run.

        Args:
            status: One of `kladml.interfaces.RUN_STATUSES`.
            seconds: How long to wait at most until everything is delivered.

        Returns:
            How many records are not delivered, and stay in the folder.
        """
        self.writer.record_event(Status(status, time.time_ns() // 1_000_000))
        self.writer.close()
        if self._thread.finish(seconds):
            return 0
        left = count_left(self.folder, self.writer)
        if not left:  # it is being removed, and is not to be there again
            return 0
        self._write_down(self.run)
        self.writer.keep()
        if not self.writer.segments_in_memory():
            return left
        kept = count_left(self.folder) if self.folder.read_run() is not None else 0
        self.writer.lost += max(left - kept, 0)
        delivered = self.folder.delivered()
        self.folder.save_delivered(delivered.position, delivered.status, ended=status)
        return kept

    def let_go(self, seconds: float) -> None:
        """Stop recording a run that has not ended, so that this or another process can go on with it.

        Args:
            seconds: How long to wait at most until everything is delivered.
        """
        self._is_to_stay = True
        self.writer.close()
        self._thread.finish(seconds)

    def keep_file(self, path: Path) -> str:
        """Copy a file into the folder, and return its name there.

        Raises:
            OSError: It cannot be read or written.
        """
        name = uuid.uuid4().hex
        self.folder.files.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(path, self.folder.files / name)
        except OSError:
            (self.folder.files / name).unlink(missing_ok=True)
            raise
        return name

    def _take_lock(self) -> None:
        try:
            self._lock.take()
        except HeldError as held:
            problem = f"run '{self.run_id}' is being recorded by {held}"
            raise TrackerError(problem, owner=self._owner, next_step="wait until it ends, or end it first") from None
        except OSError as error:
            log.debug(f"{self.folder.path} cannot be locked: {error}")

    def _written_down(self, run: SpooledRun) -> SpooledRun:
        """Return the run as an earlier process knew it, or write it down."""
        known = self.folder.read_run()
        if known is not None and known.destination != run.destination:
            self._lock.let_go()
            raise belongs_elsewhere(known, run.destination, self._owner)
        if known is not None:
            return known
        self._write_down(run)
        return run

    def _write_down(self, run: SpooledRun) -> None:
        """Write down whose folder it is, unless it is: what lies in a folder without that is nobody's."""
        if (self.folder.path / RUN).exists():
            return
        try:
            self.folder.write_run(run)
        except OSError as error:  # said once, with the first segment
            log.debug(f"{self.folder.path} cannot be written: {error}")

    def _wait_for_room(self) -> None:
        """Before a segment is made, wait while too much is recorded and not delivered; not for a sink that fails."""
        self._write_down(self.run)
        if not self._backpressure:
            return
        deadline = time.monotonic() + _LONGEST_WAIT
        while (
            len(self.folder.numbers()) + len(self.writer.segments_in_memory()) > MOST_WAITING
            and self.failure is None
            and time.monotonic() < deadline
        ):
            time.sleep(_WAIT)

    def _take_back(self, number: int) -> None:
        self.writer.forget(number)
        path = segment_path(self.folder.path, number)
        if path.exists():
            self._pool.take_back(path)

    def _on_end(self, is_done: bool) -> None:  # noqa: FBT001 - a callback
        self._pool.close()
        if is_done and not self._is_to_stay:
            self.folder.remove()
        self._lock.let_go()
