"""The options that every command has, before or after its name."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

Decorated = TypeVar("Decorated", bound="Callable[..., Any]")


@dataclass
class Invocation:
    """What the global options say about one invocation of the command.

    Attributes:
        traceback: Whether errors are shown with their traceback.
        log_level: The least level of log messages that are shown.
    """

    traceback: bool = False
    log_level: int = logging.INFO


def global_options(*, hidden: bool = True) -> Callable[[Decorated], Decorated]:
    """Add `--traceback`, `--verbose` and `--quiet` to a command.

    Args:
        hidden: Whether the command's help leaves them out.
    """
    options = (
        click.option(
            "--traceback",
            is_flag=True,
            expose_value=False,
            hidden=hidden,
            callback=_set_traceback,
            help="Show the traceback of an error.",
        ),
        click.option(
            "-v",
            "--verbose",
            is_flag=True,
            expose_value=False,
            hidden=hidden,
            callback=_set_verbose,
            help="Log more.",
        ),
        click.option(
            "-q",
            "--quiet",
            is_flag=True,
            expose_value=False,
            hidden=hidden,
            callback=_set_quiet,
            help="Print results, warnings and errors only.",
        ),
    )

    def decorate(command: Decorated) -> Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _set_traceback(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value:
        context.ensure_object(Invocation).traceback = True


def _set_verbose(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001
    if value:
        _set_log_level(context, logging.DEBUG)


def _set_quiet(context: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001
    if value:
        _set_log_level(context, logging.WARNING)


def _set_log_level(context: click.Context, level: int) -> None:
    context.ensure_object(Invocation).log_level = level
    if context.parent is not None:  # the group has configured logging already
        from kladml_cli.log_output import set_log_level

        set_log_level(level)
