"""Digests of files, and of all files of a version together: BLAKE2b with 256 bits, as `b2sum -l 256` gives it."""

from __future__ import annotations

import errno
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from kladml.datasets.direct_copy import DirectWriter, copy_direct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from io import FileIO
    from pathlib import Path

    from kladml.datasets.manifest import FileEntry

PREFIX = "blake2b:"
DIGEST_BYTES = 32

_CHUNK = 1 << 20
"""Bytes that are read at once; larger ones fall out of the processor's cache and make it slower."""

_PIECE = 64 << 20
"""Bytes that are copied before they are hashed: few enough to be in memory still."""

_SAMPLES = 64
_SAMPLE = 1 << 16
"""Bytes of a sample: all of them are 4 MB, a fraction of a large file."""

LARGE = 16 << 20
"""From how many bytes on a copy is written past the page cache."""

_CANNOT_COPY = frozenset((errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM))
"""What copy_file_range says where it does not work, such as between some file systems."""


def hash_file(path: Path, tell: Callable[[int], object] | None = None) -> str:
    """Return the digest of a file, as hexadecimal digits; its size does not matter for the memory.

    Args:
        path: The file.
        tell: Is told each number of bytes that was read.
    """
    digest = _hash()
    view = memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(view):
            digest.update(view[:count])
            if tell is not None:
                tell(count)
    return str(digest.hexdigest())


def may_be_equal(one: Path, other: Path) -> bool:
    """Tell whether two files are of one size and, if they are large, agree in samples that are taken throughout.

    False means that they differ. Small files are not read, as hashing one takes no longer.
    """
    with one.open("rb", buffering=0) as first, other.open("rb", buffering=0) as second:
        size = os.fstat(first.fileno()).st_size
        if size != os.fstat(second.fileno()).st_size:
            return False
        if size < LARGE:
            return True
        for number in range(_SAMPLES):
            place = (size - _SAMPLE) * number // (_SAMPLES - 1)
            first.seek(place)
            second.seek(place)
            if first.read(_SAMPLE) != second.read(_SAMPLE):
                return False
    return True


def copy_hashed(source: Path, target: Path, tell: Callable[[int], object] | None = None) -> str:
    """Copy a file, and return the digest of exactly those bytes that were written.

    A large file is written past the page cache, in which two copies of the data would compete with all else, from the
    memory that was hashed. Where that does not work, and for small files, the system copies a piece, without a way
    through this process where it can, and the piece is hashed from the copy while it is still in memory; meanwhile a
    thread has the next one copied.

    Args:
        source: The file.
        target: The copy, which must not exist.
        tell: Is told each number of bytes that was copied.
    """
    digest = _hash()

    def hash_piece(piece: memoryview) -> None:
        digest.update(piece)
        if tell is not None:
            tell(len(piece))

    with source.open("rb", buffering=0) as origin, target.open("xb", buffering=0) as copy:
        if os.fstat(origin.fileno()).st_size >= LARGE and (writer := DirectWriter(copy)).is_direct:
            copy_direct(origin, writer, hash_piece)
        else:
            _copy_by_system(origin, copy, target, hash_piece)
    return str(digest.hexdigest())


def fingerprint(files: Iterable[FileEntry]) -> str:
    """Return the fingerprint of a version: `blake2b:` and a digest over names, sizes and digests of its files.

    It depends on nothing else, so that equal content has an equal fingerprint on every machine.
    """
    digest = _hash()
    for file in sorted(files, key=lambda file: file.name):
        # A name holds no control character, so that lines cannot be mistaken.
        digest.update(f"{file.digest} {file.size} {file.name}\n".encode())
    return f"{PREFIX}{digest.hexdigest()}"


def _hash() -> Any:
    return hashlib.blake2b(digest_size=DIGEST_BYTES)


def _copy_by_system(source: FileIO, copy: FileIO, target: Path, read: Callable[[memoryview], object]) -> None:
    """Copy a file piece by piece; `read` is given what the copy holds."""
    view = memoryview(bytearray(_CHUNK))
    with target.open("rb", buffering=0) as copied:
        ahead = _copy_piece(source, copy)
        if ahead < _PIECE:  # a small file is not worth a thread
            _read_piece(copied, ahead, view, read)
            return
        with ThreadPoolExecutor(1, "kladml-copy") as copier:
            while ahead:
                following = copier.submit(_copy_piece, source, copy)
                _read_piece(copied, ahead, view, read)
                ahead = following.result()


def _copy_piece(source: FileIO, target: FileIO) -> int:
    """Copy the next piece of a file; return its bytes, fewer than `_PIECE` at the end alone."""
    done = 0
    while done < _PIECE:
        count = _copy_some(source, target, _PIECE - done)
        if not count:
            break
        done += count
    return done


def _copy_some(source: FileIO, target: FileIO, most: int) -> int:
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(source.fileno(), target.fileno(), most)
        except OSError as error:
            if error.errno not in _CANNOT_COPY:
                raise
    rest = memoryview(source.read(min(most, _CHUNK)))
    count = len(rest)
    while rest:  # a raw file may take less than it is given
        rest = rest[target.write(rest) :]
    return count


def _read_piece(file: FileIO, size: int, view: memoryview, read: Callable[[memoryview], object]) -> None:
    while size:
        count = file.readinto(view[: min(size, _CHUNK)])
        if not count:
            message = f"{file.name} ended early"
            raise OSError(message)
        read(view[:count])
        size -= count
