"""Watching a run from the command line: which one it is, how it ended, and signals that end it."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kladml.plugins import hookimpl
from kladml_cli.run_note import RunNote, outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType
    from typing import NoReturn

    from kladml.plugins import RunInfo
    from kladml.training.launching.rank_folder import RankFolder


class RunWatch:
    """A lifecycle hook that remembers the run, which an error does not tell.

    Args:
        note: A file to keep for those who look at the run from outside, as a `RunNote`; none by default.
        when_it_starts: What is called when the run begins.

    Attributes:
        run: The run, or None before it begins.
        status: How it ended, or None while it goes on.
        seconds: How long it took, 0 while it goes on.
    """

    def __init__(self, note: Path | None = None, when_it_starts: Callable[[], object] = lambda: None) -> None:
        self.run: RunInfo | None = None
        self.status: str | None = None
        self.seconds = 0.0
        self._began = 0.0
        self._note = note
        self._when_it_starts = when_it_starts

    @hookimpl
    def kladml_run_started(self, run: RunInfo) -> None:
        """Remember the run."""
        self._when_it_starts()
        self.run, self._began = run, time.monotonic()
        self._write_note()

    @hookimpl
    def kladml_run_ended(self, run: RunInfo, status: str) -> None:
        """Remember how it ended."""
        self.run, self.status, self.seconds = run, status, time.monotonic() - self._began
        self._write_note()

    def publishes_to(self, name: str) -> bool:
        """Tell whether a publisher was selected for the run."""
        return self.run is not None and name in self.run.backends.get("publisher", "").split(",")

    def uses(self, kind: str) -> bool:
        """Tell whether any backend of a kind was selected for the run."""
        return self.run is not None and bool(self.run.backends.get(kind))

    @property
    def outcome(self) -> str:
        """What became of the run, as a clause; empty if it had not begun."""
        return "" if self.run is None else outcome_of(self.run.address, self.status)

    def _write_note(self) -> None:
        if self._note is not None and self.run is not None:
            RunNote(self.run.address, self.run.run_id, self.status).write(self._note)


@contextmanager
def signals_end_the_run(folder: RankFolder | None = None) -> Iterator[None]:
    """Let the first SIGTERM or SIGUSR1 end the run in order, as Ctrl-C does; a later one does not disturb that.

    Args:
        folder: Where the supervisor of several processes notes that another one failed, which is why it asks
            this one to end.
    """
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]

    def end(received: int, _: FrameType | None) -> NoReturn:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        if folder is not None and folder.trouble.exists():
            from kladml.errors import PeerLostError

            problem = "another process of the training failed"
            raise PeerLostError(problem, next_step="see that process's error")
        raise SystemExit(128 + received)

    try:
        before = {number: signal.signal(number, end) for number in numbers}
    except ValueError:  # not the main thread, which alone gets signals
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
