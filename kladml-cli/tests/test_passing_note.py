"""What is said while a run is prepared: at once, on a terminal only, and gone before anything else is printed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from kladml_cli.passing_note import PREPARING, passing_note

GONE = f"\r{' ' * (len(PREPARING) + 2)}\r"
WAITING = """\
import time
from pathlib import Path

Path("there").touch()
while not Path("go").exists():
    time.sleep(0.01)
from model import MeanModel
"""
WITHOUT = ("--data", "model.py:data", "--tracker", "none", "--storage", "none")


class Terminal:
    """A program's terminal, as the person before it sees it."""

    def __init__(self, *arguments):
        pty = pytest.importorskip("pty", reason="needs a POSIX terminal")
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kladml_cli", *arguments],
            env={**os.environ, "TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.seen = ""

    def wait_for(self, text):
        while text not in self.seen and self._read():
            pass
        assert text in self.seen

    def finish(self):
        while self._read():
            pass
        os.close(self._ours)
        return self.process.wait(timeout=60)

    def _read(self):
        try:
            chunk = os.read(self._ours, 65_536)
        except OSError:  # how Linux says that the other side is closed
            return False
        self.seen += chunk.decode()
        return bool(chunk)


@pytest.fixture
def terminal(workspace):
    started = []

    def start(*arguments):
        started.append(Terminal(*arguments))
        return started[-1]

    (workspace / "waiting.py").write_text(WAITING)
    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


@pytest.mark.parametrize("publisher", ["console", "none"])
def test_it_is_there_while_the_model_is_imported_and_goes_when_the_run_begins(workspace, terminal, publisher):
    window = terminal("train", "--model", "waiting.py:MeanModel", *WITHOUT, "--publisher", publisher)
    window.wait_for(PREPARING)
    assert window.seen == PREPARING
    (workspace / "go").touch()
    assert window.finish() == 0
    assert window.seen.startswith(f"{PREPARING}{GONE}")
    assert window.seen.count(PREPARING) == 1
    assert re.search("training", window.seen)


def test_an_interrupt_is_answered_on_a_line_of_its_own(workspace, terminal):
    window = terminal("train", "--model", "waiting.py:MeanModel", *WITHOUT)
    window.wait_for(PREPARING)
    while not (workspace / "there").exists():
        assert window.process.poll() is None
    window.process.send_signal(signal.SIGINT)
    assert window.finish() == 130
    said = re.sub(r"\x1b\[[0-9;]*m", "", window.seen)
    assert said == f"{PREPARING}{GONE}Interrupted: the run had not begun\r\n"


def test_it_goes_before_an_error(terminal):
    window = terminal("train", "--model", "absent.py:Model", *WITHOUT)
    assert window.finish() != 0
    assert f"{PREPARING}{GONE}" in window.seen
    assert "absent.py" in window.seen.partition(GONE)[2]


def test_processes_that_train_together_get_an_empty_line(terminal, workspace):
    window = terminal("train", "--model", "waiting.py:MeanModel", *WITHOUT, "--distributed", "--num-processes", "2")
    (workspace / "go").touch()
    assert window.finish() != 0  # nothing but an nn.Module trains in several
    assert window.seen.startswith(f"{PREPARING}{GONE}")
    assert "trains in 2 processes" in window.seen
    assert window.seen.count(PREPARING) == window.seen.count(GONE)


def test_quiet_and_pipes_have_none(terminal, workspace, run_kladml):
    (workspace / "go").touch()
    window = terminal("train", "--quiet", "--model", "waiting.py:MeanModel", *WITHOUT)
    assert window.finish() == 0
    assert PREPARING not in window.seen
    piped = run_kladml("train", "--model", "waiting.py:MeanModel", *WITHOUT)
    assert piped.status == 0
    assert PREPARING not in piped.output + piped.errors


def test_a_reproduction_says_it_too(terminal, train):
    assert train("--storage", "none").status == 0
    window = terminal("reproduce", "@1", "--set", "publisher.use=none", "--set", "tracker.use=none")
    window.wait_for(PREPARING)
    window.finish()
    assert f"{PREPARING}{GONE}" in window.seen


# Streams


class Tty:
    def __init__(self):
        self.written = []

    def write(self, text):
        self.written.append(text)
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return True

    def writelines(self, lines):
        self.written.extend(lines)


@pytest.fixture
def streams(monkeypatch):
    """Give the program terminals, which a fixture alone cannot do while pytest captures."""

    def replace():
        out, err = Tty(), Tty()
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        return out, err

    return replace


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_any_output_takes_it_away_and_streams_come_back(streams, name):
    out, err = streams()
    with passing_note("wait"):
        stream = getattr(sys, name)
        stream.write("")  # as click tries whether it is a stream of text
        assert [text for text in err.written if text] == ["wait"]
        stream.writelines(["hello\n"])
        assert f"\r{' ' * 6}\r" in err.written
        assert stream.isatty()
    assert (sys.stdout, sys.stderr) == (out, err)
    stream.write("later\n")  # by who kept it
    assert (out.written + err.written).count("wait") == 1
    assert (out if name == "stdout" else err).written[-2:] == ["hello\n", "later\n"]
    assert err.written.count(f"\r{' ' * 6}\r") == 1


def test_who_took_the_place_of_a_stream_keeps_it(streams):
    out, _ = streams()
    other = Tty()
    with passing_note("wait"):
        sys.stderr = other
    assert sys.stderr is other
    assert sys.stdout is out


def test_output_that_goes_elsewhere_is_left_alone(streams, monkeypatch):
    out, err = streams()
    monkeypatch.setattr(Tty, "isatty", lambda self: self is err)
    with passing_note("wait"):
        assert sys.stdout is out
        sys.stdout.write("result\n")
        assert err.written == ["wait"]


def test_no_thread_draws_it(streams):
    streams()
    before = threading.active_count()
    with passing_note("wait"):
        assert threading.active_count() == before
