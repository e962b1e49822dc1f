"""Starting the processes of a distributed training with torch's elastic agent, and seeing them through.

Accelerate's own launcher is no choice here: it starts several processes for accelerators alone (through the
same agent), and on CPUs needs MPI. The agent is used below its function `elastic_launch`, which tells nobody
the processes' ids, and gives the others 30 seconds when one failed, whatever its `shutdown_timeout`.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kladml.errors import TrainingError
from kladml.training.interruption import SIGNALS
from kladml.training.launching.rank_folder import REPORTS_VARIABLE
from kladml.training.launching.rank_report import cause_of
from kladml.training.launching.supervision import SIGNALLED, Supervision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from subprocess import Popen

    from kladml.training.launching.rank_folder import RankFolder
    from kladml.training.launching.rank_report import RankReport
    from kladml.training.launching.supervision import Stall

DEFAULT_PORT = 29500


@dataclass(frozen=True, slots=True)
class Machines:
    """The machines of a training, each with as many processes.

    Attributes:
        count: How many there are.
        rank: Number of this one, from 0.
        address: Where the others find the first one; of use for several only.
        port: Port of the first one at which they meet.
        timeout: Seconds that they wait for one another.
    """

    count: int = 1
    rank: int = 0
    address: str = "localhost"
    port: int = DEFAULT_PORT
    timeout: float = 900.0


@dataclass(frozen=True, slots=True)
class LaunchResult:
    """How the processes of this machine ended.

    Attributes:
        reports: How each that ended early did, by rank.
        stall: What made no progress, or None.
        cut_short_by: The signal that ended the processes at once, or kept them from being started; else 0.
    """

    reports: Mapping[int, RankReport] = field(default_factory=dict)
    stall: Stall | None = None
    cut_short_by: int = 0

    @property
    def cause(self) -> RankReport | None:
        """The process that ended first for a reason of its own, or None."""
        return cause_of(self.reports.values())

    @property
    def exit_code(self) -> int:
        """The exit status for all of them; 0 if none failed."""
        if self.cause is not None:
            return self.cause.exit_code or max(report.exit_code for report in self.reports.values())
        return SIGNALLED + self.cut_short_by if self.cut_short_by else 0


def launch(
    command: Sequence[str],
    *,
    num_processes: int,
    folder: RankFolder,
    machines: Machines | None = None,
    timeout: float = 600.0,
    environment: Mapping[str, str] | None = None,
) -> LaunchResult:
    """Run copies of a command that train together, until the last one has ended.

    The first process of all writes to this one's standard output and standard error; what others write is in
    the folder. In the main thread, SIGTERM, SIGINT and SIGUSR1 are passed on to the processes, the first of
    them only; a second SIGINT kills them.

    Args:
        command: The program and its arguments.
        num_processes: How many copies run on this machine.
        folder: An empty folder on a local disk.
        machines: Where else the command is launched; nowhere by default.
        timeout: Seconds without progress of any process after which the one that lags behind is ended.
        environment: Variables for the processes, besides those of this one.

    Raises:
        TrainingError: The machines did not find one another, or the launcher failed.
    """
    if sys.platform == "win32":
        problem = "training in several processes is for Linux and macOS"
        raise TrainingError(problem, next_step="train in one process, or under WSL")
    launching = _Launching(folder, timeout)
    with _locked(folder), _launcher_log(folder), launching.signals():
        launching.run(command, num_processes, machines or Machines(), environment or {})
    return launching.result()


class _Launching:
    """One launch. The agent has a thread of its own, so that signals always find the main thread awake."""

    def __init__(self, folder: RankFolder, timeout: float) -> None:
        self.folder = folder
        self.timeout = timeout
        self._signals: deque[int] = deque()
        self._supervision: Supervision | None = None
        self._starting = threading.Lock()
        self._given_up_by = 0
        self._error: Exception | None = None

    def run(
        self, command: Sequence[str], num_processes: int, machines: Machines, environment: Mapping[str, str]
    ) -> None:
        """Start the processes and wait for them."""

        def run_agent() -> None:
            try:
                from kladml.training.launching import elastic

                logs = elastic.RankOutput(self.folder, {**environment, REPORTS_VARIABLE: str(self.folder.path)})
                elastic.run_agent(command, num_processes, machines, logs=logs, supervise=self._supervise)
            except Exception as error:  # noqa: BLE001 - raised by `result`, in the main thread
                self._error = error

        # A daemon, because nothing can interrupt the agent while it waits for other machines.
        thread = threading.Thread(target=run_agent, name="kladml-launch", daemon=True)
        thread.start()
        while thread.is_alive() and not self._given_up_by:
            thread.join(0.1)
            if self._signals and self._supervision is None:
                self._give_up()

    def result(self) -> LaunchResult:
        """Return how it ended.

        Raises:
            TrainingError: The launcher failed.
        """
        if self._given_up_by:
            return LaunchResult(cut_short_by=self._given_up_by)
        ended = self._supervision
        if self._error is not None or ended is None:
            what = "the processes could not be started" if ended is None else "the launcher of the processes failed"
            problem = f"{what}: {type(self._error).__name__}: {self._error}"
            raise TrainingError(problem, next_step=f"see {self.folder.launcher_log}") from self._error
        return LaunchResult(ended.reports, ended.stall, signal.SIGINT if ended.was_cut_short else 0)

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Note signals for the supervision meanwhile, where this is the main thread, which alone gets them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, lambda number, _: self._signals.append(number)) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _supervise(self, start: Callable[[], Mapping[int, Popen[Any]]]) -> Supervision:
        with self._starting:
            if self._given_up_by:
                problem = "the launch was given up"
                raise TrainingError(problem)
            self._supervision = Supervision(self.folder, start(), timeout=self.timeout, signals=self._signals)
            return self._supervision

    def _give_up(self) -> None:
        """Start no process any more, unless they are being started."""
        with self._starting:
            if self._supervision is None:
                self._given_up_by = self._signals[0]


@contextmanager
def _locked(folder: RankFolder) -> Iterator[None]:
    """Hold the lock by which the processes know that their supervisor lives."""
    import fcntl

    with folder.lock.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _launcher_log(folder: RankFolder) -> Iterator[None]:
    """Keep in a file what torch's launcher logs, which repeats in many lines what KladML says in one."""
    logger = logging.getLogger("torch.distributed.elastic")
    handler = logging.FileHandler(folder.launcher_log, encoding="utf-8", delay=True)
    before = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = before
        logger.removeHandler(handler)
        handler.close()
