"""Reading: every record once, from any place on, whatever happened to the files."""

from __future__ import annotations

import mmap

import pytest

from kladml.spool.drain import count_left
from kladml.spool.events import Tags
from kladml.spool.folder import Position
from kladml.spool.reader import SpoolReader
from kladml.spool.segments import SegmentPool, segment_path
from kladml.spool.writer import SpoolWriter

STEPS = list(range(300))


def steps(points):
    return [step for _, _, _, step in points]


@pytest.fixture
def filled(make_writer, folder):
    """A folder with several segments, whose writer is done."""
    writer = make_writer(2048)
    for step in STEPS:
        writer.record("loss", step / 4, step, 0)
    writer.close()
    assert len(folder.numbers()) > 4
    return folder


def damage(folder, number, offset=1000):
    path = segment_path(folder.path, number)
    content = bytearray(path.read_bytes())
    content[offset] ^= 0xFF
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("most", [1, 7, 1000])
def test_reading_again_from_every_place_gives_the_same(filled, most):
    reader = SpoolReader(filled, Position())
    places, batches = [], []
    while True:
        places.append(reader.position)
        batch = reader.read(most)
        if not len(batch):
            break
        batches.append(batch.points)
    assert [step for batch in batches for step in steps(batch)] == STEPS
    assert places == sorted(places)
    for place, index in zip(places, range(len(places)), strict=True):
        again = SpoolReader(filled, place)
        assert again.read(most).points == (batches[index] if index < len(batches) else [])
        again.close()
    reader.close()


def test_reading_goes_on_after_closing(filled):
    reader = SpoolReader(filled, Position())
    found = []
    while len(batch := reader.read(10)):
        found += batch.points
        reader.close()
    assert steps(found) == STEPS


def test_segments_that_were_read_are_left(filled, run):
    reader = SpoolReader(filled, Position())
    while len(reader.read(10)):
        assert all(number < reader.position.segment for number in reader.left)
    assert reader.left == filled.numbers()[:-1]
    reader.close()


def test_damaged_segment_is_read_up_to_there_and_set_aside_and_later_ones_are_read(filled, read_all, said):
    whole = steps(read_all()[0])
    first = steps(read_all(Position(3))[0])[0]
    after = steps(read_all(Position(4))[0])[0]
    path = damage(filled, 3)
    found = steps(read_all()[0])
    lost = [step for step in whole if step not in found]
    assert found == [step for step in whole if step not in lost]
    assert lost == list(range(lost[0], after))
    assert first < lost[0] < after
    aside = filled.path.parent / f"{filled.path.name}-00000003.seg.damaged"
    assert (path.exists(), aside.exists()) == (False, True)
    (warning,) = said()
    assert warning.startswith(f"what was recorded in {aside} is damaged from byte ")
    assert steps(read_all()[0]) == [step for step in found if not first <= step < after]
    assert len(said()) == 1


@pytest.mark.parametrize("offset", [0, 9, 1000])
def test_damage_in_the_last_segment_is_said(filled, read_all, said, offset):
    last = filled.numbers()[-1]
    damage(filled, last, offset)
    found = steps(read_all()[0])
    assert found == STEPS[: len(found)]
    if offset < 1000 or len(found) < len(STEPS):
        assert len(said()) == 1


def test_counting_what_is_left_neither_sets_aside_nor_warns(filled, read_all, said):
    """Whoever delivers afterwards finds everything before the damage."""
    damage(filled, 2)
    before = count_left(filled)
    assert said() == []
    assert count_left(filled) == before
    found = steps(read_all()[0])
    assert len(found) == before
    assert steps(read_all(Position(1))[0])[: len(found) // 2] != []
    assert len(said()) == 1


@pytest.mark.parametrize("number", [1, 3, 5])
def test_missing_segment_is_passed_over(filled, read_all, number):
    expected = steps(read_all(Position())[0])
    reader = SpoolReader(filled, Position(number))
    gone = []
    while reader.position.segment == number and len(batch := reader.read(1)):
        if reader.position.segment == number:
            gone += steps(batch.points)
    reader.close()
    segment_path(filled.path, number).unlink()
    assert steps(read_all()[0]) == [step for step in expected if step not in gone]


def test_empty_folder_has_nothing(folder, read_all):
    assert read_all() == ([], [])
    assert read_all(Position(5, 1000)) == ([], [])


@pytest.mark.parametrize("content", [b"", b"\0" * 2048, b"no segment at all"])
def test_file_that_is_no_segment_is_set_aside_and_later_ones_are_read(filled, read_all, said, content):
    segment_path(filled.path, 1).write_bytes(content)
    found = steps(read_all()[0])
    assert found == STEPS[-len(found) :]
    assert len(said()) == 1


def test_unfilled_segment_of_a_dead_process_is_whole(folder, read_all, said):
    for first in (1, 2, 3):
        writer = SpoolWriter(SegmentPool(folder.path, 2048), first=first)
        writer.record("loss", 0.5, first, 0)
    assert steps(read_all()[0]) == [1, 2, 3]
    assert said() == []


def test_what_is_recorded_while_it_is_read_comes_once(make_writer, folder):
    writer = make_writer(1024)
    reader = SpoolReader(folder, Position(), writer)
    found = []
    for step in range(200):
        writer.record("loss", 0.5, step, 0)
        if step % 3 == 0:
            writer.record_event(Tags({"step": str(step)}))
        if step % 7 == 0:
            while len(batch := reader.read(4)):
                found += steps(batch.points)
    found += steps(reader.read(1000).points)
    while len(batch := reader.read(1000)):
        found += steps(batch.points)
    assert found == list(range(200))
    reader.close()


def test_file_system_that_maps_nothing_is_read(filled, read_all, monkeypatch):
    class Refused(mmap.mmap):
        def __new__(cls, *_, **__):
            raise OSError(19, "No such device")

    monkeypatch.setattr(mmap, "mmap", Refused)
    assert steps(read_all()[0]) == STEPS
