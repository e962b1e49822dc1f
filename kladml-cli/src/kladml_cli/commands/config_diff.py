"""`kladml config diff`: what differs between two configurations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kladml_cli.completion.attach import completes
from kladml_cli.options import global_options
from kladml_cli.run_place_options import run_place_options
from kladml_cli.settings_options import json_option
from kladml_cli.terminal import echo

if TYPE_CHECKING:
    from kladml.history.comparison import Difference
    from kladml.interfaces import CatalogRun
    from kladml.workspace import Workspace
    from kladml_cli.config_sides import Side
    from kladml_cli.configuration import Configuration
    from kladml_cli.run_place import RunPlace

EPILOG = """\
Examples:

\b
  kladml config diff digits cnn/small
  kladml config diff digits @-1
  kladml config diff digits@1 digits@2 --json
  kladml config diff digits digits@best --exit-code

A and B are configurations, by name or file, or runs. A configuration is
resolved as 'kladml train' would resolve it here and now; a run has the
configuration that it was started with. The exit status is 0, also where they
differ; with --exit-code it is 9 then.
"""

_LABELS = 2


@click.command(epilog=EPILOG)
@click.argument("one", metavar="A", shell_complete=completes("configs or runs"))
@click.argument("other", metavar="B", shell_complete=completes("configs or runs"))
@click.option("--exit-code", "exit_code", is_flag=True, help="End with exit status 9 if they differ.")
@json_option
@run_place_options
@global_options()
def diff(*, place: RunPlace, one: str, other: str, exit_code: bool, as_json: bool) -> None:
    """Show what differs between two configurations or runs.

    Only keys with different values are shown. Where a value of a configuration comes from stands behind it. Secrets
    are masked.
    """
    from kladml.errors import DifferenceError
    from kladml_cli.config_choice import place_of
    from kladml_cli.config_sides import compared, side_of
    from kladml_cli.terminal import print_json

    workspace = place_of(place.workspace)

    def load(file: Path) -> Configuration:
        return _load(file, workspace, place)

    def find(address: str) -> tuple[CatalogRun, Path]:
        with place.open() as opened:
            run = opened.find(address)
            return run, opened.runs / run.address.path

    sides = [side_of(text, workspace, load, find) for text in (one, other)]
    found = compared(*sides)
    if as_json:
        print_json({"a": sides[0].as_dict(), "b": sides[1].as_dict(), "differences": _as_dict(found, sides)})
    else:
        _print(found, sides)
    if found and exit_code:
        count = f"{len(found)} key{'s' * (len(found) != 1)}"
        problem = f"{one} and {other} differ in {count}"
        raise DifferenceError(problem, next_step="--exit-code asked for an error")


def _load(file: Path, workspace: Workspace, place: RunPlace) -> Configuration:
    from kladml_cli.configuration import Configuration

    return Configuration(
        workspace, file=file, source=place.config_source, profile=place.profile, overrides=list(place.overrides)
    )


def _as_dict(found: list[Difference], sides: list[Side]) -> dict[str, Any]:
    return {
        one.name: {
            name: {"value": value, "origin": side.origins.get(one.name)}
            for name, value, side in zip(("a", "b"), one.values, sides, strict=True)
        }
        for one in found
    }


def _print(found: list[Difference], sides: list[Side]) -> None:
    from kladml_cli.comparison_grid import print_grid
    from kladml_cli.plots import MARKS
    from kladml_cli.run_rows import short

    labels = [short(side.run.address) if side.run is not None else side.label for side in sides]
    size = max(map(len, labels))
    for mark, label, side in zip(MARKS, labels, sides, strict=False):
        echo(f"{mark} {label:<{size}}  {_what(side)}".rstrip())
    if not found:
        echo()
        echo("no difference in configuration")
        return
    columns = labels if len(set(labels)) == _LABELS else ["A", "B"]
    print_grid("configuration", columns, [(one.name, _cells(one, sides)) for one in found])


def _what(side: Side) -> str:
    if side.run is None:
        return side.source if side.source != side.label else ""
    return f"{side.run.status}  {side.run.started_at.astimezone():%Y-%m-%d %H:%M}"


def _cells(one: Difference, sides: list[Side]) -> list[str]:
    cells = []
    for value, side in zip(one.values, sides, strict=True):
        text = "-" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        origin = side.origins.get(one.name)
        file = Path(side.source)
        if origin is not None and side.run is None and origin.startswith(f"{file}:"):
            origin = f"{file.name}{origin.removeprefix(str(file))}"  # its folder stands above
        cells.append(text if origin is None else f"{text}  ({origin})")
    return cells
