"""Whether stored files are as they were, without reading them: their size and time of change were noted."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from kladml.datasets.hashing import hash_file
from kladml.errors import DataError
from kladml.files.whole import written_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from kladml.datasets.manifest import FileEntry, Manifest
    from kladml.datasets.objects import ObjectStore


class Seals:
    """What was noted of the files of a version when they were last known to be whole.

    A file whose size or time differs is read again, so that a copied workspace works, and a changed one does not.

    Args:
        file: Where it is noted; it may be lost without harm.
        objects: Where the files are.
    """

    def __init__(self, file: Path, objects: ObjectStore) -> None:
        self._file = file
        self._objects = objects

    def note(self, entries: Iterable[FileEntry]) -> None:
        """Note how files are that are known to be whole."""
        self._write({entry.digest: self._look(entry.digest) for entry in entries})

    def check(
        self,
        entries: Iterable[FileEntry],
        tell: Callable[[int], object] | None = None,
        *,
        thorough: bool = False,
    ) -> list[tuple[FileEntry, str]]:
        """Return the files that are not as they were, each with what is wrong.

        Args:
            entries: The files of the version that matter.
            tell: Is told each number of bytes that was read.
            thorough: Whether to read also those that look unchanged.
        """
        noted, faults, renewed = self._noted(), [], False
        for entry in entries:
            seen = self._look(entry.digest)
            if seen is None or seen[0] != entry.size:
                faults.append((entry, "is missing" if seen is None else f"has {seen[0]} bytes instead of {entry.size}"))
            elif thorough or noted.get(entry.digest) != seen:
                if hash_file(self._objects.path(entry.digest), tell) == entry.digest:
                    noted[entry.digest], renewed = seen, True
                else:
                    faults.append((entry, "has another content"))
        if renewed:
            with contextlib.suppress(OSError):  # a workspace that may only be read: the next time takes as long
                self._write(noted)
        return faults

    def require(self, manifest: Manifest, entries: Iterable[FileEntry]) -> None:
        """See that files are as they were.

        Raises:
            DataError: One is not.
        """
        faults = self.check(entries)
        if faults:
            raise damaged(manifest, faults)

    def _noted(self) -> dict[str, list[int] | None]:
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _write(self, noted: dict[str, list[int] | None]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(self._file) as temporary:
            temporary.write_text(json.dumps(noted), encoding="utf-8")

    def _look(self, digest: str) -> list[int] | None:
        try:
            found = self._objects.path(digest).stat()
        except FileNotFoundError:
            return None
        return [found.st_size, found.st_mtime_ns]


def damaged(manifest: Manifest, faults: list[tuple[FileEntry, str]]) -> DataError:
    """Return the error that says which files of a version changed under it."""
    entry, what = faults[0]
    more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
    problem = f"{manifest.reference} is not what was added: its file {entry.name} {what}{more}"
    hint = (
        f"'kladml data verify {manifest.reference}' lists all; restore it with 'kladml data pull {manifest.reference}'"
    )
    return DataError(problem, next_step=f"{hint}, or add the data again")
