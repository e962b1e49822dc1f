"""Files that share their bytes with others, where the file system can do that."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_FICLONE = 0x40049409  # linux/fs.h


def reflink(source: Path, target: Path) -> bool:
    """Make a new file that shares its blocks with another until one of the two changes; tell whether that is possible.

    Btrfs, XFS, bcachefs and some others can; there it takes no time and no space.
    """
    if sys.platform != "linux":
        return False
    import fcntl

    with source.open("rb") as origin, target.open("xb") as clone, contextlib.suppress(OSError):
        fcntl.ioctl(clone.fileno(), _FICLONE, origin.fileno())
        return True
    target.unlink()
    return False


def hard_link(source: Path, target: Path) -> bool:
    """Give a file a second name; tell whether that is possible."""
    try:
        os.link(source, target)
    except OSError:
        if not source.exists():
            raise
        return False
    return True


def copy(source: Path, target: Path, *, link: bool) -> None:
    """Make a file with the content of another: by a reflink, by a hard link if that is wanted, else by a copy."""
    if reflink(source, target) or (link and hard_link(source, target)):
        return
    shutil.copyfile(source, target)
