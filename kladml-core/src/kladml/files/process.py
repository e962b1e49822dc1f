"""Whether a process of this machine is still there, also when its number has been given to another one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_ENDED = ("Z", "X")
_STATE, _STARTED = 0, 19
"""Fields of /proc/PID/stat after the name: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html"""


def birth_of(process: int) -> str:
    """Return what tells a process from an earlier or later one of the same number; empty where nothing does.

    It is made of the start of the machine, the namespace of process numbers, and the start of the process there.
    """
    fields = _fields(process)
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()} {fields[_STARTED]}" if fields else ""
    except (OSError, ValueError):
        return ""


def is_gone(process: int, birth: str = "") -> bool:
    """Tell whether a process has ended; where that cannot be told, it has not.

    Args:
        process: Its number on this machine.
        birth: What `birth_of` told of it while it was there.
    """
    *here, _ = birth_of(os.getpid()).split(" ") or [""]
    *there, _ = birth.split(" ") or [""]
    if here and there:
        if here[0] == there[0] and here != there:
            return False  # in another container, where its number means another process
        return here != there or birth_of(process) != birth
    if sys.platform == "win32":
        return False  # asking would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _fields(process: int) -> list[str]:
    """Return what Linux tells of a process; nothing of one that has ended, and nothing elsewhere."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    fields = text.rpartition(")")[2].split()
    return fields if len(fields) > _STARTED and fields[_STATE] not in _ENDED else []
