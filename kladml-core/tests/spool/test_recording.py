"""One run while it is recorded."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

import kladml.spool.recording as recording_module
from kladml.errors import RefusedRunError, TrackerError
from kladml.files.lock import FolderLock, HeldError
from kladml.spool.events import Status
from kladml.spool.folder import SpoolFolder
from kladml.spool.recording import MOST_WAITING, Recording

LONG = 60.0


@pytest.fixture
def begin(tmp_path, run, sink):
    """Begin to record the run; it ends with the test."""
    begun = []

    def begin(run=run, sink=sink, *, is_started=True, backpressure=False, segment_bytes=2048):
        recording = Recording(
            tmp_path / "spool",
            run,
            sink,
            owner="acme",
            check_key=lambda _: None,
            backpressure=backpressure,
            segment_bytes=segment_bytes,
        )
        begun.append((recording, is_started))
        if is_started:
            recording.start()
        return recording

    yield begin
    sink.trouble = lambda: None
    for recording, is_started in begun:
        if is_started:
            recording.let_go(LONG)


def steps(points):
    return [step for _, _, _, step in points]


def test_ended_run_leaves_nothing_behind(begin, sink):
    recording = begin()
    for step in range(500):
        recording.writer.record("loss", 0.5, step)
    assert recording.finish("FINISHED", LONG) == 0
    assert steps(sink.points) == list(range(500))
    assert isinstance(sink.events[-1], Status)
    assert sink.events[-1].status == "FINISHED"
    assert list(recording.folder.path.parent.iterdir()) == []


def test_run_is_recorded_by_one_at_a_time(begin):
    begin()
    with pytest.raises(
        TrackerError, match=r"is being recorded by process \d+ on .*wait until it ends, or end it first"
    ):
        begin()


def test_folder_is_free_after_the_end_and_after_letting_go(begin):
    for _ in range(3):
        begin().let_go(LONG)
    begin().finish("FINISHED", LONG)
    begin()


def test_run_that_was_let_go_goes_on_in_its_folder(begin, sink):
    first = begin()
    first.writer.record("loss", 0.5, 1)
    first.let_go(LONG)
    assert first.folder.path.exists()
    second = begin()
    second.writer.record("loss", 0.5, 2)
    assert second.finish("FINISHED", LONG) == 0
    assert steps(sink.points) == [1, 2]


def test_what_is_left_is_counted_and_stays(begin, sink, run):
    def fail():
        raise TrackerError("no server")

    sink.trouble = fail
    recording = begin()
    for step in range(300):
        recording.writer.record("loss", 0.5, step)
    assert recording.finish("FINISHED", 0.1) == 301
    assert recording.failure.problem == "no server"
    recording._thread._thread.join(LONG)
    sink.trouble = lambda: None
    again = begin(replace(run, goes_on=True))
    assert again.run == run  # as it was begun, since its sink does not know it yet
    assert again.finish("FINISHED", LONG) == 0
    assert steps(sink.points) == list(range(300))


def test_what_was_recorded_for_another_destination_is_not_mixed_with_it(begin, run):
    begin(is_started=False)._lock.let_go()
    with pytest.raises(TrackerError, match="was recorded for store, and this tracker is elsewhere"):
        begin(replace(run, destination="elsewhere"))
    begin()  # and it is not locked for good


def test_refused_run_leaves_no_folder(begin, sink, run):
    def refuse():
        raise RefusedRunError("there is no run")

    sink.trouble = refuse
    recording = begin(is_started=False)
    with pytest.raises(RefusedRunError):
        recording.deliver_first()
    assert not recording.folder.path.exists()
    sink.trouble = lambda: None
    begin()


def test_refused_run_keeps_what_was_recorded_before(begin, sink):
    first = begin()
    first.writer.record("loss", 0.5, 1)
    first.let_go(LONG)

    def refuse():
        raise RefusedRunError("the run was deleted")

    sink.trouble = refuse
    again = begin(is_started=False)
    with pytest.raises(RefusedRunError):
        again.deliver_first()
    assert SpoolFolder(again.folder.path).read_run() is not None
    FolderLock(again.folder.path).take()


@pytest.mark.parametrize("error", [TrackerError("no server"), ValueError("odd")])
def test_sink_that_fails_at_the_beginning_does_not_stop_the_run(begin, sink, error):
    def fail():
        raise error

    sink.trouble = fail
    recording = begin(is_started=False)
    recording.deliver_first()
    sink.trouble = lambda: None
    recording.start()
    recording.writer.record("loss", 0.5, 1)
    assert recording.finish("FINISHED", LONG) == 0
    assert steps(sink.points) == [1]


def test_files_are_copied(begin, tmp_path):
    recording = begin()
    (tmp_path / "model.bin").write_bytes(b"weights")
    names = [recording.keep_file(tmp_path / "model.bin") for _ in range(2)]
    assert len(set(names)) == 2
    assert [(recording.folder.files / name).read_bytes() for name in names] == [b"weights"] * 2
    with pytest.raises(OSError, match="absent"):
        recording.keep_file(tmp_path / "absent")
    assert len(list(recording.folder.files.iterdir())) == 2


def test_folder_that_cannot_be_made_costs_a_warning(tmp_path, run, sink, said):
    (tmp_path / "file").touch()
    recording = Recording(
        tmp_path / "file" / "spool", run, sink, owner="acme", check_key=lambda _: None, backpressure=True
    )
    recording.start()
    for step in range(100):
        recording.writer.record("loss", 0.5, step)
    assert recording.finish("FINISHED", LONG) == 0
    assert steps(sink.points) == list(range(100))
    assert len(said()) == 1


def test_recording_waits_for_a_sink_that_works_and_does_not_keep_up(begin, sink):
    """What waits is bounded, and nothing is lost by that."""
    gate, most = threading.Semaphore(0), []
    sink.trouble = lambda: gate.acquire(timeout=LONG)
    recording = begin(backpressure=True)
    is_over = threading.Event()

    def work():
        for step in range(3000):
            recording.writer.record("loss", 0.5, step)
        is_over.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not is_over.is_set():
        gate.release()
        most.append(len(recording.folder.numbers()))
        is_over.wait(0.001)
    thread.join()
    sink.trouble = lambda: None
    gate.release(1000)
    assert recording.finish("FINISHED", LONG) == 0
    assert steps(sink.points) == list(range(3000))
    assert max(most) <= MOST_WAITING + 1


def test_recording_does_not_wait_for_a_sink_that_fails(begin, sink, wait_until):
    def fail():
        raise TrackerError("no server")

    sink.trouble = fail
    recording = begin(backpressure=True)
    recording.writer.record("loss", 0.5, 0)
    wait_until(lambda: recording.failure is not None)
    for step in range(1, 3000):
        recording.writer.record("loss", 0.5, step)
    assert len(recording.folder.numbers()) > 2 * MOST_WAITING
    sink.trouble = lambda: None
    recording._thread._pause = 0.0
    assert recording.finish("FINISHED", LONG) == 0
    assert steps(sink.points) == list(range(3000))


def test_recording_does_not_wait_for_ever_for_a_sink_that_hangs(begin, sink, monkeypatch):
    monkeypatch.setattr(recording_module, "_LONGEST_WAIT", 0.01)
    is_over = threading.Event()
    sink.trouble = lambda: is_over.wait(LONG)
    recording = begin(backpressure=True)
    for step in range(1500):
        recording.writer.record("loss", 0.5, step)
    assert len(recording.folder.numbers()) > MOST_WAITING
    is_over.set()
    assert recording.finish("FINISHED", LONG) == 0
    assert steps(sink.points) == list(range(1500))


def test_lock_is_held_until_everything_is_delivered(begin, sink):
    is_over = threading.Event()
    sink.trouble = lambda: is_over.wait(LONG)
    recording = begin()
    recording.writer.record("loss", 0.5, 0)
    assert recording.finish("FINISHED", 0.05) == 2
    with pytest.raises(HeldError):
        FolderLock(recording.folder.path).take()
    is_over.set()
    recording._thread._thread.join(LONG)
    FolderLock(recording.folder.path).take()
