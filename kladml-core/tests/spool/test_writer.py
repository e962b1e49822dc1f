"""Recording: nothing that was acknowledged is lost, whoever else is at it."""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import signal
import struct
import sys
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kladml.errors import TrackerError
from kladml.spool.events import Status, Tags
from kladml.spool.folder import Position, SpoolFolder
from kladml.spool.reader import SpoolReader
from kladml.spool.segments import SegmentPool
from kladml.spool.writer import SpoolWriter

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def bits(value):
    return struct.pack("<d", value)


KEYS = st.text(min_size=1, max_size=8)
VALUES = st.one_of(st.floats(), st.integers(-(2**63), 2**63), st.binary(min_size=8, max_size=8).map(
    lambda content: struct.unpack("<d", content)[0]
))  # fmt: skip
STEPS = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(-1000, 1000).map(float))
CALLS = st.lists(st.tuples(st.dictionaries(KEYS, VALUES, min_size=1, max_size=5), STEPS), max_size=60)


@given(calls=CALLS, size=st.integers(400, 4096))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
def test_everything_comes_back_in_order_over_segments(tmp_path_factory, calls, size):
    folder = SpoolFolder(tmp_path_factory.mktemp("run"))
    writer = SpoolWriter(SegmentPool(folder.path, size))
    expected = []
    for metrics, step in calls:
        if len(metrics) == 1:
            ((key, value),) = metrics.items()
            writer.record(key, value, step, 7_000_000)
        else:
            writer.record_all(metrics, step, 7_000_000)
        expected += [(key, bits(value), 7, int(step or 0)) for key, value in metrics.items()]
    writer.close()
    reader, found = SpoolReader(folder, Position()), []
    while len(batch := reader.read(7)):
        found += [(key, bits(value), at, step) for key, value, at, step in batch.points]
    reader.close()
    assert found == expected


def test_points_and_events_keep_their_times(writer, read_all):
    points = [("loss", 0.5, 0, 1), ("loss", 0.25, 1_700_000_000_123, 2)]
    writer.record_points(points)
    writer.record_event(Tags({"a": "b"}))
    assert read_all() == (points, [Tags({"a": "b"})])


def test_time_is_that_of_the_call(writer, read_all):
    writer.record("loss", 0.5)
    writer.record_all({"loss": 0.5, "accuracy": 1.0})
    (first, second, third), _ = read_all()
    assert 1_700_000_000_000 < first[2] <= second[2] == third[2]


def test_thousands_of_keys_in_calls_of_every_size(make_writer, read_all):
    writer = make_writer(1 << 20)
    expected = []
    for count in (1, 2, 1000, 3, 5000, 1):
        metrics = {f"class_{number}/recall": number / 8 for number in range(count)}
        writer.record_all(metrics, count, 0)
        expected += [(key, value, 0, count) for key, value in metrics.items()]
    assert read_all()[0] == expected


def test_more_at_once_than_a_segment_holds_is_an_error_and_takes_no_segment(make_writer, folder, read_all):
    writer = make_writer(4096)
    for count in (180, 250, 10_000):  # names and values fit by themselves, or not even that
        with pytest.raises(TrackerError, match="in several calls"):
            writer.record_all({f"{number:012}": 0.0 for number in range(count)})
    with pytest.raises(TrackerError, match="larger than a segment"):
        writer.record_event(Tags({"a": "x" * 5000}))
    writer.record("loss", 1.0, 1, 0)
    assert folder.numbers() == [1]
    assert read_all()[0] == [("loss", 1.0, 0, 1)]


@pytest.mark.parametrize("value", ["low", None, [1.0], 1j, 10**400, {}])
def test_value_that_is_no_number_is_named(writer, value):
    for record in (
        lambda: writer.record("loss", value),
        lambda: writer.record_all({"accuracy": 1.0, "loss": value}),
    ):
        for _ in range(2):  # the key is new, and then known
            with pytest.raises(TrackerError, match="the metric 'loss' is no number but a"):
                record()
        writer.record("loss", 1.0)


@pytest.mark.parametrize("step", [0.5, math.nan, math.inf, 2**63, "1", [1], 1e300])
def test_step_that_is_no_whole_number_is_named(writer, step):
    with pytest.raises(TrackerError, match=r"the step .* of loss is no whole number of 64 bits"):
        writer.record("loss", 1.0, step)
    with pytest.raises(TrackerError, match=r"the step .* of loss, accuracy is no whole number"):
        writer.record_all({"loss": 1.0, "accuracy": 1.0}, step)


def test_time_that_does_not_fit_is_named(writer):
    with pytest.raises(TrackerError, match="the time"):
        writer.record_points([("loss", 1.0, 2**63, 1)])


def test_refused_records_leave_nothing_behind(writer, read_all):
    writer.record("loss", 1.0, 1, 0)
    for value, step in (("low", 1), (1.0, 0.5)):
        with pytest.raises(TrackerError):
            writer.record("loss", value, step)
        with pytest.raises(TrackerError):
            writer.record_all({"loss": value, "b": 1.0}, step)
    writer.record("loss", 2.0, 2, 0)
    assert read_all()[0] == [("loss", 1.0, 0, 1), ("loss", 2.0, 0, 2)]


def test_numbers_of_other_types_are_numbers(writer, read_all):
    class Scalar:
        def __float__(self):
            return 0.5

    class Index:
        def __index__(self):
            return 3

    writer.record("a", Scalar(), Index(), 0)
    writer.record("a", True, True, 0)
    writer.record_all({"a": Scalar(), "b": 2**62}, 3.0, 0)
    points = [("a", 0.5, 0, 3), ("a", 1.0, 0, 1), ("a", 0.5, 0, 3), ("b", float(2**62), 0, 3)]
    assert read_all()[0] == points


def test_malformed_keys_are_refused_at_the_call(make_writer, read_all):
    def check(key):
        if "*" in key:
            raise TrackerError(f"no {key}")

    writer = make_writer(check_key=check)
    for metrics in ({"a*": 1.0}, {"a": 1.0, "b*": 1.0}):
        for _ in range(2):
            with pytest.raises(TrackerError, match="no "):
                writer.record_all(metrics)
    with pytest.raises(TrackerError, match="no "):
        writer.record("a*", 1.0)
    assert read_all() == ([], [])


@pytest.mark.parametrize("key", [1, None, ("a", "b"), b"a"])
def test_keys_that_are_no_text_are_refused(writer, read_all, key):
    writer.record_all({"a": 1.0, "b": 2.0}, 1, 0)
    for metrics in ({key: 1.0}, {"a": 1.0, key: 2.0}):
        with pytest.raises(TrackerError, match="is no text but a"):
            writer.record_all(metrics)
    with pytest.raises(TrackerError, match="is no text but a"):
        writer.record(key, 1.0)
    assert read_all()[0] == [("a", 1.0, 0, 1), ("b", 2.0, 0, 1)]


def test_closed_writer_says_so(writer):
    writer.record("loss", 1.0)
    writer.close()
    writer.close()
    for record in (
        lambda: writer.record("loss", 1.0),
        lambda: writer.record_all({"loss": 1.0, "b": 1.0}),
        lambda: writer.record_event(Status("FINISHED", 0)),
    ):
        with pytest.raises(TrackerError, match="records are closed; start or resume a run first"):
            record()


def test_each_thread_keeps_its_order_and_nothing_is_lost(make_writer, read_all):
    writer = make_writer(4096)
    each, threads = 1500, 6
    ready = threading.Barrier(threads)

    def work(name):
        ready.wait()
        for step in range(each):
            if step % 3:
                writer.record(name, float(step), step)
            elif step % 2:
                writer.record_all({name: float(step), f"{name}/{step % 7}": 0.0}, step)
            else:
                writer.record_event(Tags({name: str(step)}))

    workers = [threading.Thread(target=work, args=(f"thread{number}",)) for number in range(threads)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(interval)
    points, events = read_all()
    for number in range(threads):
        name = f"thread{number}"
        steps = [step for key, _, _, step in points if key == name]
        assert steps == [step for step in range(each) if step % 3 or step % 2]
        said = [int(event.values[name]) for event in events if name in event.values]
        assert said == list(range(0, each, 6))


def test_reading_keeps_up_while_threads_record_over_segments(make_writer, folder, said):
    """What is read while it is recorded: each segment appears whole, with its header."""
    writer = make_writer(4096)
    reader = SpoolReader(folder, Position(), writer)
    count, is_over = 30_000, threading.Event()

    def work():
        for step in range(count):
            writer.record("loss", 0.5, step)
        is_over.set()

    thread = threading.Thread(target=work)
    thread.start()
    steps = []
    while not is_over.is_set() or len(steps) < count:
        batch = reader.read(50)
        steps += [step for _, _, _, step in batch.points]
        if is_over.is_set() and not len(batch):
            break
    thread.join()
    assert steps == list(range(count))
    assert said() == []
    reader.close()


_INTERRUPTED = """
import random, signal, sys, threading, time
from pathlib import Path
from kladml.errors import TrackerError
from kladml.spool.events import Tags
from kladml.spool.segments import SegmentPool
from kladml.spool.writer import SpoolWriter

class Interrupt(BaseException): pass

writer = SpoolWriter(SegmentPool(Path(sys.argv[1]), 4096), made_room=lambda: time.sleep(0))
rng = random.Random(int(sys.argv[2]))
acknowledged, nested, interrupts, step, is_inside = [], [], 0, 0, False
most = int(sys.argv[3])

def handler(*_):
    global interrupts, is_inside
    interrupts += 1
    if interrupts < most:
        signal.setitimer(signal.ITIMER_REAL, rng.uniform(5e-6, 8e-5))
    if interrupts % 2:
        if is_inside:
            is_inside = False  # the next one may come while this one is caught
            raise Interrupt
        return
    if not nested_now:
        nested_now.append(1)
        try:
            record_nested(1_000_000 + interrupts)
        finally:
            nested_now.clear()

nested_now = []

def record_nested(name):
    writer.record_all({"nested": 0.0, f"n{interrupts % 5}": 1.0}, name)
    nested.append(name)
    if interrupts % 4:
        writer.record("nested", 0.0, name)
    if interrupts % 6 == 0:
        writer.record_event(Tags({"big": "x" * rng.randrange(3000)}))

def attempt():
    global step
    step += 1
    if step % 11 == 0:
        writer.record_event(Tags({"step": str(step), "long": "y" * (step % 700)}))
    elif step % 3 == 0:
        writer.record_all({f"many{step % 4}": 0.0, "loss": 1.0}, step)
    else:
        writer.record(f"loss{step % 2}", 1.0, step)
    return step

signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 1e-5)
while interrupts < most:
    try:
        is_inside = True
        done = attempt()
        is_inside = False
        acknowledged.append(done)
    except Interrupt:
        is_inside = False
writer.record("end", 0.0, step + 1)
print(acknowledged)
print(nested)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers")
@pytest.mark.parametrize("seed", range(3))
def test_handlers_of_signals_raise_and_record_at_any_moment(run_program, folder, read_all, said, seed):
    out = run_program(_INTERRUPTED, folder.path, seed, 6000)
    acknowledged, nested = (eval(line) for line in out.splitlines())  # noqa: S307 - lists of numbers
    points, events = read_all()
    found = [step for _, _, _, step in points] + [
        int(event.values["step"]) for event in events if "step" in event.values
    ]
    assert len(acknowledged) > 100
    assert [step for step in acknowledged + nested if step not in set(found)] == []
    for key in ("loss0", "loss1"):
        steps = [step for name, _, _, step in points if name == key]
        assert steps == sorted(set(steps))
    assert points[-1][0] == "end"
    assert said() == []


def test_an_exception_between_two_segments_loses_nothing_that_follows(make_writer, read_all):
    """The segment has ended and the next one has not begun; small records would still fit into the first."""
    trouble = []

    def wait():
        if trouble:
            raise trouble.pop()

    writer = make_writer(1024, made_room=wait)
    writer.record("loss", 1.0, 1, 0)
    pool, make = writer._pool, writer._pool.make
    for error, place in ((KeyboardInterrupt(), "room"), (KeyboardInterrupt(), "make")):
        if place == "room":
            trouble.append(error)
        else:

            def failing(number, error=error):
                make(number)
                raise error

            pool.make = failing
        with pytest.raises(KeyboardInterrupt):
            writer.record_event(Tags({"a": "x" * 900}))
        pool.make = make
        writer.record("loss", 2.0, 2, 0)
        writer.record_event(Tags({"a": place}))
    points, events = read_all()
    assert [step for _, _, _, step in points] == [1, 2, 2]
    assert events == [Tags({"a": "room"}), Tags({"a": "make"})]


@needs_fork
def test_forked_child_cannot_record_and_does_not_disturb(writer, read_all):
    writer.record("loss", 1.0, 1, 0)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        said = []
        for record in (
            lambda: writer.record("loss", 9.0),
            lambda: writer.record_all({"loss": 9.0, "b": 9.0}),
            lambda: writer.record_event(Tags({"a": "b"})),
        ):
            try:
                record()
            except TrackerError as error:
                said.append(str(error))
        writer.close()
        os.write(write_end, "\n".join(said).encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as answer:
        said = answer.read().splitlines()
    os.waitpid(child, 0)
    expected = (
        f"this process was forked from process {os.getpid()}, to which the run belongs; record metrics in the main"
    )
    assert len(said) == 3
    assert all(line.startswith(expected) for line in said)
    writer.record("loss", 2.0, 2, 0)
    assert read_all()[0] == [("loss", 1.0, 0, 1), ("loss", 2.0, 0, 2)]


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_forks_while_threads_record_neither_hang_nor_lose(make_writer, read_all):
    writer = make_writer(4096)
    is_over, counts = threading.Event(), [0, 0]

    def work(index):
        while not is_over.is_set():
            writer.record(f"thread{index}", 1.0, counts[index])
            counts[index] += 1

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    codes = []
    for _ in range(20):
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # it would hang on a lock that a thread had
            try:
                writer.record("loss", 9.0)
            except TrackerError:
                os._exit(0)
            os._exit(1)
        codes.append(os.waitpid(child, 0)[1])
    is_over.set()
    for thread in threads:
        thread.join()
    assert codes == [0] * 20
    points, _ = read_all()
    for index in range(2):
        assert [step for key, _, _, step in points if key == f"thread{index}"] == list(range(counts[index]))
    assert {key for key, *_ in points} <= {"thread0", "thread1"}


def _work(pipe, writer):
    try:
        writer.record("loss", 9.0)
    except TrackerError as error:
        pipe.send(str(error))
    pipe.close()


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_worker_of_a_data_loader_is_told_where_to_record(writer, read_all):
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    worker = context.Process(target=_work, args=(there, writer))
    worker.start()
    assert "not in workers of a data loader" in here.recv()
    worker.join()
    here.close()
    there.close()
    assert worker.exitcode == 0
    writer.record("loss", 1.0, 1, 0)
    assert read_all()[0] == [("loss", 1.0, 0, 1)]


def test_random_sizes_fill_segments_to_their_last_byte(make_writer, folder, read_all):
    rng = random.Random(0)  # noqa: S311 - a test's choice
    expected = []
    for size in range(300, 420):
        writer = make_writer(size, first=max(folder.numbers(), default=0) + 1)
        for step in range(12):
            keys = rng.sample("abcdef", rng.randint(1, 3))
            writer.record_all(dict.fromkeys(keys, float(step)), step, 0)
            expected += [(key, float(step), 0, step) for key in keys]
        writer.close()
    assert read_all()[0] == expected
