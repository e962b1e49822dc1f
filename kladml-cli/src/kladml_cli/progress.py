"""How far something is that takes a while."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kladml_cli.hints import is_quiet
from kladml_cli.log_output import is_json
from kladml_cli.terminal import printable, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress

_PATIENCE = 0.5
"""Seconds before a bar appears."""


@contextmanager
def bar(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal once something takes a while, and nothing elsewhere or where `--quiet` was given.

    It appears by itself, also while nothing is told, and goes when the block ends. What is logged meanwhile is above
    it.

    Args:
        label: What is done.
        total: How much there is to do; None for bytes of which nobody knows how many there are. The function that is
            given is told how much of it was done, by any thread.
    """
    if not sys.stderr.isatty() or is_quiet() or is_json():
        yield lambda _: None
        return
    one = _Bar(label, total)
    timer = threading.Timer(_PATIENCE, one.show)
    timer.daemon = True
    timer.start()
    try:
        yield one.tell
    finally:
        timer.cancel()
        one.end()


class _Bar:
    """A bar that several threads tell and a timer shows.

    Args:
        label: What is done.
        total: How much there is to do, or None.
    """

    def __init__(self, label: str, total: int | None) -> None:
        self._label = label
        self._total = total
        self._done = 0
        self._has_ended = False
        self._shown: Progress | None = None
        self._changing = threading.RLock()

    def tell(self, count: int) -> None:
        """Add to what was done."""
        with self._changing:
            self._done += count
            if self._shown is not None:
                self._update(self._shown)

    def show(self) -> None:
        """Draw it from now on, unless all is done by now."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        how_far = TaskProgressColumn() if self._total is not None else TextColumn("{task.fields[moved]}", markup=False)
        with self._changing:
            if self._has_ended:
                return
            shown = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=None),
                how_far,
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
                redirect_stdout=False,  # it may go elsewhere
            )
            shown.add_task(printable(self._label), total=self._total, moved="")
            self._shown = shown
            self._update(shown)
            shown.start()

    def end(self) -> None:
        """Take it away."""
        with self._changing:
            self._has_ended = True
            if self._shown is not None:
                self._shown.stop()

    def _update(self, shown: Progress) -> None:
        moved = size(self._done) if self._done else ""
        shown.update(shown.task_ids[0], completed=self._done, moved=moved)
