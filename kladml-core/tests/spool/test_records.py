"""The bytes of a segment: everything comes back, and whatever is not what was written is noticed."""

from __future__ import annotations

import string
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kladml.spool.events import (
    Artifact,
    Batch,
    DatasetInput,
    ExperimentTags,
    Params,
    Status,
    Tags,
    event_from_json,
    event_to_json,
)
from kladml.spool.records import (
    EVENT,
    POINTS,
    SEALED,
    DamagedError,
    SegmentReader,
    encode,
    encode_event,
    encode_keys,
    head,
    segment_header,
)

SEED = 123_456_789
TEXTS = st.text(max_size=20)
MAPPINGS = st.dictionaries(TEXTS, TEXTS, max_size=3)
EVENTS = st.one_of(
    st.builds(Params, MAPPINGS),
    st.builds(Tags, MAPPINGS),
    st.builds(ExperimentTags, MAPPINGS),
    st.builds(DatasetInput, TEXTS, TEXTS, TEXTS, TEXTS, st.none() | TEXTS, st.none() | TEXTS, st.none() | TEXTS),
    st.builds(Artifact, TEXTS, TEXTS),
    st.builds(Status, st.sampled_from(["RUNNING", "FINISHED"]), st.integers(0, 2**63 - 1)),
)
INT64 = st.integers(-(2**63), 2**63 - 1)
DOUBLES = st.binary(min_size=8, max_size=8)  # any bits at all: each NaN is one of its own


def points_record(number, at, step, values):
    size = 24 + 8 * len(values)
    return struct.pack("<Iqq", number, at, step) + b"".join(values), size


def encode_points(number, at, step, values, seed=SEED):
    content, size = points_record(number, at, step, values)
    record = encode(POINTS, content, seed)
    assert record[:4] == struct.pack("<I", head(POINTS, size))
    return record


def segment(*records, size=None, number=1):
    content = b"".join(records)
    size = size or len(content) + 64
    return (segment_header(number, SEED, size) + content).ljust(size, b"\0")


def read(buffer, most=1000, start=0):
    """Read to the end; returns what there is, and where the damage begins if there is any."""
    reader = SegmentReader(buffer, start)
    batch = Batch()
    try:
        while len(more := reader.read(most)):
            batch.points += more.points
            batch.events += more.events
        damage = reader.offset if not reader.is_sealed and reader.has_bytes_behind() else None
    except DamagedError as error:
        damage = error.offset
    return batch, damage


@given(
    recorded=st.lists(
        st.one_of(EVENTS, st.tuples(st.lists(st.tuples(TEXTS, DOUBLES), max_size=4), INT64, INT64)), max_size=8
    ),
    most=st.integers(1, 10),
)
def test_whatever_is_recorded_comes_back_to_the_last_bit(recorded, most):
    records, points, events = [], [], []
    for number, entry in enumerate(recorded):
        if isinstance(entry, tuple):
            metrics, at, step = entry
            keys = tuple(key for key, _ in metrics)
            records += [encode_keys(number, keys, SEED), encode_points(number, at, step, [bits for _, bits in metrics])]
            points += [(key, bits, at // 1_000_000, step) for key, bits in metrics]
        else:
            records.append(encode_event(event_to_json(entry), SEED))
            events.append(entry)
    batch, damage = read(segment(*records), most)
    assert [(key, struct.pack("<d", value), at, step) for key, value, at, step in batch.points] == points
    assert batch.events == events
    assert damage is None


RECORDS = [
    encode_keys(1, ("loss",), SEED),
    encode_points(1, 5_000_000, 1, [struct.pack("<d", 0.5)]),
    encode_event(event_to_json(Tags({"note": "naïve"})), SEED),
    encode_keys(2, ("loss", "a b"), SEED),
    encode_points(2, 6_000_000, 2, [struct.pack("<d", -0.0), struct.pack("<d", float("inf"))]),
    encode(SEALED, b"", SEED),
]
WHOLE = segment(*RECORDS)
BORDERS = [len(segment_header(1, SEED, 0)) + sum(map(len, RECORDS[:count])) for count in range(len(RECORDS) + 1)]


def before(offset):
    """Return what the records before a byte hold, and where the record with this byte begins."""
    count = sum(border <= offset for border in BORDERS) - 1
    if count < 0:
        return Batch(), 0
    return read(WHOLE[: BORDERS[count]].ljust(len(WHOLE), b"\0"))[0], BORDERS[count]


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_each_flipped_byte_is_noticed_and_everything_before_it_kept(flip):
    for offset in range(BORDERS[-1]):
        content = bytearray(WHOLE)
        content[offset] ^= flip
        assert read(content) == before(offset), offset


def test_each_cut_is_noticed_and_everything_before_it_kept():
    for end in range(BORDERS[-1]):
        assert read(WHOLE[:end]) == before(end), end


def test_each_range_of_zeros_is_noticed_and_everything_before_it_kept():
    for start in range(BORDERS[-1]):
        for end in range(start + 1, BORDERS[-1]):
            content = WHOLE[:start] + bytes(end - start) + WHOLE[end:]
            if content != WHOLE:
                first = next(place for place in range(start, end) if WHOLE[place])
                assert read(content) == before(first), (start, end)


def test_bytes_behind_the_last_record_are_noticed():
    records = RECORDS[:-1]
    for place in range(BORDERS[-2], len(WHOLE)):
        content = bytearray(segment(*records, size=len(WHOLE)))
        content[place] = 1
        batch, damage = read(content)
        assert (batch, damage) == before(BORDERS[-2])


def test_a_segment_that_was_not_filled_is_whole_without_its_seal():
    batch, damage = read(segment(*RECORDS[:-1]))
    assert (len(batch), damage) == (4, None)


def test_a_file_that_was_cut_between_two_records_is_noticed():
    content = segment(*RECORDS[:2], size=4096)
    assert read(content)[1] is None
    assert read(content[: BORDERS[2]]) == before(BORDERS[2])


def test_records_of_an_earlier_use_of_the_file_are_none_of_the_new_one():
    new = segment(RECORDS[0]).replace(RECORDS[0], encode_keys(1, ("loss",), SEED))
    old = b"".join(encode_points(1, 5, step, [bytes(8)], seed=SEED + 1) for step in range(3))
    batch, damage = read(new[: BORDERS[1]] + old)
    assert (len(batch), damage) == (0, BORDERS[1])


def test_reading_begins_at_any_record():
    for border in BORDERS[:-1]:
        batch, _ = read(WHOLE, start=border)
        skipped, _ = before(border)
        whole, _ = read(WHOLE)
        assert (skipped.points + batch.points, skipped.events + batch.events) == (whole.points, whole.events)


def test_more_may_be_recorded_while_it_is_read():
    content = bytearray(segment(size=len(WHOLE)))
    reader = SegmentReader(content)
    seen = Batch()
    for start, end in pairwise(BORDERS):
        assert not len(reader.read(10))
        content[start:end] = WHOLE[start:end]
        batch = reader.read(10)
        seen.points += batch.points
        seen.events += batch.events
    assert reader.is_sealed
    assert (seen, None) == read(WHOLE)


@pytest.mark.parametrize("size", [0, 1, 27])
def test_what_is_shorter_than_a_header_is_damaged(size):
    with pytest.raises(DamagedError):
        SegmentReader(WHOLE[:size]).read(1)


@given(EVENTS)
def test_events_are_json_and_back(event):
    assert event_from_json(event_to_json(event)) == event


def test_events_of_a_later_version_are_left_out():
    assert event_from_json({"event": "Note", "text": "x"}) is None
    assert event_from_json({"event": "Artifact", "name": "a", "file": "b", "size": 3}) == Artifact("a", "b")
    data = {"event": "Note", "text": string.printable}
    batch, damage = read(segment(encode(EVENT, b'{"event": "Note"}', SEED), encode_event(data, SEED), RECORDS[2]))
    assert (batch.events, damage) == ([Tags({"note": "naïve"})], None)
