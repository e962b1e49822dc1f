"""Recording to a spool: about a microsecond per metric, and nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import struct
import threading
import weakref
from time import time_ns
from typing import TYPE_CHECKING, Any
from zlib import crc32

from kladml.errors import TrackerError
from kladml.log import get_logger
from kladml.spool.events import event_to_json
from kladml.spool.records import (
    CHECKSUM,
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kladml.spool.events import Event, MetricPoint

_POINT = struct.Struct("<IIqqd")
_PUT_POINT = struct.Struct(f"<{_POINT.size}sI")
_POINT_HEAD = head(POINTS, _POINT.size)

log = get_logger(__name__)


class SpoolWriter:
    """Appends the records of one run to segments.

    Threads may record at the same time. A process that was forked from the one that made the writer, such as a worker
    of a data loader, cannot record, and does not disturb it.

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
        self._sets: dict[Any, int] = {}
        self._packers: dict[int, Callable[..., bytes]] = {}
        self._offset = 0
        self._number = 0
        self._is_open = True
        self._owner = os.getpid()
        self.lost = 0
        self._in_memory: dict[int, Segment] = {}
        self._use(pool.make(first))
        _forget_after_fork(self)

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
                body = _POINT.pack(_POINT_HEAD, self._sets[key], nanoseconds or time_ns(), step or 0, value)
                offset = self._offset
                _PUT_POINT.pack_into(self._buffer, offset, body, crc32(body, self._seed))
                self._offset = offset + _PUT_POINT.size
            except (KeyError, struct.error, TypeError):
                self.record_all({key: value}, step, nanoseconds)
            except BaseException:  # a signal's, raised when the record was written and not counted yet
                self._count_written()
                raise
            else:
                if self._descriptor is not None:
                    os.pwrite(self._descriptor, self._buffer[offset : self._offset], offset)

    def record_all(self, metrics: Mapping[str, float], step: int | None = None, nanoseconds: int | None = None) -> None:
        """Record several metrics of one step; arguments and errors are those of `record`."""
        keys: Any = tuple(metrics)
        if len(keys) == 1:
            (keys,) = keys
        with self._lock:
            number = self._sets.get(keys)
            if number is None:
                number = self._define(keys)
            pack = self._packers[number]
            try:
                body = pack(number, nanoseconds or time_ns(), step or 0, *metrics.values())
            except (struct.error, TypeError, ValueError, OverflowError) as error:
                whole = _whole(step)
                if whole is None:
                    raise _no_number(metrics, step) from error
                self.record_all(metrics, whole, nanoseconds)
                return
            record = body + CHECKSUM.pack(crc32(body, self._seed))
            offset = self._offset
            end = offset + len(record)
            if end > len(self._buffer):
                self._next_segment()
                self.record_all(metrics, step, nanoseconds)
                return
            self._buffer[offset:end] = record  # no signal is handled between these two
            self._offset = end
            if self._descriptor is not None:
                os.pwrite(self._descriptor, record, offset)

    def record_points(self, points: Iterable[MetricPoint]) -> None:
        """Record metrics with times of their own, such as those of another run."""
        for key, value, time_ms, step in points:
            self.record(key, value, step, time_ms * NANOSECONDS_PER_MS)

    def record_event(self, event: Event) -> None:
        """Record whatever is no metric."""
        data = event_to_json(event)
        with self._lock:
            self._append(lambda seed: encode_event(data, seed))

    def close(self) -> None:
        """Record no more."""
        with self._lock:
            if self._is_open and os.getpid() == self._owner:
                self._append(lambda seed: encode(SEALED, b"", seed))
                self._is_open = False
                self._leave(self._segment)

    def in_memory(self, number: int) -> Any:
        """Return the bytes of a segment that lies in memory alone, or None if it lies on the disk."""
        segment = self._in_memory.get(number)
        return None if segment is None else segment.buffer

    def segments_in_memory(self) -> list[int]:
        """Return the numbers of the segments that lie in memory alone."""
        return sorted(self._in_memory.copy())

    def forget(self, number: int) -> None:
        """Let go of a segment that lies in memory alone and was delivered."""
        self._in_memory.pop(number, None)

    def _use(self, segment: Segment) -> None:
        if segment.path is None:
            self._in_memory[segment.number] = segment
        self._sets.clear()
        self._packers.clear()
        self._segment = segment
        self._buffer = segment.buffer
        self._seed = segment.seed
        self._descriptor = segment.descriptor
        self._offset = HEADER.size

    def _leave(self, segment: Segment) -> None:
        """Take care that nothing more is written to a segment; whoever reads it opens it by itself."""
        self._sets.clear()
        self._buffer, self._descriptor = bytearray(), None
        segment.close()

    def _define(self, keys: Any) -> int:
        """Record a set of keys and return its number."""
        if not self._is_open:
            raise self._closed()
        names = (keys,) if isinstance(keys, str) else keys
        for name in names:
            self._check_key(name)
        self._number += 1
        number = self._number  # never given twice, as defining may begin a new segment
        layout = struct.Struct(f"<IIqq{len(names)}d")
        if layout.size > LARGEST_BODY:
            problem = f"{len(names)} metrics were recorded in one call"
            raise TrackerError(problem, next_step="record them in several calls")
        self._append(lambda seed: encode_keys(number, names, seed))
        self._sets[keys] = number
        word = head(POINTS, layout.size)
        self._packers[number] = lambda *values: layout.pack(word, *values)
        return number

    def _append(self, encoded: Callable[[int], bytes]) -> None:
        if not self._is_open:
            raise self._closed()
        data = encoded(self._seed)
        if self._offset + len(data) > len(self._buffer):
            if len(data) + HEADER.size > len(self._buffer):
                problem = f"a record of {len(data)} bytes is larger than a segment of {len(self._buffer)}"
                raise TrackerError(problem, next_step="record less at once")
            self._next_segment()
            data = encoded(self._seed)
        offset = self._offset
        self._buffer[offset : offset + len(data)] = data  # no signal is handled between these two
        self._offset += len(data)
        if self._descriptor is not None:
            os.pwrite(self._descriptor, data, offset)

    def _next_segment(self) -> None:
        if not self._is_open:
            raise self._closed()
        seal = encode(SEALED, b"", self._seed)
        if self._offset + len(seal) <= len(self._buffer):
            self._append(lambda _: seal)
        full = self._segment
        self._made_room()
        segment = self._pool.make(full.number + 1)
        if segment.path is None and full.path is None and len(self._in_memory) >= MEMORY_SEGMENTS:
            if not self.lost:
                log.warning("there is no place left for the records of this run, on disk or in memory: some are lost")
            self.lost += _count(self._in_memory.pop(full.number))
        self._use(segment)
        if full.path is not None:
            full.close()

    def _count_written(self) -> None:
        """Count a record that was written to its last byte."""
        word = int.from_bytes(self._buffer[self._offset : self._offset + CHECKSUM.size], "little")
        end = self._offset + (word & LARGEST_BODY)
        if word and crc32(self._buffer[self._offset : end], self._seed) == int.from_bytes(
            self._buffer[end : end + CHECKSUM.size], "little"
        ):
            self._offset = end + CHECKSUM.size

    def _closed(self) -> TrackerError:
        if os.getpid() != self._owner:
            problem = f"this process was forked from process {self._owner}, to which the run belongs"
            return TrackerError(
                problem, next_step="record metrics in the main process, not in workers of a data loader"
            )
        problem = "the run's records are closed"
        return TrackerError(problem, next_step="start or resume a run first")

    def _forget(self) -> None:
        """After a fork, leave the parent's segments alone."""
        self._lock = threading.RLock()  # another thread of the parent may have held it
        self._is_open = False
        self._sets = {}
        self._buffer = bytearray()
        self._descriptor = None


def _count(segment: Segment) -> int:
    return len(SegmentReader(segment.buffer).read(len(segment.buffer)))


def _whole(step: Any) -> int | None:
    """Return a step that was counted with a float, such as 3.0."""
    return int(step) if isinstance(step, float) and step.is_integer() else None


def _no_number(metrics: Mapping[str, float], step: int | None) -> TrackerError:
    for key, value in metrics.items():
        try:
            struct.pack("<d", value)
        except (struct.error, TypeError, ValueError, OverflowError):
            problem = f"the metric '{key}' is no number but a {type(value).__name__}"
            return TrackerError(problem, next_step="log numbers, such as loss.item()")
    problem = f"the step {step!r} of {', '.join(metrics)} is no whole number of 64 bits"
    return TrackerError(problem, next_step="count steps with an int")


def _forget_after_fork(writer: SpoolWriter) -> None:
    if hasattr(os, "register_at_fork"):
        kept = weakref.WeakMethod(writer._forget)  # noqa: SLF001 - the writer's own hook

        def forget() -> None:
            method = kept()
            if method is not None:
                method()

        os.register_at_fork(after_in_child=forget)
