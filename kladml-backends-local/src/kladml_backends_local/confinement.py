"""Turning a relative name into a path that stays in its folder."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class EscapeError(ValueError):
    """A name is no relative path, or leads out of its folder; the text says why."""


def confined_path(folder: Path, name: str) -> Path:
    """Return the path of a name below a folder, checked.

    Args:
        folder: The folder; it may be absent.
        name: A relative POSIX path, such as `runs/3/model.safetensors`.

    Raises:
        EscapeError: The name has an empty part, `.` or `..`, starts with `/`, holds a character that no file name
            may have, or passes through a symbolic link that leaves the folder.
    """
    complaint = _complaint(name)
    if complaint:
        raise EscapeError(complaint)
    path = folder.joinpath(*name.split("/"))
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:  # a loop of links
        complaint = f"cannot be resolved: {error}"
        raise EscapeError(complaint) from error
    if not inside:
        complaint = f"leads out of {folder} through a symbolic link"
        raise EscapeError(complaint)
    return path


def _complaint(name: str) -> str | None:
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "is no relative path without empty parts, '.' and '..'"
    if "\0" in name or "\\" in name:
        return "holds a backslash or a NUL character"
    if os.name == "nt" and ":" in name:
        return "holds a colon, which names a drive or a stream on Windows"
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return "holds a character that no file name can have"
    return None
