"""What helps a person, and what leaves it out."""

from __future__ import annotations

import logging
import sys

import click

from kladml_cli.log_output import is_json, json_line
from kladml_cli.options import Invocation
from kladml_cli.terminal import printable, styled


def hint(text: str) -> None:
    """Print what helps a person on standard error.

    `--quiet` keeps that for what went wrong, and log lines as JSON leave no place for a line that is none.
    """
    if not is_quiet() and not is_json():
        click.echo(printable(text, kept="\n"), err=True)


def warn(text: str, label: str = "warning", colour: str = "yellow", **facts: str) -> None:
    """Print what a person should look at on standard error; a log line where those are JSON.

    Args:
        text: What it is.
        label: What stands before it.
        colour: Colour of the label on a terminal.
        facts: What else a log line holds, such as the address of a run.
    """
    if is_json():
        line = json_line(logging.WARNING, text if label == "warning" else f"{label}: {text}", **facts)
    else:
        line = f"{styled(f'{label}:', sys.stderr, fg=colour)} {printable(text)}"
    click.echo(line, err=True)


def is_quiet() -> bool:
    """Tell whether the running command was asked to say nothing but results, warnings and errors."""
    context = click.get_current_context(silent=True)
    invocation = context.find_object(Invocation) if context is not None else None
    return invocation is not None and invocation.log_level > logging.INFO
