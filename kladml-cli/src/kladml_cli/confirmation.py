"""Asking before something is deleted."""

from __future__ import annotations

import sys

import click


def confirm_deletion(question: str, *, yes: bool, can_ask: bool = True) -> None:
    """Ask on a terminal; go on if the answer is yes, or if it was given beforehand.

    Args:
        question: What is asked, such as `Delete this run?`.
        yes: Whether `--yes` was given.
        can_ask: Whether the output has a place for a question.

    Raises:
        click.UsageError: There is nobody to ask, and `--yes` was not given.
        click.Abort: The answer is no.
    """
    if yes:
        return
    if not (can_ask and sys.stdin.isatty() and sys.stdout.isatty()):
        message = "without a terminal, --yes is needed to delete"
        raise click.UsageError(message)
    click.confirm(question, abort=True)
