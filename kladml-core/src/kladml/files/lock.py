"""One process at a time has a folder."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from kladml.files.process import birth_of, is_gone
from kladml.files.whole import written_whole

if TYPE_CHECKING:
    from pathlib import Path

LOCK = "run.lock"
HOLDER = "holder.json"

_TRIES = 10


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
        self._name = (0, "")

    def take(self) -> None:
        """Take the lock.

        Raises:
            HeldError: Another process has it, or someone else in this one.
            OSError: The folder cannot be made, or its file system has no locks.
        """
        # Asked first: opening and closing the file would let go of the lock that this process has.
        name = (os.getpid(), os.path.realpath(self._lock))  # a process that is forked from this one does not have it
        if _held_here().setdefault(name, self) is not self or self._descriptor is not None:
            raise HeldError(self._who())
        try:
            self._descriptor, self._name = self._locked(), name
        finally:
            if self._descriptor is None:
                del _held_here()[name]
        with suppress(OSError):  # a disk that is full: the lock holds, and nobody learns whose it is
            write_note(self._note.parent)

    def let_go(self) -> None:
        """Let go of the lock; harmless if it was not taken."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if self._name[0] == os.getpid():
            with suppress(OSError):
                if self._is_here(descriptor):
                    self._note.unlink(missing_ok=True)
            del _held_here()[self._name]
        os.close(descriptor)

    def _locked(self) -> int:
        """Return the file, open and locked."""
        for _ in range(_TRIES):
            self._lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o666)
            is_taken = False
            try:
                _lock(descriptor)
                is_taken = self._is_here(descriptor)
                if is_taken:
                    return descriptor
            except (BlockingIOError, PermissionError):
                raise HeldError(self._who()) from None
            finally:
                if not is_taken:
                    os.close(descriptor)
        raise OSError(errno.ESTALE, "the file is another one each time it is opened", str(self._lock))

    def _is_here(self, descriptor: int) -> bool:
        """Tell whether an open file is the folder's lock; else the folder was removed meanwhile, by who had it."""
        try:
            return os.path.samestat(os.fstat(descriptor), self._lock.stat())
        except FileNotFoundError:
            return False

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


def write_note(folder: Path) -> None:
    """Note in a folder that this process has it.

    Raises:
        OSError: The folder cannot be written to.
    """
    with written_whole(folder / HOLDER) as temporary:
        note = {
            "pid": os.getpid(),
            "birth": birth_of(os.getpid()),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        temporary.write_text(json.dumps(note), encoding="utf-8")


def lost_holder(folder: Path) -> int | None:
    """Return the process of this machine that had a folder and ended without letting go of it, or None."""
    try:
        note = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        process, birth = int(note["pid"]), str(note.get("birth", ""))
        return process if note["host"] == socket.gethostname() and is_gone(process, birth) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


@cache
def _held_here() -> dict[tuple[int, str], FolderLock]:
    """Return the locks that this process has: the operating system would give it each of them again."""
    return {}


def _lock(descriptor: int) -> None:
    """Lock an open file for this process without waiting."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        # A lock of this kind belongs to the process, not to the open file: workers that are forked do not keep it.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
