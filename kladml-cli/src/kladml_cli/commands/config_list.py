"""`kladml config list`: the run configurations of the workspace."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from kladml_cli.options import global_options
from kladml_cli.settings_options import json_option, workspace_option

if TYPE_CHECKING:
    from pathlib import Path

    from kladml.workspace import Workspace
    from kladml_cli.run_configs import RunConfigFile

EPILOG = """\
Examples:

\b
  kladml config list
  kladml config list --json

Listed are the files below data/configs, by their names, and those in the
workspace's root that have a key of a configuration. Of each the newest run is
shown that was started with it.
"""

_HEADER = ("CONFIG", "VALID", "NEWEST RUN", "EXPERIMENT", "DATA", "MODEL")
_LEAST_MODEL = 16


@click.command(name="list", epilog=EPILOG)
@workspace_option
@json_option
@global_options()
def list_configs(*, workspace: Path | None, as_json: bool) -> None:
    """List the run configurations and the newest run of each.

    Those that are not valid are listed with their first mistake.
    """
    from kladml.workspace import Workspace
    from kladml_cli.hints import hint
    from kladml_cli.run_configs import run_configs
    from kladml_cli.terminal import print_json

    place = Workspace.find(workspace)
    found = _with_runs(run_configs(place), place)
    if as_json:
        print_json([config.as_dict() for config in found])
    elif found:
        _print(found)
    else:
        hint("no configurations yet; 'kladml config new --data NAME' writes one for a data set")


def _with_runs(configs: list[RunConfigFile], workspace: Workspace) -> list[RunConfigFile]:
    """Return configurations with their newest runs, as far as those can be found out."""
    from kladml.errors import KladMLError
    from kladml.log import get_logger
    from kladml_cli.run_configs import newest_runs
    from kladml_cli.run_place import RunPlace

    if not configs:
        return configs
    try:
        with RunPlace(workspace=workspace.root).open() as opened:
            runs = newest_runs(configs, opened)
    except KladMLError as error:
        get_logger(__name__).warning(f"the runs of the configurations cannot be read: {error}")
        return configs
    return [replace(config, newest_run=runs.get(config.file)) for config in configs]


def _print(configs: list[RunConfigFile]) -> None:
    """Print a table as wide as the terminal, and below it what is wrong with those that do not fit."""
    from kladml_cli.hints import warn
    from kladml_cli.terminal import print_table, width

    rows = [
        (config.name, "yes" if config.mistake is None else "no", _run(config), _short(config.experiment), config.data)
        for config in configs
    ]
    cells = [tuple(cell or "-" for cell in row) for row in rows]
    used = sum(max(map(len, column)) + 2 for column in zip(_HEADER[:-1], *cells, strict=True))
    models = [_end(config.model or "-", max(width() - used, _LEAST_MODEL)) for config in configs]
    styles = [{} if config.mistake is None else {"fg": "red"} for config in configs]
    print_table(_HEADER, [(*row, model) for row, model in zip(cells, models, strict=True)], styles)
    for config in configs:
        if config.mistake is not None:
            warn(f"{config.name}: {config.mistake}", "not valid", "red")


def _short(experiment: str | None) -> str | None:
    return None if experiment is None else experiment.removeprefix("default/default/")


def _run(config: RunConfigFile) -> str | None:
    from kladml_cli.run_rows import short

    run = config.newest_run
    return None if run is None else f"{short(run.address)} {run.status}"


def _end(text: str, room: int) -> str:
    """Return the end of a text, which tells one model from another, on a terminal as long as there is room."""
    return text if len(text) <= room or not sys.stdout.isatty() else f"…{text[1 - room :]}"
