"""A server that runs for as long as a command: no signal of the terminal reaches it, and nothing of it remains."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

_STOPPING = 10.0
_LOOKING = 0.05
_ENDING = ("SIGTERM", "SIGHUP")


def run_server(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> int | None:
    """Run a server until it ends or Ctrl-C ends it; SIGTERM and SIGHUP end it and then this process.

    It has a session of its own, which Ctrl-C in a terminal does not reach: the server and all that it started are
    asked to end, and killed if that takes more than ten seconds or the user insists.

    Args:
        command: The program and its arguments.
        log: Where its output goes, written anew; the folder is that in which it runs.
        environment: Its variables.

    Returns:
        Its exit status, or None after Ctrl-C.
    """
    with _signals_unwind(), log.open("wb") as output:
        server = subprocess.Popen(  # noqa: S603 - the caller's own program
            command,
            cwd=log.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            return server.wait()
        except KeyboardInterrupt:
            return None
        finally:
            _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    """End a server and what it started."""
    try:
        until = time.monotonic() + _STOPPING
        if _send(server, signal.SIGTERM):
            while _is_there(server) and time.monotonic() < until:
                time.sleep(_LOOKING)
    finally:
        _send(server, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        server.wait()


def _is_there(server: subprocess.Popen[bytes]) -> bool:
    """Tell whether the server, or something that it started, has not ended."""
    return server.poll() is None or _send(server, 0)


def _send(server: subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal to a server and what it started; tell whether there is anything of them."""
    if sys.platform == "win32":
        server.send_signal(number)
        return server.poll() is None
    try:
        os.killpg(server.pid, number)
    except (ProcessLookupError, PermissionError):  # macOS says the latter of a group in which all have ended
        return False
    return True


@contextmanager
def _signals_unwind() -> Iterator[None]:
    """Let the signals that end a process at once raise SystemExit in the block."""

    def end(received: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(128 + received)

    numbers = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
