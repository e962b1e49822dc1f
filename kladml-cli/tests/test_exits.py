"""What is said of errors, and with which status the command exits."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from kladml import errors
from kladml_cli.exits import EXIT_STATUSES, RunFailed, exit_status
from kladml_cli.options import Invocation

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, errors.KladMLError)]


def exits_with(error, capsys, *, traceback=False):
    @click.command()
    def command():
        raise error

    status = exit_status(command, [], Invocation(traceback=traceback))
    return status, capsys.readouterr().err


@pytest.mark.parametrize("error_class", CLASSES)
def test_every_error_of_kladml_has_a_documented_status(error_class, capsys):
    error = error_class("the thing", owner="its owner", next_step="do this")
    assert error.exit_code in EXIT_STATUSES
    assert exits_with(error, capsys) == (error.exit_code, "Error: the thing (its owner); do this\n")


def test_traceback_is_shown_on_request(capsys):
    status, text = exits_with(errors.ConfigError("the thing"), capsys, traceback=True)
    assert status == 3
    assert text.startswith("Traceback (most recent call last)")
    assert text.endswith("kladml.errors.ConfigError: the thing\nError: the thing\n")


def test_unexpected_error_is_one_line_that_says_how_to_report_it(capsys):
    status, text = exits_with(RuntimeError("two\nlines"), capsys)
    assert status == 1
    assert (
        text == "Error: KladML failed unexpectedly: RuntimeError: two lines; repeat it with --traceback and report it\n"
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_interrupt_is_130(capsys, error):
    assert exits_with(error, capsys) == (130, "Interrupted\n")


def test_a_name_that_is_too_long_for_the_file_system_is_one_short_sentence(capsys, tmp_path):
    with pytest.raises(OSError, match="too long") as raised:
        (tmp_path / ("5" * 5000)).stat()
    status, text = exits_with(raised.value, capsys)
    assert status == 1
    assert text.endswith("…' is too long for the name of a file; write a shorter one\n")
    assert len(text) < 200


def test_interrupt_and_traceback_as_a_log_line(capsys, monkeypatch):
    monkeypatch.setenv("KLADML_LOG_FORMAT", "json")
    line = json.loads(exits_with(KeyboardInterrupt("nothing was added"), capsys)[1])
    assert (line["message"], line["exit_status"], "traceback" in line) == ("Interrupted: nothing was added", 130, False)
    line = json.loads(exits_with(errors.ConfigError("the thing"), capsys, traceback=True)[1])
    assert line["message"] == "the thing"
    assert line["traceback"].startswith("Traceback (most recent call last)")


def test_click_errors_keep_their_status(capsys):
    assert exits_with(click.FileError("x", "gone"), capsys)[0] == 1
    assert exits_with(click.ClickException("odd"), capsys) == (1, "Error: odd\n")


@pytest.mark.parametrize(
    ("error", "outcome", "status", "text"),
    [
        (
            errors.NonFiniteError("loss is NaN"),
            "run a@1 is marked FAILED",
            7,
            "Error: loss is NaN (run a@1 is marked FAILED)\n",
        ),
        (errors.DataError("no data"), "", 6, "Error: no data\n"),
        (errors.StopRun("enough"), "", 8, "Error: enough\n"),
        (
            errors.TrainingStopped("SIGUSR1 came", next_step="resume it", signal_number=10),
            "run a@1 is marked KILLED",
            138,
            "Stopped: SIGUSR1 came; resume it (run a@1 is marked KILLED)\n",
        ),
        (SystemExit(138), "run a@1 is marked KILLED", 138, "Stopped by SIGUSR1: run a@1 is marked KILLED\n"),
        (SystemExit(143), "run a@1 is marked KILLED", 143, "Terminated: run a@1 is marked KILLED\n"),
        (SystemExit(143), "", 143, "Terminated: the run had not begun\n"),
        (SystemExit(4), "run a@1 is marked KILLED", 4, "Your code exits with 4: run a@1 is marked KILLED\n"),
        (SystemExit("why"), "", 1, "Your code exits with why: the run had not begun\n"),
        (SystemExit(), "", 0, "Your code exits with None: the run had not begun\n"),
        (KeyboardInterrupt(), "", 130, "Interrupted: the run had not begun\n"),
    ],
)
def test_failed_run_says_what_became_of_it(capsys, error, outcome, status, text):
    assert exits_with(RunFailed(error, outcome), capsys) == (status, text)


@pytest.mark.parametrize(
    ("error", "status", "last"),
    [
        (ValueError("bad"), 1, "Error: ValueError: bad; run a@1 is marked FAILED"),
        (KeyboardInterrupt(), 130, "Interrupted: run a@1 is marked FAILED"),
    ],
)
def test_error_of_the_users_code_keeps_its_traceback(capsys, error, status, last):
    def users_code():
        raise error

    with pytest.raises(type(error)) as raised:
        users_code()
    got, text = exits_with(RunFailed(raised.value, "run a@1 is marked FAILED"), capsys)
    assert got == status
    assert text.startswith("Traceback (most recent call last)")
    assert "raise error" in text
    assert text.splitlines()[-1] == last


def test_an_error_that_brings_a_traceback_as_its_text_is_told_by_its_last_line(capsys):
    text = "Caught ValueError in a process.\nOriginal Traceback (most recent call last):\n  …\nValueError: bad\n"
    status, told = exits_with(RunFailed(ValueError(text), "run a@1 is marked FAILED"), capsys)
    assert (status, told.splitlines()[-1]) == (1, "Error: ValueError: bad; run a@1 is marked FAILED")


def test_output_that_nobody_reads_ends_the_command_quietly(install, tmp_path):
    program = "import sys; from kladml_cli.main import main; sys.exit(main(['plugins', 'list']))"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_output_that_no_longer_fits_is_one_sentence():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "kladml_cli", "version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "Error: nothing more can be written: No space left on device; make room and repeat it\n"


def test_messages_that_nobody_reads_do_not_hide_the_status():
    program = "import sys; from kladml_cli.main import main; sys.exit(main(['no-such-command']))"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=writing,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 2
