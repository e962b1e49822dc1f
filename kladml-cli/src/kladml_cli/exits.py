"""How the command ends: what is said of an error, and with which exit status."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from kladml.errors import KladMLError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from kladml_cli.options import Invocation

INTERRUPTED = 130
CLOSED_PIPE = 141
TERMINATED = 143

EXIT_STATUSES = {
    0: "done",
    1: "your own code failed",
    2: "wrong usage",
    3: "configuration or workspace",
    4: "plugin",
    5: "backend",
    6: "data or model",
    7: "training",
    8: "stopped by a hook",
    INTERRUPTED: "Ctrl-C",
    CLOSED_PIPE: "output closed",
    TERMINATED: "SIGTERM",
}
"""What each exit status means; those of KladML's errors are their classes' `exit_code`."""


class RunFailed(Exception):  # noqa: N818 - the outcome of a run; the error is inside
    """A run ended with an error, of KladML or of the user's own code.

    Args:
        error: The error.
        outcome: What became of the run, as a clause; empty if it had not begun.
    """

    def __init__(self, error: BaseException, outcome: str) -> None:
        super().__init__(error, outcome)
        self.error = error
        self.outcome = outcome


def exit_status(command: click.Command, arguments: Sequence[str] | None, invocation: Invocation) -> int:
    """Run a command, report its error if there is one, and return the exit status.

    Args:
        command: The command.
        arguments: Its arguments; the process's own by default.
        invocation: What the command's global options are noted in.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        with command.make_context("kladml", [*arguments], obj=invocation) as context:
            command.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as request:
        return request.exit_code
    except BrokenPipeError:
        _discard(sys.stdout)
        return CLOSED_PIPE
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - here every error becomes a message
        return _report(error, with_traceback=invocation.traceback)
    return 0


def _report(error: BaseException, *, with_traceback: bool) -> int:
    """Say what went wrong, and return the exit status."""
    if isinstance(error, RunFailed):
        return _report_run(error, with_traceback=with_traceback)
    if with_traceback:
        _print_traceback(error)
    if isinstance(error, KladMLError):
        _say("Error", str(error))
        return error.exit_code
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx is not None else "kladml"
        _say("Error", f"{error.format_message().removesuffix('.')} (see '{path} --help')")
        return error.exit_code
    if isinstance(error, click.ClickException):
        _say("Error", error.format_message())
        return error.exit_code
    if isinstance(error, KeyboardInterrupt | click.Abort):
        _say("Interrupted")
        return INTERRUPTED
    _say("Error", f"KladML failed unexpectedly: {_one_line(error)}; repeat it with --traceback and report it")
    return 1


def _report_run(failure: RunFailed, *, with_traceback: bool) -> int:
    """Say how a run failed: KladML's errors in a line, those of the user's code with their traceback."""
    error, outcome = failure.error, failure.outcome
    if with_traceback:
        _print_traceback(error)
    elif _is_of_user_code(failure):
        from kladml_cli.user_traceback import user_traceback

        _write(user_traceback(error))
    if isinstance(error, KladMLError):
        _say("Error", f"{error} ({outcome})" if outcome else str(error))
        return error.exit_code
    outcome = outcome or "the run had not begun"
    if isinstance(error, KeyboardInterrupt):
        _say("Interrupted", outcome)
        return INTERRUPTED
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        _say("Terminated" if status == TERMINATED else f"Your code exits with {error.code}", outcome)
        return status
    _say("Error", f"{_one_line(error)}; {outcome}")
    return 1


def _is_of_user_code(failure: RunFailed) -> bool:
    """Tell whether an error may come from the user's code, which its traceback helps to correct."""
    if isinstance(failure.error, KeyboardInterrupt):
        return bool(failure.outcome)  # before the run began, imports were interrupted
    return isinstance(failure.error, Exception) and not isinstance(failure.error, KladMLError)


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".removesuffix(": ").split())


def _say(what: str, message: str = "") -> None:
    from kladml_cli.terminal import styled

    label = styled(f"{what}:" if message else what, sys.stderr, fg="red", bold=True)
    _write(f"{label} {message}".rstrip() + "\n")


def _print_traceback(error: BaseException) -> None:
    import traceback

    _write("".join(traceback.format_exception(error)))


def _write(text: str) -> None:
    try:
        click.echo(text, err=True, nl=False)
    except BrokenPipeError:  # nobody reads it, and the exit status says it too
        _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Keep the interpreter from failing on the closed pipe when it flushes at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
