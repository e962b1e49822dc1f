"""Reading a spool, from a place on, while more is recorded to it or after."""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING, Any

from kladml.log import get_logger
from kladml.spool.events import Batch
from kladml.spool.folder import Position
from kladml.spool.records import DamagedError, SegmentReader
from kladml.spool.segments import segment_path

if TYPE_CHECKING:
    from kladml.spool.folder import SpoolFolder
    from kladml.spool.writer import SpoolWriter

_DAMAGED = ".damaged"

log = get_logger(__name__)


class SpoolReader:
    """Reads the records of one run in the order of recording.

    A segment whose bytes are not what was written is read up to there, which is said once, and set aside; the next
    segment explains itself and is read again.

    Args:
        folder: The run's folder.
        start: Where to begin.
        writer: Who records to it in this process; None if nobody does any more, so that what ends in the middle of a
            record is damaged.
        is_counting: Whether to leave everything as it is, and say nothing: whoever delivers comes later.

    Attributes:
        position: Where the next record begins.
        left: Numbers of segments that were read to their end, for the caller to take away and forget.
    """

    def __init__(
        self, folder: SpoolFolder, start: Position, writer: SpoolWriter | None = None, *, is_counting: bool = False
    ) -> None:
        self._folder = folder
        self._writer = writer
        self._is_counting = is_counting
        self._segment: SegmentReader | None = None
        self._mapped: mmap.mmap | None = None
        self._is_damaged = False
        self.position = start
        self.left: list[int] = []

    def read(self, most: int) -> Batch:
        """Return the next records: at most about `most`, and none if nothing was recorded since."""
        while True:
            if self._segment is None and not self._open(self.position.segment):
                later = self.next_segment()
                if later is None:
                    return Batch()
                self.position = Position(later)
                continue
            batch = self._read(most)
            if len(batch):
                return batch
            later = self.next_segment()
            # Asked in this order: what was recorded before the next segment was made is read now.
            if later is not None and len(batch := self._read(most)):
                return batch
            if later is None and self._writer is not None:
                return Batch()
            self._look_behind()
            if later is None:
                return Batch()
            self._leave()
            self.position = Position(later)

    def close(self) -> None:
        """Let go of the file; reading goes on where it was."""
        self._segment = None
        if self._mapped is not None:
            self._mapped.close()
            self._mapped = None

    def next_segment(self) -> int | None:
        """Return the number of the first segment behind the current one that there is."""
        numbers = self._folder.numbers()
        if self._writer is not None:
            numbers += self._writer.segments_in_memory()
        return min((number for number in numbers if number > self.position.segment), default=None)

    def _read(self, most: int) -> Batch:
        segment = self._segment
        if segment is None or self._is_damaged:
            return Batch()
        try:
            batch = segment.read(most)
        except DamagedError as damage:
            self._is_damaged = True
            if not segment.is_half_written(damage.offset):
                self._set_aside(damage.offset)
            return Batch()
        self.position = Position(self.position.segment, segment.offset)
        return batch

    def _open(self, number: int) -> bool:
        """Open a segment, and tell whether there is one of that number."""
        buffer: Any = None
        if self._writer is not None:
            # In this order: what is in neither place when it is asked for is whole in its file.
            buffer = self._writer.not_mapped(number)
            memory = self._writer.in_memory(number)
            buffer = buffer if memory is None else memory
        if buffer is None:
            try:
                descriptor = os.open(segment_path(self._folder.path, number), os.O_RDONLY)
            except FileNotFoundError:
                return False
            try:
                buffer = self._mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError):  # an empty file as well
                with os.fdopen(os.dup(descriptor), "rb") as file:
                    buffer = file.read()
            finally:
                os.close(descriptor)
        self._is_damaged = False
        self._segment = SegmentReader(buffer, self.position.offset)
        return True

    def _look_behind(self) -> None:
        """Notice records that zeros hide, such as those of a page that a loss of power took."""
        segment = self._segment
        if segment is not None and not segment.is_sealed and not self._is_damaged and segment.has_bytes_behind():
            self._set_aside(segment.offset)

    def _leave(self) -> None:
        if not self._is_damaged:
            self.left.append(self.position.segment)
        self.close()

    def _set_aside(self, offset: int) -> None:
        self._is_damaged = True
        if self._is_counting:
            return
        path = segment_path(self._folder.path, self.position.segment)
        aside = self._folder.path.parent / f"{self._folder.path.name}-{path.name}{_DAMAGED}"
        try:
            path.rename(aside)
        except OSError:
            aside = path
        log.warning(
            f"what was recorded in {aside} is damaged from byte {offset} on: everything before it is kept, "
            "and what followed in this file is lost"
        )
