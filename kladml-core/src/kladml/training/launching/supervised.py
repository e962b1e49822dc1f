"""The supervised side: what a process of a training does so that its supervisor can rely on it."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from functools import cache
from typing import TYPE_CHECKING

from kladml.training.launching.rank_folder import RankFolder, own_rank
from kladml.training.launching.stack_dump import answer_stack_requests

if TYPE_CHECKING:
    from pathlib import Path


def accept_supervision() -> RankFolder | None:
    """Answer the supervisor's requests for the stack, and end with it; return its folder, None if there is none.

    Call it as early as possible. Calling it again does nothing.
    """
    folder = RankFolder.from_environment()
    if folder is not None:
        _accept(folder)
    return folder


@cache
def _accept(folder: RankFolder) -> None:
    if not faulthandler.is_enabled():  # a crash in C code says then where it happened
        faulthandler.enable(all_threads=False)
    answer_stack_requests(folder, own_rank())
    threading.Thread(target=_end_with_supervisor, args=(folder.lock,), name="kladml-supervisor", daemon=True).start()


def _end_with_supervisor(lock: Path) -> None:
    """Wait until the supervisor no longer holds its lock, and end this process and those that it started.

    A supervisor that was killed could not end them, and they would go on writing the run's checkpoints
    beside a run that is resumed meanwhile.
    """
    import fcntl

    try:
        with lock.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
    except FileNotFoundError:  # it is gone, and has cleaned up
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
