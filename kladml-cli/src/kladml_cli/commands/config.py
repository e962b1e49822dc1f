"""`kladml config`: what is configured, and where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kladml_cli.completion.attach import completes
from kladml_cli.groups import CommandGroup
from kladml_cli.options import global_options
from kladml_cli.settings_options import (
    backend_options,
    configuration_options,
    entries_of,
    json_option,
    workspace_option,
)

if TYPE_CHECKING:
    from kladml_cli.configuration import Configuration

SHOW_EPILOG = """\
Examples:

\b
  kladml config show
  kladml config show train.yaml --profile prod
  kladml config show --storage s3 --json

The origin is what to look at to change a value: a file and line, a variable, a flag. Secrets are masked.
"""

CHECK_EPILOG = """\
Example:

\b
  kladml config check train.yaml

The exit status is 0 if everything fits, 3 if a key or a value does not, 4 if a selected plugin cannot be used.
"""


@click.group(cls=CommandGroup)
def config() -> None:
    """Show and check the configuration."""


@config.command(epilog=SHOW_EPILOG)
@click.argument(
    "config_file",
    metavar="[CONFIG]",
    required=False,
    type=click.Path(path_type=Path),
    shell_complete=completes("configs"),
)
@backend_options
@configuration_options
@workspace_option
@json_option
@global_options()
@click.pass_context
def show(
    context: click.Context,
    *,
    config_file: Path | None,
    config_source: str | None,
    profile: str | None,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Print the resolved configuration, each value with its origin.

    CONFIG is a run's YAML file; without it, the workspace's own configuration is shown.
    """
    from kladml_cli.configuration import DEFAULT_ORIGIN
    from kladml_cli.terminal import print_json, print_table

    rows = _load(context, config_file, config_source, profile, workspace).rows()
    if as_json:
        print_json([{"key": row.key, "value": row.value, "origin": row.origin} for row in rows])
        return
    styles = [{"dim": True} if row.origin == DEFAULT_ORIGIN else {} for row in rows]
    print_table(("KEY", "VALUE", "ORIGIN"), [(row.key, _text(row.value), row.origin) for row in rows], styles)


@config.command(epilog=CHECK_EPILOG)
@click.argument("config_file", metavar="FILE", type=click.Path(path_type=Path), shell_complete=completes("configs"))
@backend_options
@configuration_options
@workspace_option
@json_option
@global_options()
@click.pass_context
def check(
    context: click.Context,
    *,
    config_file: Path,
    config_source: str | None,
    profile: str | None,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Check FILE as 'kladml train FILE' would read it.

    Every key and type is checked, with the layers below and above the file, and the settings of the backends
    that are selected.
    """
    from kladml_cli.terminal import print_json

    loaded = _load(context, config_file, config_source, profile, workspace)
    backends = loaded.check_backends()
    if as_json:
        selected = [{"kind": entry.kind, "name": entry.name, "owner": entry.owner} for entry in backends]
        print_json({"file": str(config_file), "valid": True, "selected": selected})
        return
    names = ", ".join(f"{entry.kind} {entry.name}" for entry in backends)
    click.echo(f"{config_file} is valid, with {names or 'no backend'}")


def _load(
    context: click.Context,
    file: Path | None,
    source: str | None,
    profile: str | None,
    workspace: Path | None,
) -> Configuration:
    """Load the configuration; a folder that is no workspace has one nevertheless."""
    from kladml.workspace import Workspace
    from kladml_cli.configuration import Configuration

    place = Workspace.around(workspace) or Workspace((workspace or Path.cwd()).resolve())
    return Configuration(place, file=file, source=source, profile=profile, overrides=entries_of(context))


def _text(value: Any) -> str:
    """Return a value as it may stand in a YAML file."""
    plain = value is None or isinstance(value, bool | int | float | list | tuple | dict)
    return json.dumps(value, ensure_ascii=False, default=str) if plain else str(value)
