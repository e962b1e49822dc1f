"""How the command ends: what is said of an error, and with which exit status."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kladml_cli.endings import Ending, RunFailed, ending_of
from kladml_cli.statuses import CLOSED_PIPE, EXIT_STATUSES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from kladml_cli.options import Invocation

__all__ = ["EXIT_STATUSES", "RunFailed", "arguments_of", "exit_status", "say"]

_ARGUMENTS = "kladml_cli.arguments"


def exit_status(command: click.Command, arguments: Sequence[str] | None, invocation: Invocation) -> int:
    """Run a command, report its error if there is one, and return the exit status.

    Args:
        command: The command.
        arguments: Its arguments; the process's own by default.
        invocation: What the command's global options are noted in.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    _open_what_is_closed()
    try:
        with command.make_context("kladml", [*arguments], obj=invocation) as context:
            context.meta[_ARGUMENTS] = tuple(arguments)
            command.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as request:
        return request.exit_code
    except BrokenPipeError:
        _discard(sys.stdout)
        return CLOSED_PIPE
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - here every error becomes a message
        ending = ending_of(error, with_traceback=invocation.traceback)
        if not _report_to_supervisor(error, ending):
            say(ending)
        _flush_or_discard(sys.stdout)
        return ending.status
    return 0


def arguments_of(context: click.Context) -> tuple[str, ...]:
    """Return what follows `kladml` on the command line of an invocation."""
    arguments: tuple[str, ...] = context.meta[_ARGUMENTS]
    return arguments


def say(ending: Ending) -> None:
    """Print how a command ends on standard error, as a log line where those are JSON."""
    from kladml_cli.log_output import is_json, json_line
    from kladml_cli.terminal import printable, styled

    if is_json():
        parts = [] if ending.label == "Error" else [ending.label]
        facts = {name: text for name in ("run", "traceback") if (text := getattr(ending, name))}
        message = ": ".join([*parts, *filter(None, (ending.message,))])
        _write(json_line(logging.ERROR, message, exit_status=ending.status, **facts) + "\n")
        return
    label = styled(f"{ending.label}:" if ending.message else ending.label, sys.stderr, fg="red", bold=True)
    message = printable(ending.message, kept="\n\t")
    _write(f"{ending.traceback}{label} {message}".rstrip() + "\n")


def _report_to_supervisor(error: BaseException, ending: Ending) -> bool:
    """Let the supervisor tell how this process ended, if it is one of several that train together."""
    if "KLADML_RANK_REPORTS" not in os.environ:
        return False
    from kladml_cli.rank_ending import report

    sys.stdout.flush()
    return report(error, ending)


def _write(text: str) -> None:
    try:
        click.echo(text, err=True, nl=False)
    except BrokenPipeError:  # nobody reads it, and the exit status says it too
        _discard(sys.stderr)


def _open_what_is_closed() -> None:
    """Let what is printed go nowhere if the command was started without standard output or standard error."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for good


def _flush_or_discard(stream: TextIO) -> None:
    """Write what is left to write; keep the interpreter from failing on it if the device is full."""
    try:
        stream.flush()
    except (OSError, ValueError):
        _discard(stream)


def _discard(stream: TextIO) -> None:
    """Keep the interpreter from failing on the closed pipe when it flushes at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
