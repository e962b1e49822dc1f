"""`kladml config`: what is configured, and where it comes from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from kladml_cli.commands.config_diff import diff
from kladml_cli.commands.config_list import list_configs
from kladml_cli.commands.config_new import new
from kladml_cli.config_choice import config_argument, file_of, place_of
from kladml_cli.given_entries import entries_of
from kladml_cli.groups import CommandGroup
from kladml_cli.options import global_options
from kladml_cli.settings_options import (
    backend_options,
    configuration_options,
    json_option,
    workspace_option,
)

if TYPE_CHECKING:
    from pathlib import Path

    from kladml_cli.configuration import Configuration

GROUP_EPILOG = """\
Examples:

\b
  kladml config new --data digits
  kladml config list
  kladml config check digits
  kladml config diff digits @-1
"""

SHOW_EPILOG = """\
Examples:

\b
  kladml config show
  kladml config show digits
  kladml config show train.yaml --profile prod
  kladml config show --storage s3 --json

The origin is what to look at to change a value: a file and line, a variable, a flag. Secrets are masked.
"""

CHECK_EPILOG = """\
Examples:

\b
  kladml config check train.yaml
  kladml config check digits

The exit status is 0 if everything fits, 3 if a key or a value does not, 4 if a selected plugin cannot be used.
"""


@click.group(cls=CommandGroup, epilog=GROUP_EPILOG)
def config() -> None:
    """List, show, check, compare and write run configurations."""


config.add_command(list_configs)
config.add_command(diff)
config.add_command(new)


@config.command(epilog=SHOW_EPILOG)
@config_argument(required=False)
@backend_options
@configuration_options
@workspace_option
@json_option
@global_options()
@click.pass_context
def show(
    context: click.Context,
    *,
    config: str | None,
    config_source: str | None,
    profile: str | None,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Print the resolved configuration, each value with its origin.

    CONFIG is a run's YAML file, or the name of one in data/configs; without it, the workspace's own configuration is
    shown.
    """
    from kladml_cli.configuration import DEFAULT_ORIGIN
    from kladml_cli.terminal import print_json, print_table

    rows = _load(context, file_of(config, workspace), config_source, profile, workspace).rows()
    if as_json:
        print_json([{"key": row.key, "value": row.value, "origin": row.origin} for row in rows])
        return
    styles = [{"dim": True} if row.origin == DEFAULT_ORIGIN else {} for row in rows]
    print_table(("KEY", "VALUE", "ORIGIN"), [(row.key, _text(row.value), row.origin) for row in rows], styles)


@config.command(epilog=CHECK_EPILOG)
@config_argument()
@backend_options
@configuration_options
@workspace_option
@json_option
@global_options()
@click.pass_context
def check(
    context: click.Context,
    *,
    config: str,
    config_source: str | None,
    profile: str | None,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Check CONFIG as 'kladml train CONFIG' would read it.

    CONFIG is a YAML file, or the name of one in data/configs. Every key and type is checked, with the layers below and
    above the file, the settings of the backends that are selected, and the names of optimizer, schedule and loss.
    """
    from kladml.training.names import check_names
    from kladml_cli.terminal import print_json

    file = file_of(config, workspace)
    loaded = _load(context, file, config_source, profile, workspace)
    backends = loaded.check_backends()
    check_names(loaded.resolved)
    if as_json:
        selected = [{"kind": entry.kind, "name": entry.name, "owner": entry.owner} for entry in backends]
        print_json({"file": str(file), "valid": True, "selected": selected})
        return
    names = ", ".join(f"{entry.kind} {entry.name}" for entry in backends)
    click.echo(f"{file} is valid, with {names or 'no backend'}")


def _load(
    context: click.Context,
    file: Path | None,
    source: str | None,
    profile: str | None,
    workspace: Path | None,
) -> Configuration:
    """Load the configuration; a folder that is no workspace has one nevertheless."""
    from kladml_cli.configuration import Configuration

    return Configuration(place_of(workspace), file=file, source=source, profile=profile, overrides=entries_of(context))


def _text(value: Any) -> str:
    """Return a value as it may stand in a YAML file."""
    plain = value is None or isinstance(value, bool | int | float | list | tuple | dict)
    return json.dumps(value, ensure_ascii=False, default=str) if plain else str(value)
