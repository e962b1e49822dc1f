"""The command as a process: signals, exit statuses, a terminal, and the example from end to end."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

TRAIN = ("train", "--model", "model.py:MeanModel", "--data", "model.py:data")


def status_in_catalog(run_kladml):
    return [run["status"] for run in json.loads(run_kladml("runs", "list", "--json").output)]


@pytest.mark.parametrize(
    ("number", "status", "message"),
    [
        (signal.SIGINT, 130, "Interrupted: run default/default/default@1 is marked KILLED"),
        (signal.SIGTERM, 143, "Terminated: run default/default/default@1 is marked KILLED"),
        (getattr(signal, "SIGUSR1", None), 138, "Stopped by SIGUSR1: run default/default/default@1 is marked KILLED"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_signal_in_the_users_training_marks_the_run_killed(
    start_kladml, run_kladml, workspace, number, status, message
):
    process = start_kladml(*TRAIN, "--set", "model.args.sleep=600")
    assert process.stdout.readline() == "training\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors.splitlines()[-1]) == (status, message)
    assert ("Traceback" in errors) is (number == signal.SIGINT)
    lines = ('print("training"', "time.sleep(self.sleep)")  # the signal may come before the second one begins
    assert any(line in errors for line in lines) or number != signal.SIGINT
    assert status_in_catalog(run_kladml) == ["KILLED"]
    record = json.loads((workspace / "data/runs/default/default/default/1/run.json").read_text())
    assert record["status"] == "KILLED"


def test_run_that_works_and_one_that_does_not(run_kladml, workspace):
    finished = run_kladml(*TRAIN, "--json", "--experiment", "works")
    assert finished.status == 0
    assert json.loads(finished.output.removeprefix("training\n"))["address"] == "default/default/works@1"
    failed = run_kladml("train", "--model", "model.py:Broken", "--data", "model.py:data", "--tracker", "none")
    assert failed.status == 1
    assert failed.errors.splitlines()[-1].startswith("Error: ValueError: the weather is bad; run ")
    assert status_in_catalog(run_kladml) == ["FAILED", "FINISHED"]


def test_log_lines_can_be_json(run_kladml, workspace):
    outcome = run_kladml(*TRAIN, "--tracker", "none", "--publisher", "none", KLADML_LOG_FORMAT="json")
    (line,) = map(json.loads, outcome.errors.splitlines())
    assert line["message"].startswith("run default/default/default@1 with storage local (")
    assert line["run"] == "default/default/default@1"


DAMAGING = """\
import time
from pathlib import Path
from model import MeanModel


class Damaging(MeanModel):
    def train(self, X_train, y_train=None):
        Path(".kladml/mlflow.db").write_bytes(b"no database" * 1000)
        self.run.log_metric("loss", 1.0)
        time.sleep(2)
        return {}
"""


def test_what_threads_log_says_of_which_run_it_is(run_kladml, workspace):
    """The thread that writes into the tracker's database begins before the run has its address."""
    (workspace / "damaging.py").write_text(DAMAGING)
    model = ("--model", "damaging.py:Damaging", "--data", "model.py:data", "--publisher", "none")
    outcome = run_kladml("train", *model, KLADML_LOG_FORMAT="json")
    lines = [json.loads(line) for line in outcome.errors.splitlines() if line.startswith("{")]
    assert "kladml.spool.background" in {line["logger"] for line in lines}
    assert {line.get("run") for line in lines} == {"default/default/default@1"}


RANKS = """\
import json, logging
from pathlib import Path
import torch
from torch import nn
from kladml.log import get_logger


class ToFile(logging.Handler):
    def emit(self, record):
        facts = [getattr(record, name, None) for name in ("run", "rank")]
        with Path(f"said-{record.getMessage()}").open("w") as file:
            json.dump(facts, file)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def training_step(self, batch, index):
        logging.getLogger("kladml.test").addHandler(ToFile())
        get_logger("kladml.test").warning(str(torch.distributed.get_rank()))
        return self.layer(batch[0]).sum()


def data():
    return torch.ones(4, 2), torch.ones(4, 1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="several processes are for Linux and macOS")
def test_what_ranks_log_has_the_address_and_their_rank(run_kladml, workspace):
    (workspace / "ranks.py").write_text(RANKS)
    several = (
        "--distributed",
        "--num-processes",
        "2",
        "--set",
        "training.max_epochs=1",
        "--set",
        "training.device=cpu",
    )
    outcome = run_kladml(
        *("train", "--model", "ranks.py:Net", "--data", "ranks.py:data", "--tracker", "none"), *several
    )
    assert outcome.status == 0, outcome.errors
    assert [json.loads((workspace / f"said-{rank}").read_text()) for rank in (0, 1)] == [
        ["default/default/default@1", 0],
        ["default/default/default@1", 1],
    ]
    assert "run=" not in outcome.errors


def test_script_is_installed_and_ends_as_the_module_does(folder):
    script = Path(sys.executable).with_name("kladml")
    if not script.exists():
        pytest.skip("the environment has its scripts elsewhere")
    done = subprocess.run([script, "train"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"Error: {folder} lies in no KladML workspace; run kladml init there first\n"


# A terminal


@pytest.fixture
def on_terminal(folder):
    """Run the command on a terminal of 80 columns; return its exit status and what appeared, raw."""
    pty = pytest.importorskip("pty", reason="needs a POSIX terminal")
    import fcntl
    import termios

    def run(*arguments, **environment):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        python_path = os.pathsep.join(sys.path)
        process = subprocess.Popen(
            [sys.executable, "-m", "kladml_cli", *arguments],
            env={
                **os.environ,
                "TERM": "xterm-256color",
                "PYTHONPATH": python_path,
                "OMP_NUM_THREADS": "1",
                **environment,
            },
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        output = b""
        try:
            while chunk := os.read(ours, 65_536):
                output += chunk
        except OSError:  # how Linux says that the other side is closed
            pass
        finally:
            os.close(ours)
        return process.wait(timeout=60), output.decode()

    return run


def lines_of(output):
    """Return every line that was ever drawn, without control codes."""
    return [line.rstrip() for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)) if line]


def test_example_trains_on_a_terminal_and_reads_the_digits(on_terminal, run_kladml, folder):
    assert run_kladml("init", "--example", "digits").status == 0
    status, output = on_terminal("train", "train.yaml")
    lines = lines_of(output)
    assert status == 0, output
    assert max(map(len, lines)) <= 80
    assert lines[:2] == ["preparing the run ...", ""]  # the second one wipes the first one away
    assert lines[2].startswith("run default/default/digits@1 with storage local (kladml-backends-local ")
    bars = [line for line in lines if line.endswith(" left")]
    assert any(re.search(r"^epoch +2/20 .* \d+/23 loss .*val_accuracy", line) for line in bars)
    assert any(re.search(r"^epoch +2/20  loss .*  val_accuracy 0\.\d{4}", line) for line in lines)
    summary = lines[next(i for i, line in enumerate(lines) if " FINISHED in " in line) :]
    assert ["files", "data/runs/default/default/digits/1"] in [line.split() for line in summary]
    assert "mlflow ui --backend-store-uri sqlite:///" in summary[-2]
    assert summary[-1] == "Next: kladml runs show digits@1"
    assert output.rindex("\x1b[?25h") > output.rindex("\x1b[?25l")
    (run,) = json.loads(run_kladml("runs", "list", "--json").output)
    assert run["status"] == "FINISHED"
    assert run["metrics"]["eval_accuracy"] >= 0.97


def test_tables_have_a_header_and_colours_on_a_terminal(on_terminal):
    status, output = on_terminal("plugins", "list")
    assert status == 0
    assert output.startswith("\x1b[1mKIND ")
    assert "\x1b" not in on_terminal("plugins", "list", NO_COLOR="1")[1]


def test_errors_are_red_on_a_terminal(on_terminal):
    status, output = on_terminal("train")
    assert status == 3
    assert output.startswith("\x1b[31m\x1b[1mError:\x1b[0m ")


# The example


def test_example_says_when_scikit_learn_is_missing(run_kladml, folder):
    run_kladml("init", "--example", "digits")
    (folder / "sklearn.py").write_text("raise ModuleNotFoundError(\"No module named 'sklearn'\", name='sklearn')\n")
    outcome = run_kladml("train", "train.yaml", "--tracker", "none")
    assert outcome.status == 6
    assert outcome.errors == (
        "Error: the digits ship inside scikit-learn, which is not installed (data.py); pip install scikit-learn\n"
    )
