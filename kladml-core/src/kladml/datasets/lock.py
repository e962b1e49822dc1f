"""One at a time changes the data sets of a workspace; others wait."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from kladml.errors import DataError
from kladml.files.lock import FolderLock, HeldError
from kladml.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PAUSE = 0.05
_SAY_AFTER = 1.0

log = get_logger(__name__)


@contextlib.contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Have a folder's lock; wait for it as long as it takes, and say so once.

    Args:
        folder: The folder.
        what: What waits, for the log.

    Raises:
        DataError: The folder cannot be made, or its file system has no locks.
    """
    lock = FolderLock(folder)
    begun, said = time.monotonic(), False
    while True:
        try:
            lock.take()
            break
        except OSError as error:
            problem = f"{folder.parent} cannot be written to: {error.strerror or error}"
            raise DataError(problem, next_step="check its permissions, and that the disk has room") from error
        except HeldError as error:
            if not said and time.monotonic() - begun > _SAY_AFTER:
                log.warning(f"{what} waits for {error}")
                said = True
            time.sleep(_PAUSE)
    try:
        yield
    finally:
        lock.let_go()
