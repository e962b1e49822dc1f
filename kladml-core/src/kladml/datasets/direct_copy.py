"""Writing large files past the page cache: a copy that nobody reads soon costs the processor next to nothing then."""

from __future__ import annotations

import errno
import mmap
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from io import FileIO

BLOCK = 4 << 20
"""Bytes that are written at once, a multiple of what disks and memory are aligned to."""

_BUFFERS = 3
"""One is read into and hashed, one is written, one waits in between."""

_PIECE = 1 << 20
"""Bytes that are read at once; larger ones fall out of the processor's cache before they are hashed."""


class DirectWriter:
    """Writes a new file's blocks directly to the disk, where its file system can do that, and its rest as usual.

    Args:
        file: The file, open for writing and unbuffered, at its beginning.
    """

    def __init__(self, file: FileIO) -> None:
        self._descriptor = file.fileno()
        self.is_direct = self._set_direct(wanted=True)

    def write(self, data: memoryview) -> None:
        """Write bytes after those that were written; all but the last ones are whole blocks."""
        if self.is_direct and len(data) % BLOCK:
            self._go_on_as_usual()
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except OSError as error:
                # A short write leaves an odd rest, and some file systems accept the flag and then no block.
                if not self.is_direct or error.errno != errno.EINVAL:
                    raise
                self._go_on_as_usual()

    def _go_on_as_usual(self) -> None:
        self._set_direct(wanted=False)
        self.is_direct = False

    def _set_direct(self, *, wanted: bool) -> bool:
        """Switch direct writing on or off; tell whether that worked."""
        if not hasattr(os, "O_DIRECT"):
            return False
        import fcntl

        try:
            flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
            flags = flags | os.O_DIRECT if wanted else flags & ~os.O_DIRECT
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags)
        except OSError:  # a file system that cannot, such as one in memory
            return False
        return True


def copy_direct(source: FileIO, writer: DirectWriter, read: Callable[[memoryview], object]) -> None:
    """Copy the rest of a file; a thread writes while the next block is read.

    Args:
        source: The file.
        writer: Writes the copy.
        read: Is given each piece that was read, before it is written; the same bytes are written.
    """
    free = deque(memoryview(mmap.mmap(-1, BLOCK)) for _ in range(_BUFFERS))  # aligned to pages
    written: deque[tuple[memoryview, Future[None]]] = deque()
    with ThreadPoolExecutor(1, "kladml-write") as thread:
        while True:
            if not free:
                block, done = written.popleft()
                done.result()
                free.append(block)
            block = free.popleft()
            count = 0
            while count < BLOCK and (more := source.readinto(block[count : min(count + _PIECE, BLOCK)])):
                read(block[count : count + more])
                count += more
            if count:
                written.append((block, thread.submit(writer.write, block[:count])))
            if count < BLOCK:
                break
        for _, done in written:
            done.result()
