"""Delivery, a batch at a time: each record arrives, whatever fails in between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spooled_store import ListSink, StoreSink

from kladml.errors import TrackerError
from kladml.spool.drain import Drain, count_left
from kladml.spool.events import Artifact, Params, SpooledRun, Status, Tags
from kladml.spool.folder import Position, SpoolFolder
from kladml.spool.segments import SegmentPool
from kladml.spool.writer import SpoolWriter


class KilledError(BaseException):
    """The process dies here."""


def steps(points):
    return [step for _, _, _, step in points]


def record(writer, numbers):
    for step in numbers:
        writer.record("loss", 0.5, step, 0)


def drain_all(drain):
    while drain.step():
        pass


def test_everything_is_delivered_in_order(writer, folder, run, sink):
    record(writer, range(300))
    writer.record_event(Status("FINISHED", 5))
    drain = Drain(folder, run, sink, writer=writer)
    counts = []
    while count := drain.step():
        counts.append(count)
    assert steps(sink.points) == list(range(300))
    assert (sum(counts), drain.status, sink.begun) == (301, "FINISHED", [run])
    assert folder.delivered().status == "FINISHED"
    assert count_left(folder) == 0
    drain.close()
    assert sink.closed == 1


def test_batches_are_as_large_as_the_sink_takes(make_writer, folder, run):
    record(make_writer(1 << 16), range(100))
    drain = Drain(folder, run, ListSink(batch_size=30))
    assert [drain.step() for _ in range(5)] == [30, 30, 30, 10, 0]


def test_delivered_segments_are_given_back(writer, folder, run, sink):
    given_back = []
    record(writer, range(300))
    drain = Drain(folder, run, sink, writer=writer, take_back=given_back.append)
    drain_all(drain)
    assert given_back == folder.numbers()[:-1]


def test_failing_sink_gets_the_same_batch_again_and_nothing_is_noted(writer, folder, run, sink):
    record(writer, range(10))

    def fail():
        raise TrackerError("no server")

    sink.trouble = fail
    drain = Drain(folder, run, sink, writer=writer)
    for _ in range(3):
        with pytest.raises(TrackerError):
            drain.step()
    assert folder.delivered().position == Position()
    record(writer, range(10, 20))
    sink.trouble = lambda: None
    drain_all(drain)
    assert steps(sink.points) == list(range(20))


@given(
    deaths=st.lists(st.tuples(st.sampled_from(["before", "after"]), st.integers(0, 4)), max_size=6),
    batch_size=st.integers(1, 40),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=40)
def test_processes_that_die_while_they_deliver_leave_it_to_the_next(tmp_path_factory, run, deaths, batch_size):
    """Nothing is lost, and a batch comes again only if its process died before that was written down."""
    folder = SpoolFolder(tmp_path_factory.mktemp("run"))
    folder.write_run(run)
    writer = SpoolWriter(SegmentPool(folder.path, 1024))
    record(writer, range(100))
    writer.close()
    delivered, twice = [], 0
    for place, count in [*deaths, ("never", -1)]:
        sink = ListSink(batch_size)
        left = [count]

        def die(left=left):
            left[0] -= 1
            if left[0] == -1:
                raise KilledError

        if place == "before":
            sink.trouble = die
        elif place == "after":
            sink.afterwards = die
        drain = Drain(folder, folder.read_run(), sink)
        try:
            drain_all(drain)
        except KilledError:
            twice += place == "after"
        found = steps(sink.points)
        overlap = len(delivered) - found[0] if found else 0
        assert found == list(range(found[0], found[0] + len(found))) if found else True
        assert 0 <= overlap <= batch_size
        delivered = delivered[: len(delivered) - overlap] + found
    assert delivered == list(range(100))


def test_identifier_of_the_destination_is_kept_on_the_disk(writer, folder, run, tmp_path):
    sink = StoreSink(tmp_path / "store")
    record(writer, range(10))
    drain = Drain(folder, run, sink, writer=writer)
    drain.step()
    expected = replace(run, remote_id=f"remote-{run.run_id}")
    assert (drain.run, folder.read_run()) == (expected, expected)


def test_disk_that_takes_no_identifier_does_not_stop_the_delivery(writer, folder, run, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    record(writer, range(10))
    drain = Drain(folder, run, StoreSink(tmp_path / "store"), writer=writer)
    monkeypatch.setattr(SpoolFolder, "write_run", fail)
    assert drain.step() == 10
    assert drain.run.remote_id == f"remote-{run.run_id}"


def test_files_have_their_whole_paths_and_go_when_they_are_delivered(writer, folder, run, sink):
    folder.files.mkdir()
    (folder.files / "abc").write_text("weights")
    writer.record_event(Artifact("weights/model.bin", "abc"))
    seen = []
    sink.trouble = lambda: seen.append((folder.files / "abc").exists())
    drain = Drain(folder, run, sink, writer=writer)
    drain_all(drain)
    assert sink.events == [Artifact("weights/model.bin", str(folder.files / "abc"))]
    assert Path(sink.events[0].file).is_absolute()
    assert all(seen)
    assert list(folder.files.iterdir()) == []


def test_file_stays_until_it_is_delivered(writer, folder, run, sink):
    folder.files.mkdir()
    (folder.files / "abc").write_text("weights")
    writer.record_event(Artifact("model.bin", "abc"))

    def fail():
        raise TrackerError("no server")

    sink.trouble = fail
    drain = Drain(folder, run, sink, writer=writer)
    for _ in range(2):
        with pytest.raises(TrackerError):
            drain.step()
    assert (folder.files / "abc").read_text() == "weights"
    sink.trouble = lambda: None
    drain_all(drain)
    assert not (folder.files / "abc").exists()


def test_refusals_are_said_once_for_each_delivery(writer, folder, run, sink, said):
    sink.refused = ["the parameter 'a' stays '1'"]
    writer.record_event(Params({"a": "2"}))
    drain = Drain(folder, run, sink, writer=writer)
    drain_all(drain)
    assert said() == ["the parameter 'a' stays '1'"]
    sink.refused = []
    record(writer, range(3))
    drain_all(drain)
    assert len(said()) == 1
    assert steps(sink.points) == [0, 1, 2]


def test_counting_what_is_left_leaves_a_damaged_segment_for_delivery(make_writer, folder, run, sink, said):
    """What `kladml sync` does: it counts, and delivers then."""
    writer = make_writer(2048)
    record(writer, range(100))
    writer.close()
    path = folder.path / "00000001.seg"
    content = bytearray(path.read_bytes())
    content[1500] ^= 1
    path.write_bytes(content)
    left = count_left(folder)
    drain = Drain(folder, run, sink)
    drain_all(drain)
    assert (len(sink.points), steps(sink.points)[:30]) == (left, list(range(30)))
    assert len(said()) == 1


def test_last_moment_is_that_of_the_last_record(writer, folder, run, sink):
    drain = Drain(folder, run, sink, writer=writer)
    assert drain.last_ms == run.started_ms
    writer.record("loss", 0.5, 1, 7_000 * 1_000_000)
    writer.record_event(Tags({"a": "b"}))
    drain_all(drain)
    assert drain.last_ms == 7_000
    writer.record_event(Status("FINISHED", 9_000))
    drain_all(drain)
    assert drain.last_ms == 9_000


def test_end_that_was_not_recorded_is_given(writer, folder, sink):
    run = SpooledRun("0" * 32, "digits", "first", "me", "train.py", 5)
    drain = Drain(folder, run, sink, writer=writer)
    drain_all(drain)
    drain.end("KILLED")
    assert sink.events == [Status("KILLED", 5)]
