"""Launching real processes through torch's elastic agent."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kladml.errors import TrainingError
from kladml.training.launching.launch import LaunchResult, Machines, launch
from kladml.training.launching.rank_folder import RankFolder
from kladml.training.launching.rank_report import EndKind, RankReport

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="several processes are for Linux and macOS")

LAUNCHER = """\
import json, sys
from pathlib import Path
from kladml.training.launching.launch import Machines, launch
from kladml.training.launching.rank_folder import RankFolder

options = json.loads(sys.argv[1])
folder = RankFolder(Path(options.pop("folder")))
machines = Machines(**options.pop("machines", {}))
result = launch([sys.executable, *options.pop("program")], folder=folder, machines=machines, **options)
cause = result.cause
print(json.dumps({"exit_code": result.exit_code, "rank": cause and cause.rank, "text": cause and cause.text}))
"""

RANK = """\
import os, sys, time
from kladml.training.launching.rank_folder import RankFolder, own_rank
from kladml.training.launching.rank_report import EndKind, RankReport
from kladml.training.launching.supervised import accept_supervision

folder, rank = accept_supervision(), own_rank()

def report(kind, code, text=""):
    RankReport(rank, EndKind(kind), "", code, text, time.time()).write(folder)

(folder.path / f"pid-{rank}").write_text(str(os.getpid()))
"""

SUMS = """
import torch
from kladml.config.schema import TrainingConfig
from kladml.errors import PeerLostError
from kladml.training.ranks import join, leave

torch.set_num_threads(1)
ranks = join(TrainingConfig(distributed=True, device="cpu", timeout=60))
total = 0
try:
    for step in range(STEPS):
        total += ranks.add([ranks.rank])[0]
        if step == 100 and rank == 1:
            LAST
        if step == 100 and rank == 0:
            FIRST
except PeerLostError as error:
    report("peer lost", 7, str(error))
    sys.exit(7)
except ValueError as error:
    report("failed", 1, f"ValueError: {error}")
    sys.exit(1)
leave()
print(int(total))
"""


def sums(steps=1_000_000_000, first="pass", last="pass"):
    """A program that adds with the other ranks; what the first and what the last does after 100 sums is given."""
    return RANK + SUMS.replace("STEPS", str(steps)).replace("FIRST", first).replace("LAST", last)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "ranks"
    path.mkdir()
    return RankFolder(path)


@pytest.fixture
def start(folder, tmp_path):
    """Launch in a process of its own, for what happens to a launcher."""
    started = []

    def begin(*program, **options):
        options = {"folder": str(folder.path), "program": program, "num_processes": 2, **options}
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, json.dumps(options)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def pids(folder):
    return [int(text) for path in folder.path.glob("pid-*") if (text := path.read_text())]


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def test_each_process_knows_its_number_and_only_the_first_one_is_heard(folder, capfd):
    program = "import os, sys; print(sys.argv[1:], os.environ['RANK'], os.environ['WORLD_SIZE'], os.environ['MORE'])"
    program += "; print('to', 'err', file=sys.stderr)"
    arguments = ["-c", program, "$HOME ${local_rank} $$ 100%"]
    result = launch([sys.executable, *arguments], num_processes=3, folder=folder, environment={"MORE": "yes"})
    assert (result, result.exit_code) == (LaunchResult(), 0)
    first, errors = capfd.readouterr()
    assert first == "['$HOME ${local_rank} $$ 100%'] 0 3 yes\n"
    assert errors == "to err\n"
    for rank in (1, 2):
        assert folder.output(rank).read_text() == first.replace(" 0 3 ", f" {rank} 3 ")
        assert folder.errors(rank).read_text() == errors


def test_processes_that_add_end_alike(folder, capfd):
    program = sums(steps=10)
    assert launch([sys.executable, "-c", program], num_processes=3, folder=folder).exit_code == 0
    assert capfd.readouterr().out == "30\n"
    assert folder.output(2).read_text() == "30\n"


@pytest.mark.parametrize("busy", ["pass", "time.sleep(600)"], ids=["in a collective", "elsewhere"])
def test_one_that_raises_ends_all_and_is_the_cause(folder, capfd, busy):
    program = sums(last="raise ValueError('the weather is bad')", first=busy)
    result = launch([sys.executable, "-c", program], num_processes=3, folder=folder)
    assert (result.cause.rank, result.cause.text) == (1, "ValueError: the weather is bad")
    assert result.exit_code == 1
    assert (0 in result.reports) is (busy == "pass")
    assert result.reports[2].kind == EndKind.PEER_LOST
    assert not any(map(is_alive, pids(folder)))


def test_one_that_dies_ends_all_and_is_the_cause(folder, capfd):
    program = sums(last="os.kill(os.getpid(), 9)")
    result = launch([sys.executable, "-c", program], num_processes=2, folder=folder)
    assert result.cause.text.endswith("was killed by SIGKILL; the system does that when memory runs out")
    assert (result.cause.rank, result.exit_code) == (1, 137)
    assert result.reports[0].kind == EndKind.PEER_LOST


def test_the_launcher_log_is_kept_and_the_logger_is_as_before(folder, capfd):
    import logging

    logger = logging.getLogger("torch.distributed.elastic")
    before = (list(logger.handlers), logger.propagate)
    launch([sys.executable, "-c", "raise SystemExit(3)"], num_processes=1, folder=folder)
    assert "exitcode: 3" in folder.launcher_log.read_text()
    assert capfd.readouterr() == ("", "")
    assert (list(logger.handlers), logger.propagate) == before


def test_a_program_that_is_not_there_is_a_training_error(folder):
    with pytest.raises(
        TrainingError, match=r"could not be started: FileNotFoundError: .*no-such-program.*launcher.log"
    ):
        launch(["no-such-program"], num_processes=2, folder=folder)


def test_processes_of_a_launcher_that_is_killed_do_not_outlive_it(start, folder):
    process = start("-c", RANK + "time.sleep(600)")
    assert wait_for(lambda: len(pids(folder)) == 2)
    assert all(map(is_alive, pids(folder)))
    process.kill()
    assert wait_for(lambda: not any(map(is_alive, pids(folder))))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_to_the_launcher_stops_all(start, folder, number):
    stops = """
import signal

def stop(number, frame):
    report("stopped", 128 + number, f"stopped by {number}")
    sys.exit(128 + number)

for number in (2, 10, 15):
    signal.signal(number, stop)
(folder.path / f"ready-{rank}").touch()
time.sleep(600)
"""
    process = start("-c", RANK + stops)
    assert wait_for(lambda: len(list(folder.path.glob("ready-*"))) == 2)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert json.loads(output) == {"exit_code": 128 + number, "rank": 0, "text": f"stopped by {number:d}"}
    assert errors == ""


def test_a_second_interrupt_kills(start, folder):
    process = start(
        "-c",
        RANK
        + "import signal; signal.signal(2, signal.SIG_IGN)\n(folder.path / f'ready-{rank}').touch(); time.sleep(600)",
    )
    assert wait_for(lambda: len(list(folder.path.glob("ready-*"))) == 2)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)  # two at once may be one to the system
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert json.loads(output) == {"exit_code": 130, "rank": None, "text": None}
    assert not any(map(is_alive, pids(folder)))


def test_an_interrupt_while_other_machines_are_awaited_gives_up(start, folder):
    port = free_port()
    process = start("-c", RANK, machines={"count": 2, "rank": 1, "address": "localhost", "port": port})
    time.sleep(4)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert json.loads(output)["exit_code"] == 130
    assert pids(folder) == []


def test_two_machines_train_together(start, folder, tmp_path):
    """Both are this one."""
    second = tmp_path / "second"
    second.mkdir()
    machines = {"count": 2, "address": "localhost", "port": free_port()}
    program = sums(steps=10)
    processes = [
        start("-c", program, folder=str(path), machines={**machines, "rank": rank})
        for rank, path in enumerate((folder.path, second))
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert outputs[0][0].splitlines()[0] == "60", outputs
    assert [json.loads(output.splitlines()[-1])["exit_code"] for output, _ in outputs] == [0, 0]
    assert {path.name for path in second.glob("*.out")} == {"rank-2.out", "rank-3.out"}


def test_machines_that_do_not_meet_are_a_training_error(folder):
    machines = Machines(2, 1, "localhost", free_port(), timeout=1)
    with pytest.raises(TrainingError, match=r"could not be started: Dist\w+Error"):
        launch([sys.executable, "-c", "pass"], num_processes=1, folder=folder, machines=machines)


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (LaunchResult(), 0),
        (LaunchResult(cut_short_by=2), 130),
        (LaunchResult({0: RankReport(0, EndKind.FAILED, "", 3, "", 1.0)}), 3),
        (LaunchResult({0: RankReport(0, EndKind.STOPPED, "", 0, "", 1.0)}), 0),
        (
            LaunchResult(
                {0: RankReport(0, EndKind.PEER_LOST, "", 7, "", 2.0), 1: RankReport(1, EndKind.FAILED, "", 0, "", 1.0)}
            ),
            7,
        ),
    ],
)
def test_the_status_is_the_causes_and_0_only_if_nobody_failed(result, code):
    assert result.exit_code == code
