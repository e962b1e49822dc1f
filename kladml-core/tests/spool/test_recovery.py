"""What processes leave behind that are no more."""

from __future__ import annotations

import os
import random
import signal
from dataclasses import replace

import pytest
from spooled_store import ListSink, StoreSink, StoreTracker

from kladml.errors import TrackerError
from kladml.files.lock import FolderLock
from kladml.spool.events import Status
from kladml.spool.folder import Position, SpoolFolder
from kladml.spool.recovery import deliver, left_behind
from kladml.spool.segments import SegmentPool
from kladml.spool.writer import SpoolWriter

_TRAINS = """
import os, signal, sys
from spooled_store import StoreTracker
tracker = StoreTracker(sys.argv[1])
run_id = tracker.start_run("digits")
print(run_id, flush=True)
tracker.log_params({"a": 1})
step = 0
while True:
    tracker.log_metric("loss", 0.5, step)
    tracker.log_metrics({"loss": 0.5, "accuracy": 1.0}, step + 1)
    step += 2
    os.write(1, b"%d\\n" % step)
"""


@pytest.fixture
def left(folder):
    """Leave a run as a process does that was killed: with these last statuses."""

    def leave(*statuses):
        writer = SpoolWriter(SegmentPool(folder.path, 4096))
        writer.record("loss", 0.5, 1, 7_000 * 1_000_000)
        for at, status in enumerate(statuses):
            writer.record_event(Status(status, 8_000 + at))
        return folder

    return leave


def test_run_that_did_not_end_is_killed_when_it_last_recorded(left, sink):
    assert deliver(left(), sink) == 1
    assert (len(sink.points), sink.events) == (1, [Status("KILLED", 7_000)])


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_run_that_ended_stays_as_it_ended(left, sink, status):
    folder = left(status)
    assert deliver(folder, sink) == 2
    assert sink.events == [Status(status, 8_000)]
    assert not folder.path.exists()


def test_run_that_went_on_after_its_end_is_killed(left, sink):
    assert deliver(left("FINISHED", "RUNNING"), sink) == 3
    assert sink.events[-1] == Status("KILLED", 8_001)


def test_run_that_was_killed_before_its_first_record_is_known_and_killed(folder, run, sink):
    assert deliver(folder, sink) == 0
    assert (sink.begun, sink.events) == ([run], [Status("KILLED", run.started_ms)])


def test_end_that_was_delivered_before_the_folder_was_removed_stays(left, sink):
    """The process was killed between the two."""
    folder = left("FINISHED")
    folder.save_delivered(Position(2), "FINISHED")
    assert deliver(folder, sink) == 0
    assert sink.events == []


def test_progress_is_told(left):
    folder, sink, told = left("FINISHED"), ListSink(batch_size=1), []
    assert deliver(folder, sink, progress=told.append) == 2
    assert told == [1, 1]


def test_failing_sink_leaves_everything_and_the_lock_free(left, sink):
    def fail():
        raise TrackerError("no server")

    folder = left("FINISHED")
    sink.trouble = fail
    for _ in range(2):
        with pytest.raises(TrackerError, match="no server"):
            deliver(folder, sink)
    sink.trouble = lambda: None
    assert deliver(folder, sink) == 2
    assert sink.closed == 3


def test_run_that_another_has_is_left_alone(left, sink):
    folder = left()
    lock = FolderLock(folder.path)
    lock.take()
    assert left_behind(folder.path.parent, "store") == []
    assert deliver(folder, sink) is None
    lock.let_go()
    assert [found.path for found in left_behind(folder.path.parent, "store")] == [folder.path]


def test_run_of_another_destination_is_left_alone(left):
    spool = left().path.parent
    assert left_behind(spool, "elsewhere") == []
    assert len(left_behind(spool)) == 1


def test_folder_that_was_removed_meanwhile_is_not_made_again(left, sink):
    folder = left()
    folder.remove()
    assert deliver(folder, sink) is None
    assert list(folder.path.parent.iterdir()) == []


def test_records_of_a_resumed_run_are_not_behind_a_place_of_before(folder, run, sink, tmp_path):
    """All segments are gone, and the place is in one of them: the next one has another number."""
    folder.save_delivered(Position(3, 2_000_000), "")
    with StoreTracker(tmp_path, sink=sink) as tracker:
        tracker.resume_run(run.run_id)
        tracker.log_metric("loss", 0.5, 7)
        tracker.end_run()
    assert [point[3] for point in sink.points] == [7]


@pytest.mark.parametrize("seed", range(6))
def test_killed_process_leaves_every_acknowledged_record(start_program, tmp_path, seed, said):
    program = start_program(_TRAINS, tmp_path)
    run_id = program.stdout.readline().strip()
    for _ in range(random.Random(seed).randrange(1, 5000)):  # noqa: S311 - a test's choice
        last = program.stdout.readline()
    program.send_signal(signal.SIGKILL)
    acknowledged = int(([last] + [line for line in program.stdout.read().splitlines(True) if line.endswith("\n")])[-1])
    program.wait()
    tracker = StoreTracker(tmp_path)
    run = tracker.get_run(run_id)
    history = [step for step, _ in tracker.metric_history(run_id, "loss")]
    assert (run.status, run.params) == ("KILLED", {"a": "1"})
    assert history[:acknowledged] == list(range(acknowledged))
    assert history == list(range(len(history)))
    assert len(history) <= acknowledged + 2
    assert said() == []
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_that_recover_at_once_deliver_it_once(run_program, start_program, folder, tmp_path, run):
    """Several trackers may open after a kill; each record arrives, and the status is that of the end."""
    spool = tmp_path / "spool"
    for number in range(8):
        other = SpoolFolder(spool / f"{number:032x}")
        other.write_run(replace(run, run_id=f"{number:032x}"))
        writer = SpoolWriter(SegmentPool(other.path, 4096))
        for step in range(300):
            writer.record("loss", 0.5, step)
        writer.record_event(Status("FINISHED", 1))
    program = """
import sys
from spooled_store import StoreTracker
print("ready", flush=True)
sys.stdin.readline()
StoreTracker(sys.argv[1]).recover()
"""
    programs = [start_program(program, tmp_path) for _ in range(4)]
    for each in programs:
        each.stdout.readline()
    for each in programs:
        each.stdin.write("go\n")
        each.stdin.flush()
    assert [(each.communicate(timeout=120)[1], each.returncode) for each in programs] == [("", 0)] * 4
    with StoreSink(tmp_path / "store").connect() as store:
        assert store.execute("SELECT DISTINCT status FROM runs").fetchall() == [("FINISHED",)]
        assert store.execute("SELECT count(*) FROM points").fetchall() == [(2400,)]
    assert list(spool.iterdir()) == []
