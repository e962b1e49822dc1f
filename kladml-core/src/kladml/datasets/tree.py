"""The files that a path stands for: one file, or all below a folder, and nothing outside of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kladml.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that is to become part of a version.

    Attributes:
        name: Its name in the version: relative, with `/`.
        path: Where it is.
        size: Its bytes.
    """

    name: str
    path: Path
    size: int


def list_tree(path: Path) -> list[SourceFile]:
    """Return the files of a path in the order of their names.

    Hidden files and folders, those whose name starts with a dot, are left out.

    Args:
        path: A file, which has its own name in the version, or a folder.

    Raises:
        DataError: There is nothing, or something that cannot be kept: a link that leaves the folder, a device, a
            name with control characters.
    """
    try:
        root = path.resolve(strict=True)
        if not (root.is_file() or root.is_dir()):
            problem = f"{path} is no regular file and no folder"
            raise DataError(problem, next_step="name a file or a folder with files")
        found = (
            [_file(root, path.name)] if root.is_file() else sorted(_walk(root, root, ""), key=lambda file: file.name)
        )
    except FileNotFoundError as error:
        problem = f"{error.filename or path} does not exist"
        raise DataError(problem, next_step="name a file or a folder with files") from None
    except OSError as error:
        problem = f"{error.filename or path} cannot be read: {error.strerror or error}"
        raise DataError(problem, next_step="check the path and its permissions") from error
    if not found:
        problem = f"{path} holds no files"
        raise DataError(problem, next_step="name a file or a folder with files")
    return found


def _walk(root: Path, folder: Path, prefix: str) -> Iterator[SourceFile]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path, name = Path(entry.path), check_file_name(f"{prefix}{entry.name}")
            if entry.is_symlink():
                _check_link(root, path, name)
            if entry.is_dir():
                yield from _walk(root, path, f"{name}/")
            else:
                yield _file(path, name)


def _check_link(root: Path, path: Path, name: str) -> None:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        problem = f"{root / name} is a link to nothing"
        raise DataError(problem, next_step="remove it, or put the file in its place") from None
    if not target.is_relative_to(root):
        problem = f"{root / name} is a link to {target}, outside of the folder"
        raise DataError(problem, next_step="put the file itself in its place")
    if target.is_dir():
        problem = f"{root / name} is a link to a folder"
        raise DataError(problem, next_step="put the files themselves in its place")


def _file(path: Path, name: str) -> SourceFile:
    if not path.is_file():
        problem = f"{path} is no regular file"
        raise DataError(problem, next_step="remove it from the data")
    return SourceFile(check_file_name(name), path, path.stat().st_size)


def check_file_name(name: str) -> str:
    """Return the name of a file in a version if it can be one on every system.

    Raises:
        DataError: It is absolute, leaves the folder, or has characters that are no text.
    """
    parts = name.split("/")
    if not name.isprintable() or "\\" in name or any(part in ("", ".", "..") for part in parts) or ":" in parts[0]:
        problem = f"{name!r} cannot be the name of a file in a data set"
        raise DataError(problem, next_step="rename it, without backslashes, control characters or '..'")
    return name
