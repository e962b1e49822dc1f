"""The object store: every content once, under its digest, read-only."""

from __future__ import annotations

import os
import secrets
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kladml.datasets import links
from kladml.datasets.hashing import copy_hashed, hash_file, may_be_equal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_TEMPORARY = "tmp"
_FLUSHED_ALONE = 64
"""With more new files than this, the whole file system is flushed once instead of each file."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that the store took.

    Attributes:
        digest: Its digest.
        size: Its bytes.
        is_new: Whether the store did not have this content before.
    """

    digest: str
    size: int
    is_new: bool


class ObjectStore:
    """Contents by digest: `ab/cdef…` in a folder.

    Whoever writes or removes holds the lock of the data sets; reading needs none, as a content never changes.

    Args:
        folder: The folder, which is made when something is stored.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        """Return where a content is, or would be."""
        return self.folder / digest[:2] / digest[2:]

    def size_of(self, digest: str) -> int | None:
        """Return how many bytes there are of a content, or None if it is not there."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def put(
        self,
        source: Path,
        tell: Callable[[int], object] | None = None,
        *,
        link: bool = False,
        likely: str | None = None,
    ) -> Stored:
        """Take a file into the store.

        Args:
            source: The file.
            tell: Is told each number of bytes that was read.
            link: Whether the file itself may become the object, by a hard link; it is read-only then.
            likely: The digest of a content that is there and whole, and that the file may still have. Unless a look
                at both shows that it does not, the file is hashed first, and copied only if it has to be.

        Raises:
            OSError: The file cannot be read, or the store cannot be written to; nothing is left there then.
        """
        if likely is not None and may_be_equal(source, self.path(likely)):
            digest, size = hash_file(source, tell), source.stat().st_size
            if digest == likely:
                return Stored(digest, size, is_new=False)
            tell = None
        temporary = self._temporary()
        try:
            if links.reflink(source, temporary) or (link and links.hard_link(source, temporary)):
                digest = hash_file(temporary, tell)
            else:
                digest = copy_hashed(source, temporary, tell)
            size = temporary.stat().st_size
            return Stored(digest, size, is_new=self._take(temporary, digest))
        finally:
            temporary.unlink(missing_ok=True)

    def take_downloaded(self, write: Callable[[Path], object], digest: str, size: int) -> str | None:
        """Take a content from elsewhere, if it is the expected one; return what is wrong with it otherwise.

        Args:
            write: Writes it to the path that it is given.
            digest: What its digest has to be.
            size: What its size has to be.
        """
        temporary = self._temporary()
        try:
            write(temporary)
            found_size, found = temporary.stat().st_size, hash_file(temporary)
            if (found_size, found) != (size, digest):
                return f"it has {found_size} bytes and the digest {found}, instead of {size} and {digest}"
            self._take(temporary, digest)
        finally:
            temporary.unlink(missing_ok=True)
        return None

    def flush(self, digests: list[str]) -> None:
        """Wait until contents are on the disk."""
        if len(digests) > _FLUSHED_ALONE and hasattr(os, "sync"):
            os.sync()
            return
        for path in {*(self.path(digest) for digest in digests), *(self.path(digest).parent for digest in digests)}:
            if path.is_dir() and os.name == "nt":
                continue
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def remove(self, digest: str) -> None:
        """Remove a content; harmless if it is not there."""
        path = self.path(digest)
        if path.exists():
            os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)  # noqa: PTH101 - Windows removes no read-only file
        path.unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """Yield the digests of all contents."""
        for folder in sorted(self.folder.glob("[0-9a-f][0-9a-f]")):
            for file in sorted(folder.iterdir()):
                yield folder.name + file.name

    def clear_temporary(self) -> None:
        """Remove what processes left that were killed."""
        for path in self.folder.glob(f"{_TEMPORARY}/*"):
            path.unlink(missing_ok=True)

    def _temporary(self) -> Path:
        folder = self.folder / _TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        return folder / secrets.token_hex(8)

    def _take(self, temporary: Path, digest: str) -> bool:
        """Give a file its place, also instead of one that may be damaged; tell whether there was none."""
        is_new, path = self.size_of(digest) is None, self.path(digest)
        path.parent.mkdir(exist_ok=True)
        # Permissions belong to the file and not to its name: of a hard link, the user's name is read-only as well.
        temporary.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
        temporary.replace(path)
        return is_new
