"""Asking a process where it is: its Python stack, also while it is inside C code."""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import time
from pathlib import Path
from traceback import FrameSummary, StackSummary
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kladml.training.launching.rank_folder import RankFolder

_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<name>.*)$')
_PATIENCE = 1.0
"""Seconds that a process has for its answer."""


def answer_stack_requests(folder: RankFolder, rank: int) -> None:
    """Let this process, and those that it forks from now on, write their stack when `request_stack` asks for it."""
    file = folder.stack(rank).open("a", encoding="utf-8")  # faulthandler keeps it open
    faulthandler.register(signal.SIGUSR2, file=file, all_threads=False)


def request_stack(folder: RankFolder, rank: int, pid: int) -> list[StackSummary]:
    """Return the stack of a process and of those that it forked, such as data loader workers.

    Frames are in the order of a traceback: the most recent is the last. A process that did not call
    `answer_stack_requests` ends by the request, so it is for processes that are to be ended anyway.
    """
    path = folder.stack(rank)
    if not path.exists():
        return []
    stacks = [_ask(path, process) for process in (pid, *_children(pid))]
    return [stack for stack in stacks if stack]


def _ask(path: Path, pid: int) -> StackSummary:
    """Return one process's stack; empty if it gave none in time."""
    before = path.stat().st_size
    try:
        os.kill(pid, signal.SIGUSR2)
    except ProcessLookupError:
        return StackSummary()
    end, size = time.monotonic() + _PATIENCE, before
    while time.monotonic() < end:
        time.sleep(0.05)
        size, earlier = path.stat().st_size, size
        if size == earlier > before:  # it has been written, and to its end
            break
    with path.open(encoding="utf-8", errors="replace") as file:
        file.seek(before)
        found = [_FRAME.match(line.rstrip("\n")) for line in file]
    frames = [FrameSummary(match["file"], int(match["line"]), match["name"]) for match in found if match is not None]
    return StackSummary.from_list(frames[::-1])


def _children(pid: int) -> list[int]:
    """Return the child processes of another one; none where the system does not tell, as outside Linux."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except OSError:
        return []
