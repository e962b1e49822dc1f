"""One process at a time trains a run."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Self

from kladml.errors import TrainingError
from kladml.log import get_logger
from kladml.models.files import written_whole

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from kladml.interfaces import RunAddress

LOCK = "run.lock"
HOLDER = "holder.json"

log = get_logger(__name__)


class RunLock:
    """A lock on a run's folder, held by the process that trains the run.

    The operating system holds it and lets go of it when the process ends, however it ends, so that nothing of a
    process that was killed stands in the way. A note beside it says who has it. Processes that this one forks do
    not share it.

    Args:
        folder: The run's folder, which is made when the lock is taken.
        address: The run, for errors.
    """

    def __init__(self, folder: Path, address: RunAddress) -> None:
        self._lock = folder / LOCK
        self._note = folder / HOLDER
        self._address = address
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            TrainingError: Another process has it, or another training in this one.
        """
        holder = self._holder()
        # Looked at first: opening and closing the file would let go of the lock that this process has.
        if holder.get("process") == _own_name():
            raise self._refusal(holder)
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            raise self._refusal(self._holder()) from None
        except OSError as error:
            log.warning(
                f"{self._lock} cannot be locked ({error}): see that no other process trains run {self._address}"
            )
        self._descriptor = descriptor
        with written_whole(self._note) as temporary:
            note = {
                "process": _own_name(),
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            temporary.write_text(json.dumps(note), encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the lock."""
        self._note.unlink(missing_ok=True)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _holder(self) -> dict[str, object]:
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none yet, or none any more
            return {}
        return note if isinstance(note, dict) else {}

    def _refusal(self, holder: dict[str, object]) -> TrainingError:
        who = f"process {holder.get('pid', '?')} on {holder.get('host', '?')}, since {holder.get('since', '?')}"
        problem = f"run {self._address} is being trained by {who if holder else 'another process'}"
        return TrainingError(problem, next_step="wait until it ends, or end it first")


@cache
def _secret() -> str:
    return secrets.token_hex(8)


def _own_name() -> str:
    """Return what tells this process from all others, such as an earlier one of its number."""
    return f"{os.getpid()}-{_secret()}"


def _lock(descriptor: int) -> None:
    """Lock an open file for this process without waiting."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        # A lock of this kind belongs to the process, not to the open file: workers that are forked do not keep it.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
