"""Spools of the tests' own."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from spooled_store import ListSink

from kladml.spool.events import SpooledRun
from kladml.spool.folder import Position, SpoolFolder
from kladml.spool.reader import SpoolReader
from kladml.spool.segments import SegmentPool
from kladml.spool.writer import SpoolWriter

RUN = SpooledRun("0" * 31 + "1", "digits", "first", "me", "train.py", 1_000, "store")


@pytest.fixture
def run():
    return RUN


@pytest.fixture
def folder(tmp_path):
    """The folder of a run that is about to be recorded."""
    folder = SpoolFolder(tmp_path / "spool" / RUN.run_id)
    folder.write_run(RUN)
    return folder


@pytest.fixture
def make_writer(folder):
    """Make a writer to the run's folder, with small segments."""
    writers = []

    def make(size=4096, **options):
        writer = SpoolWriter(SegmentPool(folder.path, size), **options)
        writers.append(writer)
        return writer

    yield make
    for writer in writers:
        writer.close()


@pytest.fixture
def writer(make_writer):
    return make_writer()


@pytest.fixture
def sink():
    return ListSink()


@pytest.fixture
def read_all(folder):
    """Read a folder to its end, as a process does that did not write it."""

    def read(start=None, writer=None, most=1000):
        reader = SpoolReader(folder, start or Position(), writer)
        points, events = [], []
        while len(batch := reader.read(most)):
            points += batch.points
            events += batch.events
        reader.close()
        return points, events

    return read


@pytest.fixture
def said(caplog):
    """Return the warnings so far, or what was said on another level and above."""
    caplog.set_level(logging.DEBUG)

    def said(level="WARNING"):
        return [entry.getMessage() for entry in caplog.records if entry.levelno >= getattr(logging, level)]

    return said


@pytest.fixture
def wait_until():
    """Wait for something that is bound to happen."""

    def wait(happens):
        deadline = time.monotonic() + 60
        while not happens():
            assert time.monotonic() < deadline
            time.sleep(0.005)

    return wait


@pytest.fixture
def start_program(tmp_path):
    """Start Python with a program in a process of its own, which knows `spooled_store`."""
    started = []

    def start(source, *arguments):
        path = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        process = subprocess.Popen(
            [sys.executable, "-c", path + source, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run_program(start_program):
    """Run a program to its end, and return what it printed."""

    def run(source, *arguments, code=0):
        process = start_program(source, *arguments)
        out, err = process.communicate(timeout=300)
        assert process.returncode == code, err
        return out

    return run
