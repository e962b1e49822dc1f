"""The files of a spool: preallocated, mapped into memory, used again when they are delivered."""

from __future__ import annotations

import errno
import mmap
import os
import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kladml.log import get_logger
from kladml.spool.records import segment_header

if TYPE_CHECKING:
    from pathlib import Path

SEGMENT_BYTES = 4 << 20
MEMORY_SEGMENTS = 8
"""Segments that are kept in memory where the disk takes none, before records are lost."""

_SPARES = 2
_SUFFIX = ".seg"

log = get_logger(__name__)


@dataclass(slots=True)
class Segment:
    """One segment that this process records to.

    Attributes:
        number: Its place among the run's segments, from 1.
        seed: What its checksums start from.
        buffer: Its bytes.
        path: Its file; None if it lies in memory alone.
        descriptor: The file to write to besides the buffer, where it could not be mapped; else None.
    """

    number: int
    seed: int
    buffer: Any
    path: Path | None
    descriptor: int | None = None

    def close(self) -> None:
        """Let go of the file."""
        if isinstance(self.buffer, mmap.mmap):
            self.buffer.close()
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def segment_path(folder: Path, number: int) -> Path:
    """Return where a segment lies."""
    return folder / f"{number:08d}{_SUFFIX}"


def segment_numbers(folder: Path) -> list[int]:
    """Return the numbers of the segments in a folder, in order."""
    names = (path.name.removesuffix(_SUFFIX) for path in folder.glob(f"*{_SUFFIX}"))
    return sorted(int(name) for name in names if name.isdecimal())


class SegmentPool:
    """Makes segments, and takes delivered ones back to use their space again.

    A segment's blocks are reserved before anything is recorded to it: a full disk shows here, as an error, and never
    as a signal that ends the process when mapped memory cannot be written back.

    Args:
        folder: Where they lie.
        size: Bytes of a segment.
    """

    def __init__(self, folder: Path, size: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._size = size
        self._spares: list[Path] = []
        self._lock = threading.Lock()
        self._was_refused = False

    def make(self, number: int) -> Segment:
        """Return a new segment: in a file, or in memory where the disk takes none, which is said once."""
        seed = secrets.randbits(32)
        path = segment_path(self._folder, number)
        try:
            segment = self._in_file(path, number, seed)
        except OSError as error:
            if not self._was_refused:
                self._was_refused = True
                reason = error.strerror or str(error)
                log.warning(
                    f"{self._folder} takes no more records ({reason}); they are kept in memory until they are "
                    "delivered, and are lost if this process is killed before"
                )
            segment = Segment(number, seed, bytearray(self._size), None)
        _write(segment, 0, segment_header(number, seed))
        return segment

    def take_back(self, path: Path) -> None:
        """Use a delivered segment's space again, or give it back to the disk."""
        with self._lock:
            spare = path.with_suffix(f".spare-{secrets.token_hex(4)}")
            try:
                if len(self._spares) < _SPARES:
                    path.rename(spare)
                    with spare.open("r+b") as file:
                        file.write(bytes(self._size))
                    self._spares.append(spare)
                else:
                    path.unlink()
            except OSError as error:
                log.debug(f"{path} cannot be used again: {error}")

    def close(self) -> None:
        """Give the space of unused segments back."""
        with self._lock:
            for spare in self._spares:
                spare.unlink(missing_ok=True)
            self._spares.clear()

    def _in_file(self, path: Path, number: int, seed: int) -> Segment:
        with self._lock:
            spare = self._spares.pop() if self._spares else None
        if spare is not None:
            spare.replace(path)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            _reserve(descriptor, self._size)
            try:
                return Segment(number, seed, mmap.mmap(descriptor, self._size), path)
            except OSError:  # a file system that maps nothing: written call by call
                return Segment(number, seed, bytearray(self._size), path, os.dup(descriptor))
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)


def _reserve(descriptor: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
        else:
            return
    if os.fstat(descriptor).st_size < size:
        for start in range(0, size, 1 << 20):
            os.pwrite(descriptor, bytes(min(1 << 20, size - start)), start)


def _write(segment: Segment, offset: int, data: bytes) -> None:
    segment.buffer[offset : offset + len(data)] = data
    if segment.descriptor is not None:
        os.pwrite(segment.descriptor, data, offset)
