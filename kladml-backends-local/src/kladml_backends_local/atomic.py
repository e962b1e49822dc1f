"""Putting a file in its place as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEMPORARY_PREFIX = ".kladml-tmp-"
"""How the names of unfinished files start; no listing shows them."""

_BLOCK = 1 << 20


def copy_into_place(source: Path, target: Path, tell: Callable[[int], object] | None = None) -> None:
    """Copy a file so that the target is either what it was or the whole copy, also after a power failure.

    Args:
        source: The file to copy.
        target: Where to put it; its folder must exist, and a file there is replaced.
        tell: Is told each number of bytes that was copied.

    Raises:
        OSError: The file cannot be read or written; the target is as it was.
    """
    temporary = target.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    try:
        with source.open("rb") as reader, temporary.open("xb") as writer:
            while block := reader.read(_BLOCK):
                writer.write(block)
                if tell is not None:
                    tell(len(block))
            writer.flush()
            os.fsync(writer.fileno())
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; Windows does that by itself and opens no folders."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
