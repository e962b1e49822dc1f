"""Answering a shell that completes `kladml`: at once, and with nothing where something is wrong."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kladml_cli.completion.shells import SHELLS

if TYPE_CHECKING:
    import click

    from kladml_cli.options import Invocation

VARIABLE = "_KLADML_COMPLETE"
_SECONDS = 2.0


def answer(command: click.Command, invocation: Invocation) -> None:
    """Print what completes the line that the environment holds, and nothing else whatever happens.

    Args:
        command: The command `kladml`.
        invocation: What its global options are noted in.
    """
    shell = SHELLS.get(os.environ[VARIABLE].removesuffix("_complete"))
    text = ""
    logging.disable()
    with (
        suppress(Exception, SystemExit, KeyboardInterrupt),
        Path(os.devnull).open("w", encoding="utf-8") as nothing,
        redirect_stdout(nothing),
        redirect_stderr(nothing),
    ):
        _end_in_time()
        if shell is not None:
            text = shell(command, {"obj": invocation}, "kladml", VARIABLE).complete()
    with suppress(OSError):
        sys.stdout.write(f"{text}\n" if text else "")
        sys.stdout.flush()


def _end_in_time() -> None:
    """Let a file system or a plugin that hangs end the answer, not the user's patience."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _give_up)
        signal.setitimer(signal.ITIMER_REAL, _SECONDS)


def _give_up(*_: Any) -> NoReturn:
    raise TimeoutError
