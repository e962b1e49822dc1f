"""The files of a spool: preallocated, mapped into memory, used again when they are delivered."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import secrets
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kladml.log import get_logger
from kladml.spool.records import HEADER, segment_header

if TYPE_CHECKING:
    from pathlib import Path

SEGMENT_BYTES = 4 << 20
MEMORY_SEGMENTS = 8
"""Segments that are kept in memory where the disk takes none, before records are lost."""

_SPARES = 2
_SUFFIX = ".seg"
_CLOSED_ELSEWHERE = getattr(os, "O_CLOEXEC", 0)  # programs that this process starts do not get the file
_POPULATE_WRITE = 23
"""Linux's `MADV_POPULATE_WRITE`, which Python does not name yet."""

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
        copied: How many bytes it has.
    """

    number: int
    seed: int
    buffer: Any
    path: Path | None
    descriptor: int | None = None
    copied: int = 0

    def copy(self, end: int) -> None:
        """Write what was recorded up to an offset to the file, where it could not be mapped.

        Raises:
            OSError: The file takes nothing more.
        """
        while self.descriptor is not None and self.copied < end:
            start = self.copied
            written = os.pwrite(self.descriptor, self.buffer[start:end], start)
            self.copied = max(self.copied, start + written)

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

    Attributes:
        size: Bytes of a segment.
    """

    def __init__(self, folder: Path, size: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self.size = size
        self._spares: list[Path] = []
        self._lock = threading.RLock()  # the handler of a signal may record while it is held
        with contextlib.suppress(OSError):
            for spare in folder.glob("*.spare-*"):  # of a process that was killed
                spare.unlink()
        self._was_refused = False

    def make(self, number: int) -> Segment:
        """Return a new segment: in a file, or in memory where the disk takes none, which is said once."""
        seed = secrets.randbits(32)
        try:
            return self._in_file(number, seed, segment_header(number, seed, self.size))
        except OSError as error:
            self.say_refused(error)
            return Segment(number, seed, self._buffer(number, seed), None)

    def keep(self, segment: Segment) -> bool:
        """Bring a segment that lies in memory alone to the disk, and tell whether that went well."""
        try:
            self._in_file(segment.number, segment.seed, bytes(segment.buffer)).close()
        except OSError as error:
            log.debug(f"{self._folder} takes no more records: {error}")
            return False
        return True

    def say_refused(self, error: OSError) -> None:
        """Tell the user, once, that the disk takes no records."""
        if not self._was_refused:
            self._was_refused = True
            reason = error.strerror or str(error)
            log.warning(
                f"{self._folder} takes no more records ({reason}); they are kept in memory until they are "
                "delivered, and are lost if this process is killed before"
            )

    def take_back(self, path: Path) -> None:
        """Use a delivered segment's space again, or give it back to the disk."""
        with self._lock:
            spare = _spare(path)
            try:
                if len(self._spares) < _SPARES:
                    path.rename(spare)
                    with spare.open("r+b") as file:
                        file.write(bytes(self.size))
                    self._spares.append(spare)
                else:
                    path.unlink()
            except OSError as error:
                log.debug(f"{path} cannot be used again: {error}")

    def close(self) -> None:
        """Give the space of unused segments back."""
        with self._lock:
            for spare in self._spares:
                with contextlib.suppress(OSError):
                    spare.unlink()
            self._spares.clear()

    def _in_file(self, number: int, seed: int, content: bytes) -> Segment:
        path = segment_path(self._folder, number)
        with self._lock:
            draft = self._spares.pop() if self._spares else _spare(path)
        try:
            descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | _CLOSED_ELSEWHERE, 0o600)
            try:
                _reserve(descriptor, self.size)
                os.lseek(descriptor, 0, os.SEEK_SET)
                _write_all(descriptor, content)
            finally:
                os.close(descriptor)
            draft.replace(path)  # with its header already, as somebody may read it from now on
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        descriptor = os.open(path, os.O_RDWR | _CLOSED_ELSEWHERE)
        try:
            return Segment(number, seed, _mapped(descriptor, self.size), path)
        except OSError:  # a file system that maps nothing: written call by call
            return Segment(number, seed, self._buffer(number, seed), path, os.dup(descriptor), HEADER.size)
        finally:
            os.close(descriptor)

    def _buffer(self, number: int, seed: int) -> bytearray:
        return bytearray(segment_header(number, seed, self.size).ljust(self.size, b"\0"))


def _write_all(descriptor: int, content: bytes) -> None:
    written = 0
    while written < len(content):
        written += os.write(descriptor, content[written:])


def _spare(path: Path) -> Path:
    return path.with_suffix(f".spare-{secrets.token_hex(4)}")


def _mapped(descriptor: int, size: int) -> mmap.mmap:
    """Map a file, with its pages at hand.

    A process that is killed while the kernel brings a page leaves the part of a record that lies before it, which looks
    like damage; bringing them at once also costs less than one by one.
    """
    mapped = mmap.mmap(descriptor, size)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a kernel before 5.14
            mapped.madvise(_POPULATE_WRITE)
    return mapped


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
            os.write(descriptor, bytes(min(1 << 20, size - start)))
