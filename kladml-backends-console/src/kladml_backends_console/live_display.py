"""A run on a terminal: a line for each finished epoch, and a progress bar below them."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kladml_backends_console.display import Display, epoch_label
from kladml_backends_console.wording import clock, duration, number, ranked

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from kladml_backends_console.progress import RunProgress
    from kladml_backends_console.summary import Summary

_SECONDS_BETWEEN_FRAMES = 0.1
_LEAST_BAR = 16
_STATUS_STYLES = {"FINISHED": "bold green", "FAILED": "bold red", "KILLED": "bold yellow"}


class LiveDisplay(Display):
    """A progress bar that is drawn when a message comes, and by no thread of its own.

    A thread would hold locks while the training forks its data workers. What the program prints meanwhile
    appears above the bar.
    """

    def __init__(self) -> None:
        self._console = _Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._live: Live | None = None
        self._drawn_at = 0.0

    def show_start(self, progress: RunProgress) -> None:
        """Draw the empty bar, if there is something to wait for."""
        if progress.max_epochs is not None:
            self._draw(progress)

    def show_step(self, progress: RunProgress) -> None:
        """Draw the bar, unless that was done a moment ago."""
        if self._live is None or time.monotonic() - self._drawn_at >= _SECONDS_BETWEEN_FRAMES:
            self._draw(progress)

    def show_epoch(self, progress: RunProgress) -> None:
        """Print the epoch's line, which stays, and draw the bar below it."""
        label = epoch_label(progress, progress.finished_epochs)
        time_text = duration(progress.epoch_seconds)
        metrics = _metrics(progress.metrics, self._console.width - len(label) - len(time_text) - 4)
        line = Text("  ").join([Text(label, "bold"), *metrics, Text(time_text, "dim")])
        self._console.print(line, no_wrap=True, overflow="ellipsis")
        if not progress.is_last_epoch_over:
            self._draw(progress)

    def show_end(self, summary: Summary) -> None:
        """Take the bar away and print the summary."""
        self.close()
        address, status, rest = summary.headline.partition(f" {summary.status} ")
        headline = Text.assemble((address, "bold"), (status, _STATUS_STYLES.get(summary.status, "bold")), rest)
        self._console.print(Group(Text(), headline), soft_wrap=True)
        for row in summary.rows():
            # What is too long is left to the terminal to wrap, so that it can be copied as one.
            self._console.print(Text(row), soft_wrap=True)

    def close(self) -> None:
        """Take the bar away and show the cursor."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _draw(self, progress: RunProgress) -> None:
        bar = _bar(progress, self._console.width)
        self._drawn_at = time.monotonic()
        if self._live is None:
            live = Live(
                bar,
                console=self._console,
                auto_refresh=False,
                transient=True,
                # Standard output that goes elsewhere is none of the terminal's business.
                redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
                redirect_stderr=True,
            )
            self._live = live
            live.start()
        self._live.update(bar, refresh=True)


class _Console(Console):
    """A console whose broken pipe is an error like any other; rich's own ends the program."""

    def on_broken_pipe(self) -> NoReturn:
        """Pass the error on to the publisher."""
        raise  # noqa: PLE0704 - rich calls this while it handles the error


def _bar(progress: RunProgress, width: int) -> Table:
    """Return one line: epoch, bar, steps, metrics, time left."""
    label = epoch_label(progress, progress.epoch)
    total = progress.steps_per_epoch
    steps = f"{progress.epoch_step:>{len(str(total))}}/{total}" if total else f"step {progress.step}"
    left = progress.seconds_left
    time_left = "" if left is None else f"{clock(left)} left"
    shown = {"loss": progress.loss, **_judged_by(progress.metrics)}
    room = width - len(label) - len(steps) - len(time_left) - _LEAST_BAR
    fraction = progress.fraction
    gauge = ProgressBar(total=None if fraction is None else 1.0, completed=fraction or 0.0, pulse=fraction is None)
    grid = Table.grid(padding=(0, 1), expand=True)
    for ratio in (None, 1, None, None, None):
        grid.add_column(ratio=ratio, no_wrap=True)
    metrics = Text("  ").join(_metrics(shown, room))
    grid.add_row(Text(label, "bold"), gauge, Text(steps), metrics, Text(time_left, "dim"))
    return grid


def _judged_by(metrics: Mapping[str, object]) -> dict[str, float]:
    """Return the metric of an epoch that says most about it: one of validation, and no loss if possible."""
    names = sorted(ranked(metrics).items(), key=lambda item: (not item[0].startswith("val_"), "loss" in item[0]))
    return dict(names[:1])


def _metrics(metrics: Mapping[str, object], room: int) -> list[Text]:
    """Return as many metrics as fit into a number of columns, with two more columns for each."""
    texts: list[Text] = []
    for name, value in ranked(metrics).items():
        text = Text.assemble((name, "dim"), " ", (number(value), "cyan"))
        room -= text.cell_len + 2
        if room < 0:
            break
        texts.append(text)
    return texts
