"""What is said of an error that ended a command, and with which status the command exits."""

from __future__ import annotations

import errno
import traceback
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from kladml.errors import KladMLError, TrainingStopped
from kladml_cli.statuses import INTERRUPTED, TERMINATED, USER_SIGNAL

if TYPE_CHECKING:
    from kladml.plugins import RunInfo


_FULL = (errno.ENOSPC, errno.EDQUOT)
_SHOWN = 100


class RunFailed(Exception):  # noqa: N818 - the outcome of a run; the error is inside
    """A run ended with an error, of KladML or of the user's own code.

    Args:
        error: The error.
        outcome: What became of the run, as a clause; empty if it had not begun, None if others tell it.
        run: The run, or None if it had not begun.
        status: How it is marked, or None.
    """

    def __init__(
        self, error: BaseException, outcome: str | None, *, run: RunInfo | None = None, status: str | None = None
    ) -> None:
        super().__init__(error, outcome)
        self.error = error
        self.outcome = outcome
        self.run = run
        self.status = status


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ends.

    Attributes:
        status: The exit status.
        label: What happened, in a word or two.
        message: The rest of the line; may be empty.
        traceback: Lines before it, each with its newline; may be empty.
        run: Address of the run that ended; may be empty.
    """

    status: int
    label: str
    message: str = ""
    traceback: str = ""
    run: str = ""


def ending_of(error: BaseException, *, with_traceback: bool) -> Ending:
    """Return how a command ends by an error.

    Args:
        error: The error.
        with_traceback: Whether the user asked for all of its traceback.
    """
    if isinstance(error, RunFailed):
        ending = _ending_of_run(error.error, error.outcome, with_traceback=with_traceback)
        return ending if error.run is None else replace(ending, run=str(error.run.address))
    lines = "".join(traceback.format_exception(error)) if with_traceback else ""
    if isinstance(error, KladMLError):
        return Ending(error.exit_code, "Error", str(error), lines)
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx is not None else "kladml"
        message = f"{error.format_message().removesuffix('.')} (see '{path} --help')"
        return Ending(error.exit_code, "Error", message, lines)
    if isinstance(error, click.ClickException):
        return Ending(error.exit_code, "Error", error.format_message(), lines)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return Ending(INTERRUPTED, "Interrupted", str(error), lines)
    return Ending(1, "Error", _unexpected(error), lines)


def _unexpected(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"'{str(error.filename)[:_SHOWN]}…' is too long for the name of a file; write a shorter one"
    if isinstance(error, OSError) and error.errno in _FULL:
        where = f" to {error.filename}" if error.filename else ""
        return f"nothing more can be written{where}: {error.strerror}; make room and repeat it"
    return f"KladML failed unexpectedly: {_one_line(error)}; repeat it with --traceback and report it"


def _ending_of_run(error: BaseException, outcome: str | None, *, with_traceback: bool) -> Ending:
    """Return how a run failed: KladML's errors in a line, those of the user's code with their traceback."""
    lines = ""
    if with_traceback:
        lines = "".join(traceback.format_exception(error))
    elif _is_of_user_code(error, outcome):
        from kladml_cli.user_traceback import user_traceback

        lines = user_traceback(error)
    if isinstance(error, KladMLError):
        label = "Stopped" if isinstance(error, TrainingStopped) else "Error"
        return Ending(error.exit_code, label, f"{error} ({outcome})" if outcome else str(error), lines)
    clause = "the run had not begun" if outcome == "" else outcome or ""
    if isinstance(error, KeyboardInterrupt):
        return Ending(INTERRUPTED, "Interrupted", clause, lines)
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        labels = {TERMINATED: "Terminated", USER_SIGNAL: "Stopped by SIGUSR1"}
        return Ending(status, labels.get(status, f"Your code exits with {error.code}"), clause, lines)
    return Ending(1, "Error", "; ".join(filter(None, (_one_line(error), clause))), lines)


def _is_of_user_code(error: BaseException, outcome: str | None) -> bool:
    """Tell whether an error may come from the user's code, which its traceback helps to correct."""
    if isinstance(error, KeyboardInterrupt):
        return outcome != ""  # before the run began, imports were interrupted
    return isinstance(error, Exception) and not isinstance(error, KladMLError)


def _one_line(error: BaseException) -> str:
    text = str(error).rstrip()
    if "Traceback (most recent call last):" in text:  # what a data loader's worker sends as the message of its error
        return text.splitlines()[-1]
    return " ".join(f"{type(error).__name__}: {error}".removesuffix(": ").split())
