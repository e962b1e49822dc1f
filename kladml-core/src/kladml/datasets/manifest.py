"""What is known of a version: its files with their digests, and where it came from. One JSON file each."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from kladml.datasets.hashing import fingerprint
from kladml.datasets.reference import DatasetReference, check_name
from kladml.datasets.schema import Schema
from kladml.datasets.tree import check_file_name
from kladml.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of a version.

    Attributes:
        name: Its name: relative, with `/`.
        size: Its bytes.
        digest: BLAKE2b of its content, 64 hexadecimal digits.
    """

    name: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A version of a data set.

    Attributes:
        name: Name of the data set.
        version: Number of the version, from 1.
        files: Its files, in the order of their names.
        schema: What is known of its content.
        created_at: When it was added, in ISO 8601 with UTC offset.
        source: What was added, as it was named then.
        removed_at: When it was removed, or None; its number is never given again.
    """

    name: str
    version: int
    files: tuple[FileEntry, ...]
    schema: Schema
    created_at: str
    source: str
    removed_at: str | None = None

    @property
    def reference(self) -> DatasetReference:
        """The version's name, such as `digits@2`."""
        return DatasetReference(self.name, self.version)

    @property
    def fingerprint(self) -> str:
        """`blake2b:…` of all files; equal for equal content."""
        return fingerprint(self.files)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    def part(self, path: str) -> tuple[FileEntry, ...]:
        """Return the files that a path in the version stands for; all for an empty one.

        Raises:
            DataError: There are none.
        """
        found = tuple(file for file in self.files if path in ("", file.name) or file.name.startswith(f"{path}/"))
        if not found:
            problem = f"{self.reference} has no file '{path}'"
            raise DataError(problem, next_step=f"'kladml data show {self.reference}' lists its files")
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return the manifest as plain data."""
        return {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "fingerprint": self.fingerprint,
            "created_at": self.created_at,
            "source": self.source,
            "removed_at": self.removed_at,
            "size": self.size,
            "schema": self.schema.as_dict(),
            "files": [{"name": file.name, "size": file.size, "blake2b": file.digest} for file in self.files],
        }

    def to_json(self) -> str:
        """Return the manifest as the text of its file."""
        return json.dumps(self.as_dict(), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, file: Path, owner: str | None = None) -> Self:
        """Read a manifest and check it.

        Args:
            file: Where it is.
            owner: What errors say it belongs to.

        Raises:
            DataError: It is absent or damaged, or written by a newer version of KladML.
        """
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            written_by = int(content["format"])
            if written_by > FORMAT:
                problem = f"the manifest {file} has the format {written_by}, and this version of KladML knows {FORMAT}"
                raise DataError(problem, owner=owner, next_step="install a newer version of KladML")
            manifest = cls(
                check_name(content["name"]),
                int(content["version"]),
                tuple(_entry(entry) for entry in content["files"]),
                Schema.from_dict(content["schema"]),
                str(content["created_at"]),
                str(content["source"]),
                content["removed_at"],
            )
            stated = content["fingerprint"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            problem = f"the manifest {file} cannot be read: {type(error).__name__}: {error}"
            raise DataError(problem, owner=owner, next_step="restore it, as with 'kladml data pull'") from error
        if manifest.fingerprint != stated:
            problem = f"the manifest {file} was changed: its files do not give its fingerprint"
            raise DataError(problem, owner=owner, next_step="restore it, as with 'kladml data pull'")
        return manifest


def _entry(content: dict[str, Any]) -> FileEntry:
    name, size, digest = check_file_name(content["name"]), int(content["size"]), content["blake2b"]
    if not _DIGEST.fullmatch(digest) or size < 0:
        message = f"the file {name} has no digest"
        raise ValueError(message)
    return FileEntry(name, size, digest)
