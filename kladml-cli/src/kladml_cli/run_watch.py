"""Watching a run from the command line: which one it is, how it ended, and SIGTERM."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kladml.plugins import hookimpl
from kladml_cli.exits import TERMINATED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType
    from typing import NoReturn

    from kladml.plugins import RunInfo


class RunWatch:
    """A lifecycle hook that remembers the run, which an error does not tell.

    Attributes:
        run: The run, or None before it begins.
        status: How it ended, or None while it goes on.
        seconds: How long it took, 0 while it goes on.
    """

    def __init__(self) -> None:
        self.run: RunInfo | None = None
        self.status: str | None = None
        self.seconds = 0.0
        self._began = 0.0

    @hookimpl
    def kladml_run_started(self, run: RunInfo) -> None:
        """Remember the run."""
        self.run, self._began = run, time.monotonic()

    @hookimpl
    def kladml_run_ended(self, run: RunInfo, status: str) -> None:
        """Remember how it ended."""
        self.run, self.status, self.seconds = run, status, time.monotonic() - self._began

    def publishes_to(self, name: str) -> bool:
        """Tell whether a publisher was selected for the run."""
        return self.run is not None and name in self.run.backends.get("publisher", "").split(",")

    @property
    def outcome(self) -> str:
        """What became of the run, as a clause; empty if it had not begun."""
        if self.run is None:
            return ""
        if self.status is None:
            return f"run {self.run.address} began, and its end could not be recorded"
        return f"run {self.run.address} is marked {self.status}"


@contextmanager
def sigterm_ends_the_run() -> Iterator[None]:
    """Let the first SIGTERM end the run in order, as Ctrl-C does; a later one does not disturb that."""

    def end(_: int, __: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise SystemExit(TERMINATED)

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not the main thread, which alone gets signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
