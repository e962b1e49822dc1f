"""`kladml train --distributed`: several real processes that train, fail, die, stall and are told to stop."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
import uuid
from pathlib import Path

import pytest

from kladml_backends_local import LocalTracker

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="several processes are for Linux and macOS")

MODEL = """\
import ctypes, os, signal, sys, time
import torch
from torch import nn
from torch.utils.data import Dataset


def hang():
    mutex = ctypes.create_string_buffer(256)
    lock = ctypes.CDLL(None).pthread_mutex_lock
    lock(mutex)
    lock(mutex)  # for ever, deaf to every signal but SIGKILL


def act(what):
    if what == "raise":
        raise ValueError("the weather is bad")
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hang":
        hang()
    if what == "sleep":
        time.sleep(600)
    if what == "exit":
        os._exit(3)


class Net(nn.Module):
    def __init__(self, what="", rank=1, wait=0.0):
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.what, self.rank, self.wait = what, rank, wait
        self.seen = 0
        print("noise of a rank")

    def training_step(self, batch, batch_idx):
        X, y = batch
        self.seen += 1
        time.sleep(self.wait)
        if self.seen == 2:
            print("training", flush=True)
        if self.seen == 3 and int(os.environ["RANK"]) == self.rank:
            act(self.what)
        return ((self.layer(X)[:, 0] - y) ** 2).mean()


class Samples(Dataset):
    def __init__(self, what=""):
        self.what = what

    def __len__(self):
        return 64

    def __getitem__(self, index):
        act(self.what if index == 40 else "")
        return torch.tensor([index / 64, 1.0]), torch.tensor(index / 64)


def data(what=None):
    return Samples(what) if what is not None else (torch.ones(64, 2), torch.ones(64))
"""

TRAIN = ("train", "--model", "net.py:Net", "--data", "net.py:data", "--set", "training.batch_size=4")
TEAM = (*TRAIN, "--distributed", "--num-processes", "2", "--set", "training.device=cpu")
RUN = "run default/default/default@1"
QUICK = ("--tracker", "none", "--publisher", "none")


takes_long = pytest.mark.skipif(
    os.environ.get("KLADML_RELIABILITY") != "1", reason="takes long: nox -s reliability runs it"
)


@pytest.fixture
def net(workspace):
    (workspace / "net.py").write_text(MODEL, encoding="utf-8")
    return workspace


@pytest.fixture
def mark():
    """What tells the processes that a test starts from all others."""
    value = uuid.uuid4().hex
    yield value
    assert left_over(value) == []


def left_over(mark, seconds=15):
    """Return the processes of a test that are still there, after giving them time to vanish."""
    deadline = time.monotonic() + seconds
    while (found := [pid for pid in _pids() if mark in _environment(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def _pids():
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _environment(pid):
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""


@pytest.fixture
def temporary(tmp_path):
    """Where the processes put their temporary files."""
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp"


@pytest.fixture
def team(start_kladml, net, mark, temporary):
    """Start training in several processes."""

    def start(*arguments):
        quick = ("--publisher", "none") if "--tracker" in arguments else QUICK
        return start_kladml(*TEAM, *quick, *arguments, TEST_MARK=mark, TMPDIR=str(temporary))

    return start


def ended(process):
    output, errors = process.communicate(timeout=300)
    return process.returncode, output, errors.splitlines()


def statuses(run_kladml):
    return [run["status"] for run in json.loads(run_kladml("runs", "list", "--json").output)]


# Before any process starts


SEVERAL = ("--distributed", "--num-processes", "2")
TWO_MACHINES = ("--num-machines", "2", "--main-process-ip", "10.0.0.1")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (
            ("--distributed",),
            7,
            "training.distributed is true without training.num_processes, and this machine has ",
        ),
        (("--num-processes", "2"), 7, "training.num_processes is 2, and training.distributed is false; add --distri"),
        (TWO_MACHINES, 7, "several machines, and training.distributed is false; add --distributed, or set "),
        (("--distributed", "--num-processes", "3", *TWO_MACHINES), 7, "3 processes cannot be shared evenly by 2 machi"),
        (("--distributed", "--num-processes", "1", *TWO_MACHINES), 7, "1 processes cannot be shared evenly by 2 machi"),
        ((*SEVERAL, "--num-machines", "2"), 2, "--num-machines 2 needs --main-process-ip, the address of the first "),
        ((*SEVERAL, "--machine-rank", "1"), 2, "--machine-rank 1 is none of the 1 machines, counted from 0 (see 'kl"),
        ((*SEVERAL, "--set", "training.max_epoch=1"), 3, "--set: unknown key training.max_epoch; did you mean train"),
        ((*SEVERAL, "--storage", "nowhere"), 4, "no storage named 'nowhere' is installed"),
        ((*SEVERAL, "--experiment", "a/b"), 3, "'a/b' is no experiment address; write project/family/experiment"),
    ],
)
def test_what_cannot_start_is_told_once(kladml, net, arguments, status, message):
    outcome = kladml(*TRAIN, *QUICK, "--set", "training.device=cpu", *arguments)
    assert (outcome.status, outcome.output) == (status, "")
    (line,) = outcome.errors.splitlines()
    assert line.startswith(f"Error: {message}")


def test_options_are_layered_with_files(kladml, net):
    (net / "train.yaml").write_text("training: {distributed: true, num_processes: 3, device: cpu}\n")
    outcome = kladml("train", "train.yaml", "--num-machines", "2", "--main-process-ip", "10.0.0.1")
    assert outcome.errors.startswith("Error: 3 processes cannot be shared evenly by 2 machines")


# What several processes print, and how they end


def test_the_main_process_alone_is_heard(team, run_kladml, temporary):
    status, output, errors = ended(team("--json", "--set", "training.max_epochs=1"))
    assert status == 0, "\n".join(errors)
    noise, training, *result = output.splitlines()
    assert (noise, training) == ("noise of a rank", "training")
    assert json.loads("\n".join(result))["status"] == "FINISHED"
    assert [line.partition(" with ")[0] for line in errors] == ["run default/default/default@1"]
    assert statuses(run_kladml) == ["FINISHED"]
    assert list(temporary.glob("kladml-*")) == []


def test_a_rank_that_raises_tells_the_cause(team, run_kladml, net):
    status, _, errors = ended(team("--set", "model.args.what=raise"))
    assert status == 1
    told = errors[errors.index("rank 1 of 2 failed:") :]
    assert told[1] == "Traceback (most recent call last):"
    assert told[2].startswith(f'  File "{net / "net.py"}", line ')
    assert told[-2] == f"Error: ValueError: the weather is bad ({RUN} is marked FAILED)"
    assert "\n".join(errors).count("Traceback") == 1
    folder = Path(told[-1].removeprefix("The output of all ranks but the first is in "))
    assert (folder / "rank-1.out").read_text() == "noise of a rank\ntraining\n"
    assert statuses(run_kladml) == ["FAILED"]


@takes_long
def test_what_all_ranks_say_is_said_of_none(team, run_kladml):
    status, _, errors = ended(team("--data", "net.py:nothing"))
    assert status == 6
    assert [line for line in errors if "failed" in line] == []
    (line,) = [line for line in errors if line.startswith("Error: ")]
    assert "defines no nothing" in line


@takes_long
def test_a_data_loader_dies_with_its_rank(team, run_kladml):
    """That no process is left is what the fixture `mark` checks."""
    arguments = ("--set", "training.num_workers=2", "--set", "data.args.what=raise", "--set", "training.max_epochs=1")
    status, _, errors = ended(team(*arguments))
    assert status == 1
    assert f"Error: ValueError: the weather is bad ({RUN} is marked FAILED)" in errors
    assert statuses(run_kladml) == ["FAILED"]


def test_the_end_of_a_main_process_that_was_killed_is_recorded(team, run_kladml, net):
    status, _, errors = ended(team("--set", "model.args.what=kill", "--set", "model.args.rank=0", "--tracker", "local"))
    assert status == 137
    (line,) = [line for line in errors if line.startswith("Error: ")]
    assert "was killed by SIGKILL" in line
    assert line.endswith(f"({RUN} is marked FAILED)")
    assert statuses(run_kladml) == ["FAILED"]
    record = json.loads((net / ".kladml/runs/default/default/default/1/run.json").read_text())
    assert (record["status"], record["error"]) == ("FAILED", line.removesuffix(f" ({RUN} is marked FAILED)"))
    assert LocalTracker(net / ".kladml/mlflow.db").get_run(record["run_id"]).status == "FAILED"


@takes_long
def test_a_rank_that_ends_without_a_word_is_named(team, run_kladml):
    status, _, errors = ended(team("--set", "model.args.what=exit"))
    assert status == 3
    told = errors[errors.index("rank 1 of 2 failed:") :]
    assert told[1:4] == ["Its last output:", "noise of a rank", "training"]
    assert told[4].endswith(f"ended with exit status 3 ({RUN} is marked FAILED)")
    assert statuses(run_kladml) == ["FAILED"]


@takes_long
def test_a_rank_that_makes_no_progress_is_ended_and_shown(team, run_kladml, net):
    status, _, errors = ended(team("--set", "model.args.what=hang", "--set", "training.timeout=5"))
    assert status == 7
    told = errors[errors.index("rank 1 of 2 failed:") :]
    assert told[1] == "Stack of rank 1 (most recent call last):"
    assert told[2].startswith(f'  File "{net / "net.py"}", line ')
    assert any(line.endswith(", in hang") for line in told)
    (line,) = [line for line in told if line.startswith("Error: ")]
    assert re.match(r"Error: rank 1 made no progress for \d+ s while computing the loss of batch \d ", line)
    assert line.endswith(f"({RUN} is marked FAILED)")
    assert statuses(run_kladml) == ["FAILED"]


# Signals


def start_slowly(team, *arguments):
    """Start a training that takes long, and wait until it is under way."""
    process = team("--set", "model.args.wait=0.2", *arguments)
    assert process.stdout.readline() == "noise of a rank\n"
    assert process.stdout.readline() == "training\n"
    return process


def pid_of_rank(mark, rank):
    (found,) = [pid for pid in _pids() if mark in (variables := _environment(pid)) and f"\0RANK={rank}\0" in variables]
    return found


def test_a_signal_stops_all_with_a_checkpoint_and_the_run_can_go_on(team, run_kladml, temporary):
    process = start_slowly(team, "--set", "training.max_epochs=2")
    process.send_signal(signal.SIGTERM)
    status, _, errors = ended(process)
    assert status == 143
    (line,) = [line for line in errors if line.startswith("Stopped: ")]
    assert "SIGTERM" in line
    assert line.endswith(f"({RUN} is marked KILLED)")
    assert "failed" not in "\n".join(errors)
    assert statuses(run_kladml) == ["KILLED"]
    assert list(temporary.glob("kladml-*")) == []
    status, _, errors = ended(team("--set", "model.args.wait=0.2", "--set", "training.max_epochs=2", "--resume"))
    assert status == 0, "\n".join(errors)
    assert statuses(run_kladml) == ["FINISHED"]


def test_a_signal_to_one_process_stops_all(team, run_kladml, mark):
    process = start_slowly(team)
    os.kill(pid_of_rank(mark, 1), signal.SIGUSR1)
    status, _, errors = ended(process)
    assert status == 138
    (line,) = [line for line in errors if line.startswith("Stopped: ")]
    assert "SIGUSR1" in line
    assert statuses(run_kladml) == ["KILLED"]


@takes_long
def test_a_second_interrupt_ends_what_is_deaf(team, run_kladml):
    process = start_slowly(team, "--set", "model.args.what=hang")
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    status, _, errors = ended(process)
    assert (status, errors[-1]) == (130, f"Interrupted: {RUN} is marked KILLED")
    assert statuses(run_kladml) == ["KILLED"]
