"""The thread that delivers: patient with a sink that fails, and never in the way."""

from __future__ import annotations

import threading
import time

import pytest

from kladml.errors import TrackerError
from kladml.spool import background
from kladml.spool.background import DrainThread
from kladml.spool.drain import Drain

LONG = 60.0


def steps(points):
    return [step for _, _, _, step in points]


@pytest.fixture
def pauses(monkeypatch):
    """The pauses after failures; they are as short as can be."""
    made, rest = [], DrainThread._rest

    def note(self, seconds, *, until_asked=True):
        if not until_asked:
            made.append(seconds)
            seconds /= 1000
        rest(self, seconds, until_asked=until_asked)

    monkeypatch.setattr(DrainThread, "_rest", note)
    return made


@pytest.fixture
def ended():
    return []


@pytest.fixture
def thread(writer, folder, run, sink, ended):
    """A thread that drains the writer's folder; whoever makes the sink hang lets it go on."""
    thread = DrainThread(Drain(folder, run, sink, writer=writer), folder, ended.append)
    thread.start()
    yield thread
    sink.trouble = lambda: None
    writer.close()
    thread.finish(LONG)


class Hang:
    """A server that accepts and never answers, until it is let go."""

    def __init__(self):
        self.is_reached = threading.Event()
        self.is_over = threading.Event()

    def __call__(self):
        self.is_reached.set()
        self.is_over.wait(LONG)


@pytest.fixture
def hang():
    hang = Hang()
    yield hang
    hang.is_over.set()


class Fail:
    def __init__(self, error=None):
        self.count = 0
        self.error = error or TrackerError("no server", owner="acme", next_step="start it")

    def __call__(self):
        self.count += 1
        raise self.error


def test_everything_is_delivered_and_the_thread_ends(thread, writer, sink, ended):
    for step in range(2500):
        writer.record("loss", 0.5, step)
    assert thread.settle(LONG)
    assert steps(sink.points) == list(range(2500))
    writer.record("loss", 0.5, 2500)
    writer.close()
    assert thread.finish(LONG)
    assert (len(sink.points), ended, sink.closed) == (2501, [True], 1)


def test_records_are_delivered_without_anybody_asking(thread, writer, sink, wait_until):
    writer.record("loss", 0.5, 1)
    wait_until(lambda: len(sink.points) == 1)


def test_settle_means_everything_recorded_before(thread, writer, sink):
    for step in range(200):
        writer.record("loss", 0.5, step)
        assert thread.settle(LONG)
        assert len(sink.points) == step + 1


def test_many_threads_may_settle(thread, writer, sink):
    answers = []

    def work(index):
        for step in range(20):
            writer.record(f"loss{index}", 0.5, step)
            answers.append(thread.settle(LONG))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (answers, len(sink.points)) == ([True] * 80, 80)


def test_failing_sink_is_tried_less_and_less_often(pauses, thread, writer, sink, wait_until):
    sink.trouble = Fail()
    writer.record("loss", 0.5, 1)
    wait_until(lambda: len(pauses) >= 8)
    assert pauses[:8] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_failure_is_told_once_and_the_recovery_as_well(pauses, thread, writer, folder, sink, wait_until, said, run):
    before = time.time()
    sink.trouble = Fail()
    writer.record("loss", 0.5, 1)
    wait_until(lambda: len(pauses) >= 5)
    assert said() == [f"no server (acme); start it (the run goes on, and what it records is kept in {folder.path})"]
    assert (thread.failure.problem, before <= thread.failure.since <= time.time()) == ("no server", True)
    sink.trouble = lambda: None
    wait_until(lambda: thread.failure is None)
    assert said("INFO")[1:] == [f"what run '{run.run_id}' records is delivered again"]
    assert thread.settle(LONG)
    assert steps(sink.points) == [1]
    tried = len(pauses)
    sink.trouble = Fail()
    writer.record("loss", 0.5, 2)
    wait_until(lambda: len(pauses) >= tried + 2)
    assert pauses[tried : tried + 2] == [1, 2]  # from the beginning again
    assert len(said()) == 1


@pytest.mark.parametrize(
    "error", [ValueError("odd"), OSError(5, "Input/output error"), RecursionError(), MemoryError()]
)
def test_no_exception_of_a_sink_ends_the_thread(pauses, thread, writer, sink, wait_until, error, said):
    sink.trouble = Fail(error)
    writer.record("loss", 0.5, 1)
    wait_until(lambda: sink.trouble.count >= 3)
    assert thread.failure.problem.startswith(type(error).__name__)
    sink.trouble = lambda: None
    wait_until(lambda: thread.failure is None)
    assert thread.settle(LONG)
    assert steps(sink.points) == [1]
    assert len(said()) == 1


def test_sink_that_cannot_be_closed_does_not_keep_the_folder(thread, writer, sink, ended):
    def fail():
        raise ValueError("odd")

    sink.close = fail
    writer.close()
    assert thread.finish(LONG)
    assert ended == [True]


def test_settling_does_not_wait_for_a_failing_sink_nor_try_it_before_its_pause(thread, writer, sink):
    sink.trouble = Fail()
    thread._pause = LONG
    writer.record("loss", 0.5, 1)
    for _ in range(50):
        assert not thread.settle(LONG)
        thread.sync()
    assert sink.trouble.count == 1


def test_settling_does_not_wait_for_a_hanging_sink_for_long(thread, writer, sink, hang):
    sink.trouble = hang
    writer.record("loss", 0.5, 1)
    assert hang.is_reached.wait(LONG)
    assert not thread.settle(0.01)
    hang.is_over.set()
    assert thread.settle(LONG)


def test_end_does_not_wait_for_a_hanging_sink_for_long(thread, writer, sink, hang, ended):
    sink.trouble = hang
    writer.record("loss", 0.5, 1)
    assert hang.is_reached.wait(LONG)
    writer.close()
    assert not thread.finish(0.01)
    assert ended == []  # its thread may go on while the process does
    hang.is_over.set()
    thread._thread.join(LONG)
    assert (ended, steps(sink.points)) == ([False], [1])


def test_end_gives_up_on_a_sink_that_has_failed_for_long(monkeypatch, thread, writer, sink, ended, wait_until):
    sink.trouble = Fail()
    writer.record("loss", 0.5, 1)
    wait_until(lambda: thread.failure is not None)
    thread.failure = background.Failure("no server", time.time() - 1000)
    tried = sink.trouble.count
    writer.close()
    assert not thread.finish(LONG)
    assert ended == [False]
    assert sink.trouble.count <= tried + 2


def test_sink_that_begins_to_fail_at_the_end_is_tried_again(thread, writer, sink, ended):
    fail = Fail()

    def trouble():
        if fail.count < 3:
            fail()

    sink.trouble = trouble
    writer.record("loss", 0.5, 1)
    writer.close()
    assert thread.finish(LONG)
    assert (fail.count, steps(sink.points), ended) == (3, [1], [True])


def test_end_with_a_sink_that_fails_for_good_is_over_when_patience_is(thread, writer, sink, ended):
    sink.trouble = Fail()
    writer.record("loss", 0.5, 1)
    writer.close()
    assert not thread.finish(1.0)
    thread._thread.join(LONG)
    assert ended == [False]
    assert sink.trouble.count > 1


def test_slow_sink_that_is_not_done_in_time_is_not_taken_for_done(make_writer, folder, run, sink, ended):
    """The sink works all the time; there is more than it takes until the end of patience."""
    writer = make_writer(1 << 20)
    sink.batch_size = 1
    sink.trouble = lambda: time.sleep(0.005)
    for step in range(2000):
        writer.record("loss", 0.5, step)
    writer.close()
    thread = DrainThread(Drain(folder, run, sink), folder, ended.append)
    thread.start()
    answer = thread.finish(0.2)
    thread._thread.join(LONG)
    assert (answer, ended) == (False, [False])
    assert len(sink.points) < 2000


def test_records_are_brought_to_the_disk_when_that_is_asked_for(thread, folder, wait_until, monkeypatch):
    synced = []
    monkeypatch.setattr(folder, "sync", synced.append)
    thread.sync()
    wait_until(lambda: synced)


def test_disk_that_cannot_be_synchronized_ends_nothing(thread, folder, writer, sink, wait_until, monkeypatch):
    def fail(_):
        tried.append(True)
        raise OSError(5, "Input/output error")

    tried = []
    monkeypatch.setattr(folder, "sync", fail)
    thread.sync()
    wait_until(lambda: tried)
    writer.record("loss", 0.5, 1)
    assert thread.settle(LONG)
    assert len(sink.points) == 1
