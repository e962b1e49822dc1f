"""The bytes of a spool: records with a checksum each, in segments that explain themselves.

A segment is a header and records, and zeros where nothing was recorded yet. A record is

    head (u32: body's size in the low 24 bits, kind above) | rest of the body | CRC-32 of the body (u32)

all little-endian. The checksum starts from the segment's seed, so that what an earlier use of the file left is never
taken for a record. Metrics of one call are one record: the number of a set of keys, which an earlier record of the
same segment defines, the time in nanoseconds, the step, and a 64-bit number per key. Metrics that come with times of
their own are recorded many at once, in columns.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zlib import crc32

from kladml.spool.columns import points_of
from kladml.spool.events import Batch, event_from_json

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS, POINTS, EVENT, SEALED, COLUMNS = 1, 2, 3, 4, 5
"""Kinds of records; `SEALED` is a segment's last one."""

HEADER = struct.Struct("<8sQIII")
"""Magic, number of the segment, seed, size of the segment, checksum of the four."""

MAGIC = b"KLADSPL1"
CHECKSUM = struct.Struct("<I")
LARGEST_BODY = (1 << 24) - 1
NANOSECONDS_PER_MS = 1_000_000

_HEAD = struct.Struct("<I")
_POINTS = struct.Struct("<IIqq")
_SINGLE = struct.Struct("<IIqqdI")
_SINGLE_BODY = _SINGLE.size - 4
_SINGLE_HEAD = POINTS << 24 | _SINGLE_BODY
_PAGE = 4096


class DamagedError(Exception):
    """A segment's bytes are not what was written.

    Attributes:
        offset: Where the first damaged record begins.
    """

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


def segment_header(number: int, seed: int, size: int) -> bytes:
    """Return the first bytes of a segment."""
    checksum = crc32(struct.pack("<8sQII", MAGIC, number, seed, size))
    return HEADER.pack(MAGIC, number, seed, size, checksum)


def head(kind: int, size: int) -> int:
    """Return the first word of a record whose body, this word included, has `size` bytes."""
    return kind << 24 | size


def encode(kind: int, content: bytes, seed: int) -> bytes:
    """Return a whole record."""
    body = _HEAD.pack(head(kind, _HEAD.size + len(content))) + content
    return body + CHECKSUM.pack(crc32(body, seed))


def encode_keys(number: int, keys: tuple[str, ...], seed: int) -> bytes:
    """Return the record that gives a set of keys its number."""
    return encode(KEYS, _HEAD.pack(number) + json.dumps(keys).encode(), seed)


def encode_event(data: dict[str, Any], seed: int) -> bytes:
    """Return the record of an event."""
    return encode(EVENT, json.dumps(data).encode(), seed)


@dataclass(slots=True)
class SegmentReader:
    """Decodes one segment, of which more may be recorded meanwhile.

    Args:
        buffer: The segment's bytes.
        start: Offset before which records were delivered already.

    Attributes:
        offset: Where the next record begins.
        is_sealed: Whether the segment's last record was read.
    """

    buffer: Any
    start: int = 0
    offset: int = 0
    is_sealed: bool = False
    _seed: int = 0
    _size: int = 0
    _sets: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def read(self, most: int) -> Batch:
        """Return the next records: at most about `most`, and none if nothing was recorded since.

        Raises:
            DamagedError: The next record's bytes are not what was written; everything before it was returned.
        """
        batch = Batch()
        try:
            self._take_single_points(batch, most)
            for kind, body in self._bodies() if len(batch) < most else ():
                self._take(kind, body, batch)
                if len(batch) >= most:
                    break
        except DamagedError:
            if not len(batch):
                raise  # else what was read before it is returned first
        return batch

    def _take_single_points(self, batch: Batch, most: int) -> None:
        """Take records of one metric each, up to the first one of another kind: most are such, and it is quick."""
        if not self.offset:
            self._read_header()
        buffer, seed, sets, points, offset = self.buffer, self._seed, self._sets, batch.points, self.offset
        limit = min(len(buffer) - _SINGLE.size, offset + _SINGLE.size * (most - 1))
        while self.start <= offset <= limit:
            body = bytes(buffer[offset : offset + _SINGLE_BODY])
            word, number, nanoseconds, step, value, checksum = _SINGLE.unpack_from(buffer, offset)
            if word != _SINGLE_HEAD or crc32(body, seed) != checksum:
                break
            points.append((sets[number][0], value, nanoseconds // NANOSECONDS_PER_MS, step))
            offset += _SINGLE.size
        self.offset = offset

    def has_bytes_behind(self) -> bool:
        """Tell whether there is anything but zeros where the next record would begin."""
        return bool(bytes(memoryview(self.buffer)[self.offset :]).strip(b"\0"))

    def is_half_written(self, offset: int) -> bool:
        """Tell whether a record is one that a process was killed in the middle of, so that nobody was told of it.

        Its checksum, the last to be written, is missing, and so is everything behind it. A record on two pages may
        be one that a loss of power cut, and such a one had been acknowledged.
        """
        if not offset or len(self.buffer) < max(self._size, offset + _HEAD.size):
            return False
        (word,) = _HEAD.unpack_from(self.buffer, offset)
        end = offset + (word & LARGEST_BODY)
        rest = bytes(memoryview(self.buffer)[end:])
        is_on_one_page = offset // _PAGE == (end + CHECKSUM.size - 1) // _PAGE
        return is_on_one_page and len(rest) >= CHECKSUM.size and not rest.strip(b"\0")

    def _take(self, kind: int, body: bytes, batch: Batch) -> None:
        if kind == KEYS:
            self._define(body)
        elif kind == SEALED:
            self.is_sealed = True
        elif self.offset <= self.start:
            return
        elif kind == POINTS:
            _, number, nanoseconds, step = _POINTS.unpack_from(body)
            time_ms = nanoseconds // NANOSECONDS_PER_MS
            keys = self._sets[number]
            values = struct.unpack_from(f"<{len(keys)}d", body, _POINTS.size)
            for key, value in zip(keys, values, strict=True):
                batch.points.append((key, value, time_ms, step))
        elif kind == COLUMNS:
            batch.points.extend(points_of(body, self._sets))
        elif kind == EVENT:
            event = event_from_json(json.loads(body[_HEAD.size :]))
            if event is not None:
                batch.events.append(event)

    def _bodies(self) -> Iterator[tuple[int, bytes]]:
        buffer = self.buffer
        if not self.offset:
            self._read_header()
        limit = len(buffer)
        while not self.is_sealed and self.offset + _HEAD.size <= limit:
            offset = self.offset
            (word,) = _HEAD.unpack_from(buffer, offset)
            if not word:
                return
            end = offset + (word & LARGEST_BODY)
            if end + CHECKSUM.size > limit:
                raise DamagedError(offset)
            body = bytes(buffer[offset:end])
            if crc32(body, self._seed) != CHECKSUM.unpack_from(buffer, end)[0]:
                raise DamagedError(offset)
            self.offset = end + CHECKSUM.size
            yield word >> 24, body
        if not self.is_sealed and limit < self._size:
            raise DamagedError(self.offset)  # the file was cut

    def _read_header(self) -> None:
        if len(self.buffer) < HEADER.size:
            raise DamagedError(0)
        magic, number, seed, size, _ = HEADER.unpack_from(self.buffer)
        if magic != MAGIC or segment_header(number, seed, size) != bytes(self.buffer[: HEADER.size]):
            raise DamagedError(0)
        self._seed, self._size, self.offset = seed, size, HEADER.size

    def _define(self, body: bytes) -> None:
        (number,) = _HEAD.unpack_from(body, _HEAD.size)
        self._sets[number] = tuple(json.loads(body[2 * _HEAD.size :]))
