"""What a console shows of a run, and the way it does so where there is no terminal."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from kladml_backends_console.wording import duration, number, ranked

if TYPE_CHECKING:
    from kladml_backends_console.progress import RunProgress
    from kladml_backends_console.summary import Summary


class Display(ABC):
    """Shows a run on standard error, so that standard output stays the program's own."""

    @abstractmethod
    def show_start(self, progress: RunProgress) -> None:
        """Show that a training begins."""

    @abstractmethod
    def show_step(self, progress: RunProgress) -> None:
        """Show where an epoch stands."""

    @abstractmethod
    def show_epoch(self, progress: RunProgress) -> None:
        """Show an epoch that ended."""

    @abstractmethod
    def show_end(self, summary: Summary) -> None:
        """Show how the run ended."""

    @abstractmethod
    def close(self) -> None:
        """Leave the terminal as it was found; again is harmless."""


class PlainDisplay(Display):
    """Plain lines, for logs and pipes.

    Args:
        seconds_between_lines: Least seconds between two lines about steps within an epoch.
    """

    def __init__(self, seconds_between_lines: float) -> None:
        self._seconds_between_lines = seconds_between_lines
        self._last_line_at = 0.0

    def show_start(self, progress: RunProgress) -> None:
        """Write how long the training is."""
        self._last_line_at = progress.now
        if progress.max_epochs is not None:
            each = progress.steps_per_epoch
            steps = f" of {each} step{'' if each == 1 else 's'}" if each else ""
            epochs = f"{progress.max_epochs} epoch{'' if progress.max_epochs == 1 else 's'}"
            _write(f"{progress.address}: training for up to {epochs}{steps}")

    def show_step(self, progress: RunProgress) -> None:
        """Write the loss, unless a line was written just before."""
        if progress.now - self._last_line_at < self._seconds_between_lines:
            return
        self._last_line_at = progress.now
        of_steps = f"/{progress.steps_per_epoch}" if progress.steps_per_epoch else ""
        loss = "" if progress.loss is None else f" loss={number(progress.loss)}"
        _write(f"{epoch_label(progress, progress.epoch)} step {progress.epoch_step}{of_steps}{loss}")

    def show_epoch(self, progress: RunProgress) -> None:
        """Write the epoch's metrics."""
        self._last_line_at = progress.now
        metrics = "".join(f" {name}={number(value)}" for name, value in ranked(progress.metrics).items())
        label = epoch_label(progress, progress.finished_epochs)
        _write(f"{label}{metrics} ({duration(progress.epoch_seconds)})")

    def show_end(self, summary: Summary) -> None:
        """Write the summary."""
        for line in (summary.headline, *summary.rows()):
            _write(line)

    def close(self) -> None:
        """Do nothing: every line was written whole."""


def epoch_label(progress: RunProgress, epoch: int) -> str:
    """Return `epoch  3/15`, as wide for every epoch of the run."""
    if progress.max_epochs is None:
        return f"epoch {epoch}"
    return f"epoch {epoch:>{len(str(progress.max_epochs))}}/{progress.max_epochs}"


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
