"""One process at a time trains a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from kladml.errors import TrainingError
from kladml.files.lock import FolderLock, HeldError
from kladml.log import get_logger

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from kladml.interfaces import RunAddress

log = get_logger(__name__)


class RunLock:
    """A lock on a run's folder, held by the process that trains the run.

    Args:
        folder: The run's folder, which is made when the lock is taken.
        address: The run, for errors.
    """

    def __init__(self, folder: Path, address: RunAddress) -> None:
        self._folder = folder
        self._address = address
        self._lock = FolderLock(folder)

    def __enter__(self) -> Self:
        """Take the lock; a file system without locks is warned about.

        Raises:
            TrainingError: Another process has it, or another training in this one.
        """
        try:
            self._lock.take()
        except HeldError as held:
            problem = f"run {self._address} is being trained by {held}"
            raise TrainingError(problem, next_step="wait until it ends, or end it first") from None
        except OSError as error:
            log.warning(
                f"{self._folder} cannot be locked ({error}): see that no other process trains run {self._address}"
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the lock."""
        self._lock.let_go()
