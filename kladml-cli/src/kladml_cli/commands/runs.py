"""`kladml runs`: the runs of the workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kladml_cli.groups import CommandGroup
from kladml_cli.options import global_options
from kladml_cli.settings_options import (
    configuration_options,
    entries_of,
    json_option,
    setting_option,
    workspace_option,
)

if TYPE_CHECKING:
    from pathlib import Path

    from kladml.interfaces import CatalogRun

EPILOG = """\
Examples:

\b
  kladml runs list
  kladml runs list --experiment digits --limit 5
  kladml runs list --json
"""

_STYLES: dict[str, dict[str, Any]] = {
    "FINISHED": {},
    "RUNNING": {"fg": "cyan"},
    "FAILED": {"fg": "red"},
    "KILLED": {"fg": "yellow"},
}
_SHOWN_METRICS = 1


@click.group(cls=CommandGroup)
def runs() -> None:
    """Look at the runs of the workspace."""


@runs.command(name="list", epilog=EPILOG)
@click.option("--experiment", metavar="ADDRESS", help="Only runs of this experiment, or project/family/experiment.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), default=20, show_default=True, help="At most N.")
@setting_option("--catalog", key="catalog.use", metavar="NAME", help="The catalog that numbers the runs.")
@configuration_options
@workspace_option
@json_option
@global_options()
@click.pass_context
def list_runs(
    context: click.Context,
    *,
    experiment: str | None,
    limit: int,
    config_source: str | None,
    profile: str | None,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """List runs, the newest first."""
    from kladml.interfaces import ExperimentAddress
    from kladml.workspace import Workspace
    from kladml_cli.configuration import Configuration
    from kladml_cli.terminal import print_json, print_table

    of_experiment = ExperimentAddress.parse(experiment) if experiment is not None else None
    place = Workspace.find(workspace)
    loaded = Configuration(place, source=config_source, profile=profile, overrides=entries_of(context))
    with loaded.open_catalog() as catalog:
        found = catalog.list_runs(of_experiment)
    newest = found[::-1][:limit]
    if as_json:
        print_json([_as_dict(run) for run in newest])
        return
    header = ("RUN", "STATUS", "STARTED", "TOOK", "METRICS")
    if newest:
        print_table(header, [_row(run) for run in newest], [_STYLES.get(run.status, {}) for run in newest])
    else:
        of_what = f"no runs of {of_experiment}" if of_experiment is not None else "no runs yet"
        click.echo(f"{of_what}; 'kladml train' makes one", err=True)
    if len(found) > limit:
        click.echo(f"{len(found) - limit} older ones are left out; see --limit", err=True)


def _row(run: CatalogRun) -> tuple[str, str, str, str, str]:
    from kladml_backends_console.wording import clock, number

    started = run.started_at.astimezone()
    took = "" if run.ended_at is None else clock((run.ended_at - run.started_at).total_seconds())
    telling = sorted(run.metrics, key=_how_telling)[:_SHOWN_METRICS]
    metrics = "  ".join(f"{name} {number(run.metrics[name])}" for name in telling)
    return str(run.address), run.status, f"{started:%Y-%m-%d %H:%M}", took, metrics


def _how_telling(metric: str) -> tuple[int, bool]:
    """Return what sorts metrics: those of the stored model first, then of validation, losses last in each."""
    prefixes = ("eval_", "val_")
    rank = next((place for place, prefix in enumerate(prefixes) if metric.startswith(prefix)), len(prefixes))
    return rank, "loss" in metric


def _as_dict(run: CatalogRun) -> dict[str, object]:
    return {
        "address": str(run.address),
        "run_id": run.run_id,
        "status": run.status,
        "started_at": run.started_at.isoformat(),
        "ended_at": run.ended_at.isoformat() if run.ended_at is not None else None,
        "metrics": run.metrics,
        "backends": run.backends,
    }
