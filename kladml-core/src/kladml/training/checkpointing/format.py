"""The files of a checkpoint: their names, and how they are written. Nothing here imports torch."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

MANIFEST = "MANIFEST.json"
MODEL = "model.safetensors"
OPTIMIZER = "optimizer.safetensors"
STATE = "state.json"
BEST = "best.json"

_ITEMS = "items of a mapping"
# Each chunk is hashed and written without the interpreter's lock; between two of them the training thread may keep
# the lock for up to 5 ms, so that small chunks would make a save take many times as long.
_CHUNK = 16 * 2**20
_BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class SavedCheckpoint:
    """A checkpoint that is complete on the disk.

    Attributes:
        path: Its folder.
        step: Optimizer steps that were taken before it.
        is_best: Whether it was the best one so far when it was saved.
    """

    path: Path
    step: int
    is_best: bool


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What a manifest says of a file.

    Attributes:
        size: Bytes.
        sha256: Digest of the content, in hexadecimal digits.
    """

    size: int
    sha256: str

    def describes(self, file: Path, tell: Callable[[int], object] = lambda _: None) -> bool:
        """Tell whether a file is what was written.

        Args:
            file: The file.
            tell: Is told each number of bytes that was read.

        Raises:
            OSError: It cannot be read.
        """
        if file.stat().st_size != self.size:
            return False
        with file.open("rb", buffering=0) as content:
            digest, view = hashlib.sha256(), memoryview(bytearray(_BLOCK))
            while count := content.readinto(view):
                digest.update(view[:count])
                tell(count)
            return digest.hexdigest() == self.sha256


def rank_file(rank: int) -> str:
    """Return the name of the file of one process."""
    return f"rank-{rank:05d}.safetensors"


def write_file(path: Path, parts: Iterable[Any]) -> FileEntry:
    """Write a new file, hashed on its way, and wait until it is on the disk.

    Args:
        path: The file.
        parts: Its content, as buffers one after another.

    Raises:
        OSError: It cannot be written.
    """
    digest, size = hashlib.sha256(), 0
    # Unbuffered: a process forked meanwhile must not have a copy of bytes to flush.
    with path.open("xb", buffering=0) as file:
        for part in parts:
            content = memoryview(part).cast("B")
            size += len(content)
            for start in range(0, len(content), _CHUNK):
                chunk = content[start : start + _CHUNK]
                digest.update(chunk)
                while chunk:
                    chunk = chunk[file.write(chunk) :]
        os.fsync(file.fileno())
    return FileEntry(size, digest.hexdigest())


def fsync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    if os.name == "nt":
        return  # Windows cannot open folders; renaming is journalled there
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def point_best_to(checkpoint: Path) -> None:
    """Make a checkpoint the best one of its folder, at once or not at all.

    Raises:
        OSError: The pointer cannot be written; the one before it stays.
    """
    temporary = checkpoint.parent / f".tmp-best-{secrets.token_hex(4)}"
    try:
        write_file(temporary, [encode_best(checkpoint.name)])
        temporary.replace(checkpoint.parent / BEST)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(checkpoint.parent)


def encode_best(name: str) -> bytes:
    """Return the pointer to the best checkpoint as it is written."""
    return encode_json({"checkpoint": name})


def encode_json(value: Any) -> bytes:
    """Return data as JSON.

    Raises:
        TypeError: It holds something other than plain values and numbers of arrays.
        ValueError: It holds itself.
    """
    return json.dumps(_plain(value), indent=1, default=_number).encode()


def decode_json(data: str | bytes) -> Any:
    """Return the data that `encode_json` encoded.

    Raises:
        ValueError: It is no JSON.
    """
    return json.loads(data, object_hook=_mapping)


def step_of(name: str) -> tuple[int, int] | None:
    """Return the step of a checkpoint by its folder's name, and how many of the same step came before it.

    None is for names that are no checkpoint's.
    """
    found = re.fullmatch(r"step-(\d+)(?:-(\d+))?", name)
    return (int(found[1]), int(found[2] or 0)) if found else None


def _plain(value: Any) -> Any:
    """Return data with mappings as JSON can keep them: one whose keys are no text becomes a list of its items."""
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: _plain(inner) for key, inner in value.items()}
        return {_ITEMS: [[key, _plain(inner)] for key, inner in value.items()]}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _mapping(value: dict[str, Any]) -> dict[Any, Any]:
    return dict(value[_ITEMS]) if value.keys() == {_ITEMS} else value


def _number(value: Any) -> Any:
    if getattr(value, "shape", None) == ():  # tensors and NumPy numbers in schedules and metrics
        return value.item()
    message = f"{type(value).__name__} cannot be part of a checkpoint: {value!r}"
    raise TypeError(message)
