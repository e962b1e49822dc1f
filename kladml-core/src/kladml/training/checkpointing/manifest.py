"""The manifest of a checkpoint: what it consists of, and whether that is what is there. Nothing here imports torch."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from kladml.errors import CheckpointError
from kladml.log import get_logger
from kladml.training.checkpointing.format import (
    MANIFEST,
    MODEL,
    OPTIMIZER,
    STATE,
    FileEntry,
    rank_file,
    step_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

FORMAT = 1
CHANGED = "is not what was written"

_REQUIRED = (MODEL, OPTIMIZER, STATE)

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a checkpoint consists of.

    Attributes:
        sequence: Place in the order in which the checkpoints of a folder were written, from 1.
        is_best: Whether it was the best one so far; the newest such checkpoint of a folder is its best one.
        saved_at: When it was written, in ISO 8601 with UTC offset.
        files: Every other file of the folder, by name.
    """

    sequence: int
    is_best: bool
    saved_at: str
    files: Mapping[str, FileEntry]

    @classmethod
    def of(cls, files: Mapping[str, FileEntry], sequence: int, *, is_best: bool) -> Manifest:
        """Return the manifest of files that were written just now."""
        return cls(sequence, is_best, datetime.now(UTC).isoformat(timespec="seconds"), files)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read and check the manifest of a checkpoint, but not its files.

        Raises:
            CheckpointError: It is absent or damaged, or was written by a newer KladML.
        """
        try:
            data = (folder / MANIFEST).read_bytes()
        except OSError as error:
            raise _incomplete(folder, f"{MANIFEST} cannot be read ({error.strerror or error})") from error
        return cls.decode(data, folder)

    @classmethod
    def decode(cls, data: bytes, place: object) -> Manifest:
        """Return the manifest that `encode` encoded.

        Args:
            data: What was written.
            place: The checkpoint, as messages name it.

        Raises:
            CheckpointError: It is damaged, or was written by a newer KladML.
        """
        try:
            content = json.loads(data)
            if content.pop("sha256") != _digest_of(content):
                raise damaged(place, MANIFEST)
            if content["format"] > FORMAT:
                problem = f"the checkpoint {place} has the format {content['format']}, and this KladML knows {FORMAT}"
                raise CheckpointError(problem, next_step="install a newer KladML")
            files = {name: FileEntry(int(entry["size"]), entry["sha256"]) for name, entry in content["files"].items()}
            sequence, is_best, saved_at = content["sequence"], content["is_best"], content["saved_at"]
            manifest = cls(int(sequence), is_best is True, str(saved_at), files)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _incomplete(place, f"{MANIFEST} is no manifest ({type(error).__name__}: {error})") from error
        for name in files:
            if not _is_plain(name):
                raise _incomplete(place, f"{MANIFEST} names {name!r}, which is no file of a checkpoint")
        needed = (*_REQUIRED, *(rank_file(rank) for rank in range(len(manifest.ranks))))
        absent = [name for name in needed if name not in files]
        if absent:
            raise _incomplete(place, f"{MANIFEST} leaves out {', '.join(absent)}")
        return manifest

    def encode(self) -> bytes:
        """Return the manifest as it is written, with a digest of itself."""
        files = {name: {"size": entry.size, "sha256": entry.sha256} for name, entry in self.files.items()}
        content = {
            "format": FORMAT,
            "sequence": self.sequence,
            "is_best": self.is_best,
            "saved_at": self.saved_at,
            "files": files,
        }
        return json.dumps({**content, "sha256": _digest_of(content)}, indent=1).encode()

    @property
    def ranks(self) -> list[str]:
        """Names of the files of single processes, by rank."""
        return sorted(name for name in self.files if re.fullmatch(r"rank-\d{5}\.safetensors", name))


def checked_files(
    path: Path, progress: Callable[[int], object] = lambda _: None
) -> Iterator[tuple[str, FileEntry, str]]:
    """Yield every file of a checkpoint: its name, what the manifest says of it, and what is wrong with it, or nothing.

    Args:
        path: The checkpoint.
        progress: Called with each number of bytes that was read.

    Raises:
        CheckpointError: The manifest itself is absent or damaged.
    """
    for name, entry in Manifest.read(path).files.items():
        try:
            complaint = "" if entry.describes(path / name, progress) else CHANGED
        except OSError as error:
            complaint = f"cannot be read ({error.strerror or error})"
        yield name, entry, complaint


def verify(path: Path, progress: Callable[[int], object] = lambda _: None) -> None:
    """Check every file of a checkpoint against its manifest.

    Args:
        path: The checkpoint.
        progress: Called with each number of bytes that was read.

    Raises:
        CheckpointError: The manifest or a file is absent, cut or changed.
    """
    for name, _, complaint in checked_files(path, progress):
        if complaint == CHANGED:
            raise damaged(path, name)
        if complaint:
            raise _incomplete(path, f"{name} {complaint}")


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the folders in a folder that are named as checkpoints are, in the order of writing.

    One whose manifest is absent or damaged counts as the oldest.
    """
    found = [(step, path) for path in folder.glob("step-*") if (step := step_of(path.name)) and path.is_dir()]
    return [path for _, _, path in sorted((sequence_of(path), step, path) for step, path in found)]


def sequence_of(path: Path) -> int:
    """Return a checkpoint's place in the order of writing; 0 if its manifest is absent or damaged."""
    try:
        return Manifest.read(path).sequence
    except CheckpointError:
        return 0


def latest_in(folder: Path) -> Path | None:
    """Return the newest checkpoint of a folder that verifies; one that does not is reported and passed over."""
    newest_first = checkpoints_in(folder)[::-1]
    # Where a manifest is damaged, nobody knows how new its checkpoint was: it is reported in any case.
    for path in sorted(newest_first, key=lambda path: sequence_of(path) > 0):
        try:
            verify(path)
        except CheckpointError as error:
            if path.is_dir():  # a training may have pruned it meanwhile
                log.warning(f"{error.problem}; it is passed over")
        else:
            return path
    return None


def best_in(folder: Path) -> Path | None:
    """Return the newest checkpoint of a folder that was the best one when it was saved, or None."""
    return next((path for path in reversed(checkpoints_in(folder)) if _is_marked(path)), None)


def _is_marked(path: Path) -> bool:
    try:
        return Manifest.read(path).is_best
    except CheckpointError:
        return False


def _is_plain(name: str) -> bool:
    """Tell whether a name stays in its folder, on every system."""
    return name not in {"", ".", "..", MANIFEST} and PurePosixPath(name).name == PureWindowsPath(name).name == name


def _digest_of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def damaged(place: object, name: str) -> CheckpointError:
    """Return the error for a file of a checkpoint that is not what was written."""
    problem = f"the checkpoint {place} is damaged: {name} {CHANGED}"
    return CheckpointError(problem, next_step="use an older checkpoint")


def _incomplete(place: object, complaint: str) -> CheckpointError:
    problem = f"the checkpoint {place} is incomplete: {complaint}"
    return CheckpointError(problem, next_step="use an older checkpoint")
