"""Which key belongs to which file when a folder goes into a bucket or comes out of it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from kladml.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable


def start_of(prefix: str) -> str:
    """Return how the keys of a folder start: its name with one slash, or nothing for the top of a bucket."""
    return f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""


def files_by_key(local_dir: str | Path, prefix: str) -> dict[str, Path]:
    """Return every file below a folder by the key that it is stored under, in the order of the keys.

    Raises:
        StorageError: There is no such folder.
    """
    root = Path(local_dir)
    if not root.is_dir():
        problem = f"there is no folder {root} to upload"
        raise StorageError(problem, next_step="check the path")
    start = start_of(prefix)
    files = {f"{start}{path.relative_to(root).as_posix()}": path for path in root.rglob("*") if path.is_file()}
    return dict(sorted(files.items()))


def paths_by_key(keys: Iterable[str], prefix: str, local_dir: str | Path) -> dict[str, Path]:
    """Return the local path of every key of a folder.

    Empty objects whose keys end in `/`, with which object stores mark folders, are left out.

    Raises:
        StorageError: A key would leave the local folder.
    """
    start = start_of(prefix)
    paths = {}
    for key in keys:
        if key.endswith("/"):
            continue
        relative = Path(*PurePosixPath(key.removeprefix(start)).parts)
        # On Windows a drive or a backslash would leave the folder just as `..` does.
        if relative.anchor or ".." in relative.parts or "\\" in key:
            problem = f"the key '{key}' would leave the folder {local_dir}"
            raise StorageError(problem, next_step="rename or delete the object")
        paths[key] = Path(local_dir, relative)
    return paths
