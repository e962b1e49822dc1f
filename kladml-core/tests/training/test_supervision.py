"""Supervision of real processes that fail, die, stall, stop, and refuse to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import pytest

from kladml.training.launching import supervision
from kladml.training.launching.rank_folder import REPORTS_VARIABLE, RankFolder
from kladml.training.launching.rank_report import EndKind, cause_of
from kladml.training.launching.supervision import Supervision

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="several processes are for Linux and macOS")

PROGRAM = """\
import ctypes, os, signal, subprocess, sys, time

from kladml.training.launching.heartbeat import Phase, open_heartbeat
from kladml.training.launching.rank_folder import RankFolder, own_rank
from kladml.training.launching.rank_report import EndKind, RankReport

heartbeat = open_heartbeat()
folder, rank = RankFolder.from_environment(), own_rank()


def report(kind, code, error=""):
    RankReport(rank, EndKind(kind), error, code, f"Error: {kind}", time.time()).write(folder)


def sleep_in_c():
    mutex = ctypes.create_string_buffer(256)
    lock = ctypes.CDLL(None).pthread_mutex_lock
    lock(mutex)
    lock(mutex)  # for ever; no handler of Python's runs meanwhile


def ready():
    (folder.path / f"ready-{rank}").touch()


def on_signal(number, frame):
    report("stopped", 128 + number, "TrainingStopped")
    sys.exit(128 + number)


"""


def is_alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


class Processes:
    """Processes that run a program of their own, by rank, and what supervises them."""

    def __init__(self, folder, programs, **options):
        self.folder = folder
        self.running = {}
        for rank, program in enumerate(programs):
            with folder.errors(rank).open("w") as errors:
                self.running[rank] = subprocess.Popen(
                    [sys.executable, "-c", PROGRAM + program],
                    env={**os.environ, REPORTS_VARIABLE: str(folder.path), "RANK": str(rank)},
                    stderr=errors,
                    start_new_session=True,
                )
        self.signals = deque()
        self.supervision = Supervision(folder, self.running, signals=self.signals, **{"timeout": 600.0, **options})

    def wait(self):
        while not self.supervision.look():
            time.sleep(0.02)
        return self.supervision.reports

    def wait_until_ready(self, *ranks):
        while not all((self.folder.path / f"ready-{rank}").exists() for rank in ranks):
            assert not self.supervision.look()
            time.sleep(0.02)

    def pid_in(self, name):
        path = self.folder.path / name
        while not (path.exists() and path.read_text()):
            time.sleep(0.02)
        return int(path.read_text())


@pytest.fixture
def folder(tmp_path):
    """A folder whose supervisor, this process, is alive."""
    import fcntl

    found = RankFolder(tmp_path / "ranks")
    found.path.mkdir()
    with found.lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield found


@pytest.fixture
def start(folder):
    started = []

    def begin(*programs, **options):
        started.append(Processes(folder, programs, **options))
        return started[-1]

    yield begin
    for processes in started:
        for process in processes.running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def quick(monkeypatch):
    """Shorter times until the others are asked and killed."""
    monkeypatch.setattr(supervision, "ASKED_AFTER", 0.2)
    monkeypatch.setattr(supervision, "KILLED_AFTER", 0.5)


def test_processes_that_come_to_their_end_have_nothing_to_report(start):
    processes = start("pass", "time.sleep(0.3)")
    assert processes.wait() == {}
    assert not processes.folder.trouble.exists()


def test_the_one_that_raised_is_the_cause_though_others_ended_before_it(start):
    processes = start(
        "report('peer lost', 7); sys.exit(7)", "report('failed', 3, 'ValueError'); time.sleep(0.5); sys.exit(3)"
    )
    reports = processes.wait()
    assert {rank: report.kind for rank, report in reports.items()} == {0: "peer lost", 1: "failed"}
    assert cause_of(reports.values()).error == "ValueError"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_process_that_a_signal_killed_is_named_with_it(start, number):
    processes = start(
        "report('peer lost', 7); sys.exit(7)",
        f"print('last words', file=sys.stderr, flush=True); os.kill(os.getpid(), {number:d})",
    )
    report = cause_of(processes.wait().values())
    assert (report.rank, report.kind, report.exit_code) == (1, EndKind.DIED, 128 + number)
    pid = processes.running[1].pid
    assert report.text.splitlines()[-1].startswith(f"Error: the process (pid {pid}) was killed by {number.name}")
    assert "last words" in report.text
    assert ("memory" in report.text) is (number == signal.SIGKILL)
    assert ("most recent call first" in report.text) is (number != signal.SIGKILL)  # faulthandler's words


def test_a_process_that_exits_without_a_word_is_named_with_its_status(start):
    report = cause_of(start("os._exit(9)").wait().values())
    assert (report.kind, report.exit_code) == (EndKind.DIED, 9)
    assert report.text.endswith("ended with exit status 9")


def test_what_is_deaf_is_killed_and_all_that_it_started(start, quick):
    """One process raises; the other sleeps in C and started a process of its own, which ignores SIGTERM."""
    processes = start(
        """
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, 1); time.sleep(600)"])
(folder.path / "child").write_text(str(child.pid))
signal.signal(signal.SIGTERM, on_signal)
sleep_in_c()
""",
        "report('failed', 1); sys.exit(1)",
    )
    child = processes.pid_in("child")
    reports = processes.wait()
    assert processes.running[0].returncode == -signal.SIGKILL
    assert list(reports) == [1], "what the supervisor ended has nothing to say"
    assert not is_alive(child)


def test_what_a_dead_process_started_dies_too(start):
    processes = start(
        """
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
(folder.path / "child").write_text(str(child.pid))
os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    processes.wait()
    deadline = time.monotonic() + 10
    while is_alive(child := processes.pid_in("child")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(child)


def test_a_process_that_hangs_after_its_error_is_ended_too(start, quick):
    processes = start("report('failed', 4); sleep_in_c()")
    assert cause_of(processes.wait().values()).exit_code == 4


def test_others_are_told_why_before_they_are_asked_to_end(start, quick):
    processes = start(
        """
def asked(number, frame):
    report("peer lost" if folder.trouble.exists() else "stopped", 7)
    sys.exit(7)

signal.signal(signal.SIGTERM, asked)
ready()
time.sleep(600)
""",
        """
while not (folder.path / "ready-0").exists():
    time.sleep(0.02)
report('failed', 1); sys.exit(1)
""",
    )
    assert processes.wait()[0].kind == EndKind.PEER_LOST


# Stalls

STEPS = """
for count in range(1, 38):
    heartbeat.beat(count, Phase.FETCHING)
    if count == 37: {last}
    heartbeat.beat(count, Phase.EXCHANGING)
"""
WAITS = STEPS.format(last="pass") + "time.sleep(600)"


def test_the_one_that_makes_no_progress_is_found_and_shown(start, quick):
    stalls = "def next_sample():\n    sleep_in_c()\n" + STEPS.format(last="next_sample()")
    processes = start(WAITS, stalls, WAITS, timeout=0.5)
    report = cause_of(processes.wait().values())
    assert (report.rank, report.kind, report.exit_code) == (1, EndKind.STALLED, 7)
    assert report.text == "Error: rank 1 made no progress for 0.5 s while fetching batch 37"
    (stack,) = processes.supervision.stall.stacks[1]
    assert [frame.name for frame in stack] == ["<module>", "next_sample", "sleep_in_c"]


def test_the_one_that_is_silent_is_found_when_others_tire_of_it_first(start, quick):
    tires = STEPS.format(last="pass") + "time.sleep(1); report('peer lost', 7); sys.exit(7)"
    processes = start(tires, STEPS.format(last="sleep_in_c()"), WAITS, timeout=1.1)
    reports = processes.wait()
    assert {rank: report.kind for rank, report in reports.items()} == {0: "peer lost", 1: "stalled"}
    assert cause_of(reports.values()).text == "Error: rank 1 made no progress for 1 s while fetching batch 37"


def test_processes_that_stall_at_the_same_place_are_all_shown(start, quick):
    processes = start(WAITS, WAITS, timeout=0.3)
    reports = processes.wait()
    assert [report.text for report in reports.values()] == [
        "Error: ranks 0 and 1 made no progress for 0.3 s while waiting for the other ranks in batch 37"
    ] * 2
    assert set(processes.supervision.stall.stacks) == {0, 1}


def test_a_forked_data_loader_that_hangs_is_shown_with_its_process(start, quick):
    program = """
def load():
    sleep_in_c()

heartbeat.beat(1, Phase.FETCHING)
if os.fork() == 0:
    load()
os.wait()
"""
    processes = start(program, timeout=0.5)
    processes.wait()
    own, child = processes.supervision.stall.stacks[0]
    assert [frame.name for frame in own] == ["<module>"]
    assert [frame.name for frame in child] == ["<module>", "load", "sleep_in_c"]


@pytest.mark.parametrize(
    "program",
    [
        "ready(); time.sleep(1)",
        "heartbeat.beat(0, Phase.STARTING); ready(); time.sleep(1)",
        "heartbeat.beat(5, Phase.ENDED); ready(); time.sleep(1)",
        "ready()\nfor _ in range(50):\n    heartbeat.beat(1, Phase.VALIDATING); time.sleep(0.02)",
    ],
    ids=["never began", "still starts", "has ended", "goes on"],
)
def test_what_is_no_stall_is_left_alone(start, program):
    processes = start(program, timeout=0.4)
    assert processes.wait() == {}
    assert processes.supervision.stall is None
    assert processes.running[0].returncode == 0


# Signals

STOPS = "signal.signal(signal.SIGTERM, on_signal); signal.signal(signal.SIGINT, on_signal)\n"


def test_a_signal_is_passed_on_once(start):
    count = """
def count(number, frame):
    with (folder.path / "signals").open("a") as file:
        print(number, file=file)

signal.signal(signal.SIGTERM, count); ready(); time.sleep(1)
"""
    processes = start(count)
    processes.wait_until_ready(0)
    processes.signals += [signal.SIGTERM, signal.SIGTERM]
    processes.wait()
    assert (processes.folder.path / "signals").read_text() == "15\n"


def test_stopping_takes_its_time(start, quick):
    """The main process saves for longer than the others of a failed training would have to end."""
    processes = start(
        "def on_signal(number, frame):\n    time.sleep(1.5); report('stopped', 143, 'TrainingStopped'); sys.exit(143)\n"
        + STOPS
        + "ready(); time.sleep(600)",
        STOPS + "ready(); time.sleep(600)",
    )
    processes.wait_until_ready(0, 1)
    processes.signals.append(signal.SIGTERM)
    reports = processes.wait()
    assert {rank: report.exit_code for rank, report in reports.items()} == {0: 143, 1: 143}
    assert cause_of(reports.values()).rank == 0


def test_a_second_interrupt_kills(start):
    processes = start(STOPS + "ready(); sleep_in_c()")
    processes.wait_until_ready(0)
    processes.signals += [signal.SIGINT, signal.SIGINT]
    assert processes.wait() == {}
    assert processes.supervision.was_cut_short
    assert processes.running[0].returncode == -signal.SIGKILL


def test_a_process_that_a_signal_ends_before_it_can_listen_was_stopped(start):
    processes = start("ready(); time.sleep(600)")
    processes.wait_until_ready(0)
    processes.signals.append(signal.SIGTERM)
    (report,) = processes.wait().values()
    assert (report.kind, report.exit_code) == (EndKind.STOPPED, 143)


def test_a_signal_for_one_process_outside_of_the_training_stops_the_others(start):
    alone = "def on_signal(number, frame):\n    report('stopped', 143, 'SystemExit'); sys.exit(143)\n" + STOPS
    processes = start(alone + "ready(); time.sleep(600)", alone + "ready(); time.sleep(600)")
    processes.wait_until_ready(0, 1)
    os.kill(processes.running[1].pid, signal.SIGTERM)
    assert {rank: report.kind for rank, report in processes.wait().items()} == {0: "stopped", 1: "stopped"}
