"""The files that the references of a run name: what they hold, and whether Git knows them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kladml.runner.provenance import is_tracked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

REFERENCES = ("model.ref", "model.loss", "data.train", "data.val")
"""Configuration keys that may name a file of code."""


def named_files(references: Iterable[Any], folders: Sequence[Path]) -> dict[str, Path]:
    """Return the files of code that references name, each by its path as the reference writes it.

    Args:
        references: Such as `model.py:Net`; what names no such file, or one that is not there, is left out.
        folders: Where relative files are looked for, in this order.
    """
    found: dict[str, Path] = {}
    for reference in references:
        place, colon, _ = reference.rpartition(":") if isinstance(reference, str) else ("", "", "")
        if not colon or not place.endswith(".py"):
            continue
        file = next((file for folder in folders if (file := Path(folder, place)).is_file()), None)
        if file is not None:
            found[place] = file.resolve()
    return found


def digests(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the SHA-256 of each file that can be read, in hexadecimal digits."""
    found = {}
    for name, file in files.items():
        try:
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
        except OSError:  # it was imported, and is gone by now
            continue
    return found


def untracked(files: Mapping[str, Path]) -> list[str]:
    """Return the names of those files that Git does not track."""
    return [name for name, file in files.items() if not is_tracked(file)]
