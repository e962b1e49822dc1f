"""The options of commands that find runs."""

from __future__ import annotations

from dataclasses import fields
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kladml_cli.completion.attach import completes
from kladml_cli.given_entries import entries_of
from kladml_cli.run_place import RunPlace
from kladml_cli.settings_options import configuration_options, setting_option, workspace_option

if TYPE_CHECKING:
    from collections.abc import Callable

Decorated = TypeVar("Decorated", bound="Callable[..., Any]")


def run_place_options(command: Decorated) -> Decorated:
    """Add the options that say where runs are, and which is the best; the command gets a `RunPlace` as `place`."""
    for option in (
        click.option("--mode", type=click.Choice(["min", "max"]), help="Whether less or more of --metric is better."),
        click.option(
            "--metric",
            metavar="NAME",
            help="What decides which run is @best; the monitored one by default.",
            shell_complete=completes("metrics"),
        ),
    ):
        command = option(command)
    return workspace_of_runs_options(command)


def workspace_of_runs_options(command: Decorated) -> Decorated:
    """Add the options that say where runs are; the command gets them as `place`, a `RunPlace`."""

    @wraps(command)
    def with_place(*arguments: Any, **values: Any) -> Any:
        names = [item.name for item in fields(RunPlace) if item.name != "overrides"]
        taken = {name: values.pop(name) for name in names if name in values}
        overrides = tuple(entries_of(click.get_current_context()))
        return command(*arguments, place=RunPlace(**taken, overrides=overrides), **values)

    decorated: Any = with_place
    for option in (
        workspace_option,
        configuration_options,
        setting_option(
            "--catalog",
            key="catalog.use",
            metavar="NAME",
            help="The catalog that numbers the runs.",
            completing="plugins catalog",
        ),
        click.option(
            "--experiment",
            metavar="ADDRESS",
            help="Experiment of @n; the configured or only one by default.",
            shell_complete=completes("experiments"),
        ),
    ):
        decorated = option(decorated)
    result: Decorated = decorated
    return result
