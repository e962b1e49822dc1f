"""Options that set configuration: a flag is a configuration entry whose origin is the flag."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kladml_cli.completion.attach import completes
from kladml_cli.given_entries import entries_of

if TYPE_CHECKING:
    from collections.abc import Callable

Decorated = TypeVar("Decorated", bound="Callable[..., Any]")


def setting_option(
    flag: str,
    *,
    key: str,
    metavar: str,
    help: str,  # noqa: A002 - click's name for it
    multiple: bool = False,
    completing: str | None = None,
) -> Callable[[Decorated], Decorated]:
    """Add an option that sets one configuration key.

    Args:
        flag: Name of the option.
        key: The key.
        metavar: What the help calls the value.
        help: What the help says.
        multiple: Whether the option may be repeated, for a key that holds a list.
        completing: What the value is, as `completes` knows it, or None for free text.
    """

    def note(context: click.Context, _: click.Parameter, value: Any) -> None:
        from kladml.interfaces import ConfigEntry

        if value not in (None, ()):
            entries_of(context).append(ConfigEntry(key, list(value) if multiple else value, flag))

    return click.option(
        flag,
        metavar=metavar,
        multiple=multiple,
        expose_value=False,
        callback=note,
        help=help,
        shell_complete=None if completing is None else completes(completing),
    )


def configuration_options(command: Decorated) -> Decorated:
    """Add `--set`, `--profile` and `--config-source`."""
    command = click.option(
        "--config-source",
        metavar="NAME",
        help="Where configuration comes from; yaml reads kladml.yaml.",
        shell_complete=completes("plugins config"),
    )(command)
    command = click.option(
        "--profile",
        metavar="NAME",
        help="Apply this profile of the configuration.",
        shell_complete=completes("profiles"),
    )(command)
    return click.option(
        "--set",
        metavar="KEY=VALUE",
        multiple=True,
        expose_value=False,
        callback=_note_overrides,
        shell_complete=completes("settings"),
        help="Set any key, such as training.max_epochs=5; may be repeated.",
    )(command)


def backend_options(command: Decorated) -> Decorated:
    """Add `--storage`, `--tracker`, `--publisher` and `--catalog`."""
    for flag, several, text in (
        ("--catalog", False, "Who numbers the runs"),
        ("--publisher", True, "Who is told of the progress; may be repeated"),
        ("--tracker", True, "Where parameters and metrics go; may be repeated"),
        ("--storage", False, "Where a run's files go"),
    ):
        kind = flag.removeprefix("--")
        command = setting_option(
            flag, key=f"{kind}.use", metavar="NAME", multiple=several, help=f"{text}.", completing=f"plugins {kind}"
        )(command)
    return command


def workspace_option(command: Decorated) -> Decorated:
    """Add `--workspace`."""
    return click.option(
        "--workspace",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="Work in this workspace; the one around the current folder by default.",
        shell_complete=completes("folders"),
    )(command)


def json_option(command: Decorated) -> Decorated:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def _note_overrides(context: click.Context, _: click.Parameter, value: tuple[str, ...]) -> None:
    if value:
        from kladml.config import from_overrides

        entries_of(context).extend(from_overrides(value))
