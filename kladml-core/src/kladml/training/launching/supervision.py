"""Supervision: seeing that a process of a training failed, died or stalled, and ending the others in time."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kladml.errors import TrainingError
from kladml.training.launching.progress_watch import ProgressWatch
from kladml.training.launching.rank_report import EndKind, RankReport, read_report
from kladml.training.launching.stack_dump import request_stack

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from subprocess import Popen
    from traceback import StackSummary

    from kladml.training.launching.progress_watch import Laggards
    from kladml.training.launching.rank_folder import RankFolder

INTERVAL = 0.1
"""Seconds between two looks."""
ASKED_AFTER, KILLED_AFTER = 2.0, 4.5
"""Seconds after a process failed until the others are asked to end, and are killed.

Most notice it by themselves at once: their connection to it is closed.
"""
LOG_LINES = 20
SIGNALLED = 128
"""What a shell adds to the number of the signal that ended a process."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Processes that made no progress, and where each was.

    Attributes:
        laggards: Who they are.
        stacks: For each of them by rank, its Python stack and those of the processes that it forked.
    """

    laggards: Laggards
    stacks: Mapping[int, list[StackSummary]]


class Supervision:
    """The processes of one training on this machine, from their start to the end of the last one.

    When one ends because of an error, is killed or makes no progress, all are gone at most 10 seconds later.
    One that stops because it was asked to gives the others the time that they need.

    Args:
        folder: Where the processes report.
        processes: The processes by rank, each the leader of a process group.
        timeout: Seconds without progress of any of them after which the one that lags behind is ended.
        signals: Where the signals arrive that ask all processes to stop, from whatever thread. The first one is
            passed on, and a second SIGINT kills them.

    Attributes:
        signal_number: The signal that was passed on, or 0.
        was_cut_short: Whether a second SIGINT killed the processes.
        reports: How processes ended early, by rank; complete when all have ended.
        stall: What made no progress, or None.
    """

    def __init__(
        self,
        folder: RankFolder,
        processes: Mapping[int, Popen[Any]],
        *,
        timeout: float,
        signals: deque[int] | None = None,
    ) -> None:
        self.folder = folder
        self.signal_number = 0
        self.was_cut_short = False
        self.reports: dict[int, RankReport] = {}
        self.stall: Stall | None = None
        self._alive = dict(processes)
        self._ended_by_us: set[int] = set()
        self._signals = deque() if signals is None else signals
        self._interrupts = 0
        self._trouble_at: float | None = None
        self._asked = False
        self._progress = ProgressWatch(folder, timeout)

    def look(self) -> bool:
        """Look at every process once, do what is due, and return whether all have ended."""
        while self._signals:
            self._take(self._signals.popleft())
        self._progress.look(self._alive)
        for rank, process in list(self._alive.items()):
            code = process.poll()
            if code is not None:
                self._note_end(rank, process.pid, code)
            elif rank not in self.reports and (report := read_report(self.folder, rank)) is not None:
                self._note(report)
        if self._trouble_at is not None:
            self._end_the_others(time.monotonic() - self._trouble_at)
        elif (stalled := self._progress.stalled()) is not None:
            self._end_stalled(stalled)
        return not self._alive

    def _take(self, number: int) -> None:
        self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            self.was_cut_short = True
            self._kill(self._alive)
        elif not self.signal_number:
            self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        self.signal_number = number
        self._send(number)

    def _send(self, number: int) -> None:
        for process in self._alive.values():
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def _note_end(self, rank: int, pid: int, code: int) -> None:
        del self._alive[rank]
        report = self.reports.get(rank) or read_report(self.folder, rank)
        if report is None and code != 0 and rank not in self._ended_by_us:
            report = self._obituary(rank, pid, code)
        if code != 0:
            _kill_group(pid)  # what it started must not outlive it
        if report is not None:
            self._note(report)
            is_agreed = report.kind != EndKind.STOPPED or report.error == "TrainingStopped"
            if not (is_agreed or self.signal_number) and report.exit_code > SIGNALLED:
                self._pass_on(report.exit_code - SIGNALLED)

    def _obituary(self, rank: int, pid: int, code: int) -> RankReport:
        """Return what there is to say of a process that is gone without a word."""
        at = time.time() - INTERVAL  # it was alive when it was looked at before
        if code == -self.signal_number:  # before it could learn to stop in order
            return RankReport(rank, EndKind.STOPPED, "", SIGNALLED - code, "Stopped", at)
        how = f"ended with exit status {code}" if code > 0 else f"was killed by {signal_name(-code)}"
        text = f"Error: the process (pid {pid}) {how}"
        if code == -signal.SIGKILL:
            text += "; the system does that when memory runs out"
        if tail := self._end_of_output(rank):
            text = f"Its last output:\n{tail}\n{text}"
        return RankReport(rank, EndKind.DIED, "", code if code > 0 else SIGNALLED - code, text, at)

    def _end_of_output(self, rank: int) -> str:
        """Return the last lines of a process, those on standard error if there are any."""
        for path in (self.folder.errors(rank), self.folder.output(rank)):
            if path.exists() and path.stat().st_size:
                lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
                return "\n".join(lines[-LOG_LINES:])
        return ""

    def _note(self, report: RankReport) -> None:
        if report.rank in self.reports:
            return
        self.reports[report.rank] = report
        if report.kind == EndKind.STOPPED or self._trouble_at is not None:
            return
        self._trouble_at = time.monotonic()
        self.folder.trouble.touch()
        if report.kind == EndKind.PEER_LOST:  # it may have waited for a silent one for as long as we do
            silent = self._progress.silent(self._alive.keys() - self.reports.keys())
            if silent is not None:
                self._end_stalled(silent)

    def _end_the_others(self, seconds: float) -> None:
        """End what is still there some time after the first process failed."""
        if seconds >= KILLED_AFTER:
            self._kill(self._alive)
        elif seconds >= ASKED_AFTER and not self._asked:
            self._asked = True
            self._ended_by_us |= self._alive.keys()
            self._send(signal.SIGTERM)

    def _kill(self, ranks: Collection[int]) -> None:
        self._ended_by_us.update(ranks)
        for rank in ranks:
            _kill_group(self._alive[rank].pid)

    def _end_stalled(self, laggards: Laggards) -> None:
        """End processes that lag behind, after asking them where they are."""
        stacks = {rank: request_stack(self.folder, rank, self._alive[rank].pid) for rank in laggards.ranks}
        self.stall = Stall(laggards, stacks)
        text, code = f"Error: {laggards.message}", TrainingError.exit_code
        for rank in laggards.ranks:
            self._note(RankReport(rank, EndKind.STALLED, "", code, text, time.time()))
        self._kill(laggards.ranks)


def signal_name(number: int) -> str:
    """Return a signal's name, such as SIGKILL; its number where it has none, as real-time signals."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _kill_group(pid: int) -> None:
    """Kill a process and those that it started, unless all of them are gone."""
    with suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        os.killpg(pid, signal.SIGKILL)
