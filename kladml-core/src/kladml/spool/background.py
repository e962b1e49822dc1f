"""Draining a spool in the background."""

from __future__ import annotations

import threading
import time
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from kladml.errors import TrackerError
from kladml.log import get_logger
from kladml.spool.forks import call_in_forks

if TYPE_CHECKING:
    from collections.abc import Callable

    from kladml.spool.drain import Drain
    from kladml.spool.folder import SpoolFolder

POLL_SECONDS = 0.5
"""How long records wait for others at most, in a sink that works."""

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
_PAUSE_AT_THE_END = 0.25
_LONGEST_FAILURE_AT_THE_END = 5.0
_FEW = 4
"""A batch that is less than this part of what the sink takes is worth waiting for more."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """A sink that does not take records.

    Attributes:
        problem: What it says is wrong.
        since: When it began not to, in seconds since the epoch of Unix.
    """

    problem: str
    since: float


class DrainThread:
    """Drains one run until it ends; a sink that fails is tried again, less and less often.

    Args:
        drain: The drain.
        folder: The run's folder.
        on_end: Called in the thread when it ends, with whether everything is delivered.

    Attributes:
        failure: What keeps records from being delivered; None while they are.
        was_told: Whether the user was warned of a failure.
    """

    def __init__(self, drain: Drain, folder: SpoolFolder, on_end: Callable[[bool], None]) -> None:
        self._drain = drain
        self._folder = folder
        self._on_end = on_end
        self._changed = threading.Condition()
        call_in_forks(self._forget)
        self._asked = 0
        self._answered = 0
        self._patience = 0.0
        self._deadline: float | None = None
        self._is_to_sync = False
        self._pause = _FIRST_PAUSE
        self._is_done = False
        self.was_told = False
        work = partial(copy_context().run, self._work)  # what it logs says of which run it is
        self._thread = threading.Thread(target=work, name="kladml-spool", daemon=True)
        self.failure: Failure | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def settle(self, seconds: float) -> bool:
        """Wait until everything that was recorded before is delivered.

        Args:
            seconds: How long at most; a sink that fails is not waited for.

        Returns:
            Whether it is.
        """
        with self._changed:
            self._asked += 1
            mine = self._asked
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._answered >= mine or self.failure is not None or not self._thread.is_alive(), seconds
            )
            return self._answered >= mine and self.failure is None

    def sync(self) -> None:
        """Have what was recorded and not delivered brought to the disk itself, in a moment."""
        with self._changed:
            self._is_to_sync = True
            self._changed.notify_all()

    def finish(self, seconds: float) -> bool:
        """After the last record, wait until everything is delivered, and end.

        Args:
            seconds: How long at most; a sink that has failed for more than a few seconds is tried once.

        Returns:
            Whether everything is delivered.
        """
        with self._changed:
            self._patience = seconds
            self._deadline = time.monotonic() + seconds
            self._changed.notify_all()
        self._thread.join(seconds + 2 * _PAUSE_AT_THE_END)  # it lets go of the folder when it ends
        return not self._thread.is_alive() and self._is_done

    def _forget(self) -> None:
        """After a fork, which takes no thread along, wait for none: another thread may have held the lock for good."""
        self._changed = threading.Condition()

    def _work(self) -> None:
        is_ending = False
        while not self._is_done and not self._is_late(was_tried=is_ending):
            with self._changed:
                asked, is_ending = self._asked, self._deadline is not None
            count = self._step()
            if count is None:
                self._rest_after_failure()
            elif count == 0:
                with self._changed:
                    self._answered = asked
                    self._changed.notify_all()
                self._is_done = is_ending
                self._rest(POLL_SECONDS)
            elif count * _FEW < self._drain.batch_size and not self._drain.is_behind():
                self._rest(POLL_SECONDS)
        try:
            self._drain.close()
        except Exception as error:  # noqa: BLE001 - what a sink raises must not keep the folder locked
            log.debug(f"{type(error).__name__}: {error}")
        self._on_end(self._is_done)

    def _is_late(self, *, was_tried: bool) -> bool:
        """Tell whether the run has ended and its sink has had its time, or has failed for long and was tried since."""
        if self._deadline is None:
            return False
        longest = min(self._patience, _LONGEST_FAILURE_AT_THE_END)
        has_failed_long = self.failure is not None and time.time() - self.failure.since > longest
        return (was_tried and has_failed_long) or time.monotonic() >= self._deadline

    def _rest_after_failure(self) -> None:
        with self._changed:
            self._changed.notify_all()
            if self._deadline is not None:
                self._changed.wait(max(0.0, min(_PAUSE_AT_THE_END, self._deadline - time.monotonic())))
                return
        self._rest(self._pause, until_asked=False)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _rest(self, seconds: float, *, until_asked: bool = True) -> None:
        """Wait for more to do; bring records to the disk meanwhile, if that is asked for."""
        until = time.monotonic() + seconds

        def is_over() -> bool:
            return self._deadline is not None or (until_asked and self._asked != self._answered)

        while not is_over() and (left := until - time.monotonic()) > 0:
            with self._changed:
                self._changed.wait_for(lambda: is_over() or self._is_to_sync, left)
                is_to_sync, self._is_to_sync = self._is_to_sync, False
            if is_to_sync:
                self._sync()

    def _step(self) -> int | None:
        """Deliver a batch; None if the sink failed."""
        try:
            count = self._drain.step()
        except Exception as error:  # noqa: BLE001 - whatever a sink raises, records are kept and training goes on
            problem = text = f"{type(error).__name__}: {error}"
            if isinstance(error, TrackerError):
                problem, text = error.problem, str(error)
            since = time.time() if self.failure is None else self.failure.since
            self.failure = Failure(problem, since)
            if not self.was_told:
                self.was_told = True
                log.warning(f"{text} (the run goes on, and what it records is kept in {self._folder.path})")
            return None
        if self.failure is not None:
            log.info(f"what run '{self._drain.run.run_id}' records is delivered again")
            self.failure, self._pause = None, _FIRST_PAUSE
        return count

    def _sync(self) -> None:
        try:
            self._folder.sync(self._drain.position.segment)
        except OSError as error:
            log.debug(f"{self._folder.path} cannot be brought to the disk: {error}")
