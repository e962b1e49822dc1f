"""Digests of files, and of all files of a version together: BLAKE2b with 256 bits, as `b2sum -l 256` gives it."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from io import FileIO
    from pathlib import Path

    from kladml.datasets.manifest import FileEntry

PREFIX = "blake2b:"
DIGEST_BYTES = 32

_CHUNK = 1 << 20
"""Bytes that are read at once; larger ones fall out of the processor's cache and make it slower."""


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


def copy_hashed(source: FileIO, target: FileIO, tell: Callable[[int], object] | None = None) -> str:
    """Copy a file, and return the digest of exactly those bytes that were written.

    A thread writes while this one hashes, so that copying takes hardly longer than hashing.

    Args:
        source: Where to read, unbuffered.
        target: Where to write, unbuffered.
        tell: Is told each number of bytes that was copied.
    """
    digest = _hash()
    buffers = [memoryview(bytearray(_CHUNK)) for _ in range(2)]
    count = source.readinto(buffers[0])
    if count < _CHUNK:  # a small file is not worth a thread
        while count:
            digest.update(buffers[0][:count])
            _write(target, buffers[0][:count])
            if tell is not None:
                tell(count)
            count = source.readinto(buffers[0])
        return str(digest.hexdigest())
    with ThreadPoolExecutor(1, "kladml-copy") as writer:
        written: Future[None] | None = None
        while count:
            if written is not None:
                written.result()
            written = writer.submit(_write, target, buffers[0][:count])
            digest.update(buffers[0][:count])
            if tell is not None:
                tell(count)
            buffers.reverse()
            count = source.readinto(buffers[0])
        if written is not None:
            written.result()
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


def _write(target: FileIO, view: memoryview) -> None:
    while len(view):  # a raw file may take less than it is given
        view = view[target.write(view) :]
