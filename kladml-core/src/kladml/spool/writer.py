"""Recording to a spool: about a microsecond per metric, and nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import struct
import threading
from functools import partial
from itertools import islice
from time import time_ns
from typing import TYPE_CHECKING, Any
from zlib import crc32

from kladml.errors import TrackerError
from kladml.log import get_logger
from kladml.spool.columns import POINTS_AT_ONCE, columns_of, front_of, size_of
from kladml.spool.events import event_to_json
from kladml.spool.forks import call_in_forks, closed
from kladml.spool.records import (
    CHECKSUM,
    COLUMNS,
    HEADER,
    LARGEST_BODY,
    NANOSECONDS_PER_MS,
    POINTS,
    SEALED,
    SegmentReader,
    encode,
    encode_event,
    encode_keys,
    head,
)
from kladml.spool.segments import MEMORY_SEGMENTS, Segment, SegmentPool
from kladml.spool.values import check_text, packed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kladml.spool.events import Event, MetricPoint

_POINT = struct.Struct("<IIqqd")
_POINT_HEAD = head(POINTS, _POINT.size)
_RECORD = struct.Struct(f"<{_POINT.size}sI")
_RECORD_SIZE = _RECORD.size
_pack_point = partial(_POINT.pack, _POINT_HEAD)
_FEW = 4
"""Points that are recorded each by itself."""

log = get_logger(__name__)


class SpoolWriter:
    """Appends the records of one run to segments.

    Threads may record at the same time, and so may the handler of a signal that arrives meanwhile. A process that was
    forked from the one that made the writer, such as a worker of a data loader, cannot record, and does not disturb it.

    Args:
        pool: Where segments come from.
        check_key: Raises a `TrackerError` for a key that is not acceptable; it is called once per key and segment.
        first: Number of the first segment.
        made_room: Called when a segment is full, before the next is made; it may wait.

    Attributes:
        lost: Records that found no place, on disk or in memory.
    """

    def __init__(
        self,
        pool: SegmentPool,
        *,
        check_key: Callable[[str], None] = lambda _: None,
        first: int = 1,
        made_room: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = pool
        self._check_key = check_key
        self._made_room = made_room
        self._lock = threading.RLock()
        self._sets: dict[str, int] = {}
        self._sets_of_many: dict[tuple[str, ...], tuple[int, Callable[..., bytes]]] = {}
        self._defined = 0
        self._made = first
        self._is_open = True
        self._owner = os.getpid()
        self._in_memory: dict[int, Segment] = {}
        self._segment: Segment | None = None
        self._offset = self._limit = 0
        self._descriptor: int | None = None
        self.lost = 0
        self._use(pool.make(first), None)
        call_in_forks(self._forget)

    def record(self, key: str, value: float, step: int | None = None, nanoseconds: int | None = None) -> None:
        """Record one metric.

        Args:
            key: Its name.
            value: Its value.
            step: Its step; 0 if None.
            nanoseconds: Its time since the epoch of Unix; now if None.

        Raises:
            TrackerError: The key is malformed, or the value is no number.
        """
        with self._lock:
            try:
                seed = self._seed
                at = time_ns() if nanoseconds is None else nanoseconds
                body = _POINT.pack(_POINT_HEAD, self._sets[key], at, step or 0, value)
                record = _RECORD.pack(body, crc32(body, seed))
            except (KeyError, struct.error, TypeError):
                self.record_all({key: value}, step, nanoseconds)
                return
            offset = self._offset  # from here on as in `_put`
            end = offset + _RECORD_SIZE
            if seed == self._seed and end <= self._limit:
                self._buffer[offset:end] = record
                self._offset = end
                if self._descriptor is not None:
                    self._copy()
            else:
                self.record_all({key: value}, step, at)

    def record_all(self, metrics: Mapping[str, float], step: int | None = None, nanoseconds: int | None = None) -> None:
        """Record several metrics of one step; arguments and errors are those of `record`."""
        at = time_ns() if nanoseconds is None else nanoseconds
        self._record_under(tuple(metrics), lambda number, pack: packed(pack, number, at, step, metrics))

    def record_points(self, points: Iterable[MetricPoint]) -> None:
        """Record metrics with times of their own, such as those of another run."""
        rest = iter(points)
        while some := list(islice(rest, POINTS_AT_ONCE)):
            if not self._record_columns(some):
                for key, value, time_ms, step in some:
                    self.record(key, value, step, time_ms * NANOSECONDS_PER_MS)

    def _record_columns(self, points: list[MetricPoint]) -> bool:
        """Record points in one record; tell whether that was possible."""
        try:
            keys, columns = columns_of(points)
        except (TypeError, ValueError, OverflowError):  # each by itself, up to the one that is to be named
            return False
        size = size_of(len(points))
        if len(points) < _FEW or size + CHECKSUM.size + HEADER.size > self._pool.size // 2:
            return False
        front = head(COLUMNS, size)
        self._record_under(keys, lambda number, _: front_of(front, number, len(points)) + columns)
        return True

    def record_event(self, event: Event) -> None:
        """Record whatever is no metric."""
        data = event_to_json(event)
        with self._lock:
            self._append(lambda seed: encode_event(data, seed))

    def close(self) -> None:
        """Record no more."""
        with self._lock:
            if self._is_open and os.getpid() == self._owner:
                segment = self._current()
                self._is_open = False
                self._seal(segment)
                self._let_go()  # whoever reads opens the segment by itself
                segment.close()

    def in_memory(self, number: int) -> Any:
        """Return the bytes of a segment that lies in memory alone, or None if it lies on the disk."""
        segment = self._in_memory.get(number)
        return None if segment is None else segment.buffer

    def not_mapped(self, number: int) -> Any:
        """Return the bytes of the segment that is recorded to, if its file is not mapped, and lags behind them."""
        segment = self._segment
        is_meant = segment is not None and segment.number == number and segment.descriptor is not None
        return segment.buffer if segment is not None and is_meant else None

    def segments_in_memory(self) -> list[int]:
        """Return the numbers of the segments that lie in memory alone."""
        return sorted(self._in_memory.copy())

    def forget(self, number: int) -> None:
        """Let go of a segment that lies in memory alone and was delivered."""
        self._in_memory.pop(number, None)

    def keep(self) -> None:
        """Bring segments that lie in memory alone to the disk, as far as it takes them again."""
        for number in self.segments_in_memory():
            segment = self._in_memory.get(number)
            is_current = self._is_open and segment is self._segment
            if segment is not None and not is_current:
                if not self._pool.keep(segment):
                    return
                self.forget(number)

    def _use(self, segment: Segment, full: Segment | None) -> bool:
        """Record to a segment, unless a signal's handler has gone on in another one than the full one."""
        limit = len(segment.buffer)
        if self._segment is not full:  # no call from here on, as in `_put`
            return False
        if segment.path is None:
            self._in_memory[segment.number] = segment
        self._sets, self._sets_of_many = {}, {}
        self._segment, self._buffer, self._seed = segment, segment.buffer, segment.seed
        self._offset, self._limit, self._descriptor = HEADER.size, limit, segment.descriptor
        return True

    def _current(self) -> Segment:
        if self._segment is None or not self._is_open:
            raise closed(self._owner)
        return self._segment

    def _define(self, keys: tuple[str, ...]) -> None:
        """Record a set of keys, by whose number records mean them."""
        for name in keys:
            check_text(name)
            self._check_key(name)
        self._defined += 1
        number = self._defined  # never given twice, as defining may begin a new segment
        layout = struct.Struct(f"<IIqq{len(keys)}d")
        size = HEADER.size + len(encode_keys(number, keys, 0)) + layout.size + CHECKSUM.size
        if size > min(self._pool.size, LARGEST_BODY):  # both have to be in one segment
            problem = f"{len(keys)} metrics were recorded in one call"
            raise TrackerError(problem, next_step="record them in several calls")
        pack = partial(layout.pack, head(POINTS, layout.size))
        segment = self._append(lambda seed: encode_keys(number, keys, seed))
        is_single = len(keys) == 1
        if segment is self._segment:  # no call from here on, as in `_put`
            if is_single:
                self._sets[keys[0]] = number
            else:
                self._sets_of_many[keys] = (number, pack)

    def _record_under(self, keys: tuple[str, ...], body_of: Callable[[int, Callable[..., bytes]], bytes]) -> None:
        """Record what means keys by their number; `body_of` gets that, and what packs a time, a step and values."""
        with self._lock:
            while True:
                segment = self._current()
                number = self._sets.get(keys[0]) if len(keys) == 1 else None
                found = self._sets_of_many.get(keys) if number is None else (number, _pack_point)
                if found is None:
                    self._define(keys)
                    continue
                body = body_of(*found)
                if self._put(segment, body + CHECKSUM.pack(crc32(body, segment.seed))):
                    return
                self._next_segment(segment)

    def _append(self, encoded: Callable[[int], bytes]) -> Segment:
        """Record what is encoded with a segment's seed, and return the segment."""
        while True:
            segment = self._current()
            data = encoded(segment.seed)
            if len(data) + HEADER.size > min(self._pool.size, LARGEST_BODY):
                problem = f"a record of {len(data)} bytes is larger than a segment of {self._pool.size}"
                raise TrackerError(problem, next_step="record less at once")
            if self._put(segment, data):
                return segment
            self._next_segment(segment)

    def _put(self, segment: Segment, record: bytes) -> bool:
        """Write a record that was encoded for a segment, unless that is full or was left."""
        size = len(record)
        # Calls nothing from here until the record is counted: Python runs signals' handlers after calls and in loops
        # alone. One that raises finds the record whole or not begun, and one that records has its own place.
        offset = self._offset
        end = offset + size
        if segment is not self._segment or end > self._limit:
            return False
        self._buffer[offset:end] = record
        self._offset = end
        if self._descriptor is not None:
            self._copy()
        return True

    def _seal(self, segment: Segment) -> None:
        """Let a segment end, if it is still the current one."""
        seal = encode(SEALED, b"", segment.seed)
        size = len(seal)
        offset, end = self._offset, self._offset + size  # no call from here on, as in `_put`
        if segment is self._segment:
            self._offset = self._limit
            if end <= self._limit:
                self._buffer[offset:end] = seal
            if self._descriptor is not None:
                self._copy()

    def _copy(self) -> None:
        """Write what was recorded to a file that is not mapped; if that fails, it is in memory alone."""
        segment = self._segment
        try:
            if segment is not None:
                segment.copy(self._offset)
        except OSError as error:
            self._pool.say_refused(error)
            if segment is not None:
                self._in_memory[segment.number] = segment
                segment.path = self._descriptor = None
                segment.close()

    def _next_segment(self, full: Segment) -> None:
        """Go on in a new segment, if a signal's handler has not."""
        self._made_room()
        self._current()
        self._seal(full)  # before there is a next one: whoever reads takes it for whole then
        self._made += 1
        segment = self._pool.make(self._made)
        if not self._use(segment, full):
            segment.close()
            return
        if segment.path is not None and self._in_memory:
            self.keep()
        if full.path is not None:
            full.close()
        elif segment.path is None and len(self._in_memory) > MEMORY_SEGMENTS:
            if not self.lost:
                log.warning("there is no place left for the records of this run, on disk or in memory: some are lost")
            self._in_memory.pop(full.number, None)
            self.lost += len(SegmentReader(full.buffer).read(len(full.buffer)))

    def _forget(self) -> None:
        """After a fork, leave the parent's segments alone."""
        self._lock = threading.RLock()  # another thread of the parent may have held it
        self._is_open = False
        self._let_go()

    def _let_go(self) -> None:
        self._sets, self._sets_of_many = {}, {}
        self._limit, self._buffer, self._descriptor = 0, bytearray(), None
