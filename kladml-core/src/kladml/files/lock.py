"""One process at a time has a folder."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import sys
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from kladml.files.whole import written_whole

if TYPE_CHECKING:
    from pathlib import Path

LOCK = "run.lock"
HOLDER = "holder.json"


class HeldError(Exception):
    """Another process has the folder, or this one has it already; the message says who."""


class FolderLock:
    """A lock on a folder.

    The operating system holds it and lets go of it when the process ends, however it ends, so that nothing of a
    process that was killed stands in the way. A note beside it says who has it. Processes that this one forks do
    not share it.

    Args:
        folder: The folder, which is made when the lock is taken.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = folder / LOCK
        self._note = folder / HOLDER
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock.

        Raises:
            HeldError: Another process has it, or someone else in this one.
            OSError: The folder cannot be made, or its file system has no locks.
        """
        # Looked at first: opening and closing the file would let go of the lock that this process has.
        if self._holder().get("process") == _own_name():
            raise HeldError(self._who())
        while (descriptor := self._locked()) is None:
            pass
        self._descriptor = descriptor
        with written_whole(self._note) as temporary:
            note = {
                "process": _own_name(),
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            temporary.write_text(json.dumps(note), encoding="utf-8")

    def let_go(self) -> None:
        """Let go of the lock; harmless if it was not taken."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                self._note.unlink()
            os.close(self._descriptor)
            self._descriptor = None

    def _locked(self) -> int | None:
        """Lock the file and return it open; None if whoever had it removed it meanwhile, with its folder."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor)
            if os.path.samestat(os.fstat(descriptor), self._lock.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            raise HeldError(self._who()) from None
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def _holder(self) -> dict[str, object]:
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none yet, or none any more
            return {}
        return note if isinstance(note, dict) else {}

    def _who(self) -> str:
        holder = self._holder()
        if not holder:
            return "another process"
        return f"process {holder.get('pid', '?')} on {holder.get('host', '?')}, since {holder.get('since', '?')}"


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
