"""Folders for what is needed for a moment, in the workspace, as nothing is written outside of it."""

from __future__ import annotations

import contextlib
import errno
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from kladml.files.lock import lost_holder, write_note

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRATCH = "tmp"
"""Name of the folder of such folders in the state of a workspace."""

_FILES = "files"
_OLD = 7 * 24 * 3600.0
"""Seconds after which a folder is taken for a remainder of which nobody can tell whether its process has ended."""


@contextlib.contextmanager
def scratch_folder(state: Path | None) -> Iterator[Path]:
    """Give an empty folder, and remove it with all that is in it.

    What is left of processes that were killed is removed by the next one that needs such a folder.

    Args:
        state: The `.kladml` folder of the workspace. The system's folder for temporary files takes its place where
            it is None or may not be written to.

    Raises:
        OSError: The disk is full or fails.
    """
    own = None if state is None else _own_folder(state / SCRATCH)
    if own is None:
        with tempfile.TemporaryDirectory(prefix="kladml-") as folder:
            yield Path(folder)
        return
    try:
        yield own / _FILES
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _own_folder(parent: Path) -> Path | None:
    """Return a new folder that says whose it is, or None where nothing may be written."""
    own = parent / secrets.token_hex(8)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _clear(parent)
        own.mkdir(mode=0o700)  # what is in a storage may be for this user alone
        write_note(own)
        (own / _FILES).mkdir()
    except OSError as error:
        shutil.rmtree(own, ignore_errors=True)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return None
        raise
    return own


def _clear(parent: Path) -> None:
    """Remove what processes left that have ended, and what is old."""
    for folder in parent.iterdir():
        with contextlib.suppress(OSError):  # another process was first
            if lost_holder(folder) is not None or time.time() - folder.stat().st_mtime > _OLD:
                shutil.rmtree(folder, ignore_errors=True)
