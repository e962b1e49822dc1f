"""`kladml sync`: deliver what trackers kept on this machine while their server was away."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from kladml_cli.completion.attach import completes
from kladml_cli.given_entries import entries_of
from kladml_cli.options import global_options
from kladml_cli.settings_options import configuration_options, json_option, workspace_option

if TYPE_CHECKING:
    from pathlib import Path

    from kladml.interfaces import TrackerInterface, UndeliveredRun
    from kladml_cli.configuration import Configuration

EPILOG = """\
Examples:

\b
  kladml sync
  kladml sync --list
  kladml sync --tracker mlflow --redirect
  kladml sync --json

A run whose process was killed is marked KILLED. What cannot be delivered is kept, and the exit status is then 5.
"""

_DELIVERED, _WAITS = "delivered", "waits"


@dataclass
class _Row:
    """What became of one run."""

    tracker: str
    experiment: str
    run_name: str
    run_id: str
    destination: str
    events: int
    state: str
    problem: str | None = None


@click.command(epilog=EPILOG)
@click.option(
    "--tracker",
    "names",
    metavar="NAME",
    multiple=True,
    help="Only this tracker's runs; may be repeated.",
    shell_complete=completes("plugins tracker"),
)
@click.option("--list", "only_list", is_flag=True, help="Show what waits, and deliver nothing.")
@click.option(
    "--redirect", is_flag=True, help="Deliver also what was recorded for another address than the configured one."
)
@configuration_options
@workspace_option
@json_option
@global_options()
@click.pass_context
def sync(
    context: click.Context,
    *,
    names: tuple[str, ...],
    only_list: bool,
    redirect: bool,
    config_source: str | None,
    profile: str | None,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Deliver what trackers keep for a server that was away.

    While its server does not answer, a tracker keeps what runs record in the workspace. Delivering it again changes
    nothing: nothing is lost and nothing is double.
    """
    from kladml.errors import TrackerError
    from kladml.workspace import Workspace
    from kladml_cli.configuration import Configuration
    from kladml_cli.interruption import if_interrupted
    from kladml_cli.terminal import print_json

    place = Workspace.find(workspace)
    loaded = Configuration(place, source=config_source, profile=profile, overrides=entries_of(context))
    waiting = [path.name for path in sorted(place.state.glob("spool/*")) if any(path.glob("*/run.json"))]
    rows: list[_Row] = []
    with if_interrupted("nothing is lost; repeat it to deliver the rest"):
        for name in names or waiting:
            rows += _synced(loaded, name, only_list=only_list, redirect=redirect)
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        _print(rows)
    kept = [row for row in rows if row.problem is not None]
    if kept:
        problem = f"{len(kept)} of {len(rows)} runs could not be delivered and are kept: {kept[0].problem}"
        raise TrackerError(problem, next_step="repeat kladml sync when that is mended")


def _synced(loaded: Configuration, name: str, *, only_list: bool, redirect: bool) -> list[_Row]:
    """Deliver the runs of one tracker."""
    with loaded.open_tracker(name) as tracker:
        return [
            _row(name, run) if only_list else _delivered(tracker, name, run, redirect=redirect)
            for run in tracker.undelivered()
        ]


def _row(tracker: str, run: UndeliveredRun, state: str = _WAITS, problem: str | None = None) -> _Row:
    names = (run.experiment_name, run.run_name, run.run_id)
    return _Row(tracker, *names, destination=run.destination, events=run.events, state=state, problem=problem)


def _delivered(tracker: TrackerInterface, name: str, run: UndeliveredRun, *, redirect: bool) -> _Row:
    from kladml.errors import TrackerError
    from kladml_cli.progress import bar

    try:
        with bar(f"{name}: {run.run_name or run.run_id}", run.events) as progress:
            tracker.sync(run.run_id, progress, redirect=redirect)
    except TrackerError as error:
        return _row(name, run, problem=error.problem)
    return _row(name, run, _DELIVERED)


def _print(rows: list[_Row]) -> None:
    from kladml_cli.hints import hint
    from kladml_cli.terminal import print_table

    if not rows:
        hint("nothing waits to be delivered")
        return
    header = ("TRACKER", "EXPERIMENT", "RUN", "EVENTS", "STATE")
    cells = [
        (row.tracker, row.experiment or "?", row.run_name or row.run_id, str(row.events), row.state) for row in rows
    ]
    print_table(header, cells, [{} if row.problem is None else {"fg": "red"} for row in rows])
