"""`kladml runs`: the runs of the workspace."""

from __future__ import annotations

from contextlib import suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING

import click

from kladml_cli.commands.runs_copy import copy
from kladml_cli.commands.runs_delete import delete
from kladml_cli.commands.runs_show import show
from kladml_cli.completion.attach import completes
from kladml_cli.groups import CommandGroup
from kladml_cli.options import global_options
from kladml_cli.run_place_options import workspace_of_runs_options
from kladml_cli.settings_options import json_option

if TYPE_CHECKING:
    from pathlib import Path

    from kladml.history.facts import Quantity
    from kladml.history.listing import Listing
    from kladml.interfaces import CatalogRun
    from kladml_cli.run_place import RunPlace

GROUP_EPILOG = """\
Examples:

\b
  kladml runs list --sort=-val_accuracy
  kladml runs show @-1
  kladml runs copy @best --to storage=s3
  kladml runs delete @3 --dry-run
"""

EPILOG = """\
Examples:

\b
  kladml runs list
  kladml runs list --experiment digits --limit 5
  kladml runs list --where 'val_acc > 0.9 and params.lr < 0.01'
  kladml runs list --where "data == 'digits@1'"
  kladml runs list --sort=-val_acc --json
  kladml runs list --tree

A condition compares metrics, params.NAME, tags.NAME, data, status, number,
seconds, started_at and the like by == != < <= > >=, joined with and, or, not.
The end of a parameter's name is enough: params.lr is
params.training.optimizer.lr. data is the version trained on.
"""

_LIMIT = 20
_MOST_READ = 100


@click.group(cls=CommandGroup, epilog=GROUP_EPILOG)
def runs() -> None:
    """List, show, copy and delete the runs of the workspace.

    A RUN is project/family/experiment@3, digits@3, @3, @-1 (the newest) or @best.
    """


@runs.command(name="list", epilog=EPILOG)
@click.option("--tree", is_flag=True, help="Show them below their projects, families and experiments.")
@click.option("--where", metavar="CONDITION", help="Only runs of which this is true.")
@click.option(
    "--sort",
    metavar="[-]NAME",
    help="Smallest first, or with - largest; by default the newest first.",
    shell_complete=completes("order"),
)
@click.option(
    "--limit", metavar="N", type=click.IntRange(min=1), help=f"At most N; by default {_LIMIT}, and all with --json."
)
@json_option
@workspace_of_runs_options
@global_options()
def list_runs(
    *, place: RunPlace, tree: bool, where: str | None, sort: str | None, limit: int | None, as_json: bool
) -> None:
    """List runs, the newest first."""
    from kladml.history.conditions import Condition
    from kladml.history.facts import Facts
    from kladml.history.listing import Listing, parse_order
    from kladml.history.listing import list_runs as choose
    from kladml.history.parameters import RunTexts
    from kladml_cli.hints import hint
    from kladml_cli.terminal import print_json

    if limit is None and not as_json:
        limit = _LIMIT
    condition = None if where is None else Condition(where)
    order = None if sort is None else parse_order(sort)
    with place.open() as opened:
        of_experiment = None if place.experiment is None else opened.references.find_experiment(place.experiment)
        asked_for = [*([] if order is None else order[:1]), *([] if condition is None else condition.quantities)]
        if condition is None and order is None and limit is not None:
            newest, count = opened.newest_runs(limit, of_experiment)
            listing = Listing([Facts(run) for run in newest], count - len(newest))
            found = newest
        else:
            found = opened.list_runs(of_experiment)
            needs_texts = any(one.section in ("params", "tags") for one in asked_for)
            texts = RunTexts(opened.runs, opened.searching_tracker() if needs_texts else None)
            listing = choose(found, texts, where=condition, order=order, limit=limit)
    if as_json:
        print_json([as_dict(run) for run in listing.runs])
    elif listing.runs:
        (_print_tree if tree else _print_table)(listing, [one for one in dict.fromkeys(asked_for) if one.section])
    elif found and condition is not None:
        hint(f"none of {len(found)} runs meets the condition")
    else:
        of_what = "no runs yet" if of_experiment is None else f"no runs of {of_experiment}"
        hint(f"{of_what}; 'kladml train CONFIG' makes one")
    if found:
        _say_unknown(asked_for, found, listing, opened.runs)
    if listing.left_out and not as_json:
        which = "more" if sort else "older"
        hint(f"{listing.left_out} {which} {'is' if listing.left_out == 1 else 'are'} left out; see --limit")


def _say_unknown(asked_for: list[Quantity], found: list[CatalogRun], listing: Listing, folder: Path) -> None:
    """Name the metrics and parameters that were asked for and that no run has: they may be misspelt."""
    from kladml.history.facts import FIELDS
    from kladml_cli.hints import hint

    def say(what: str, name: str, nearest: str) -> None:
        hint(f"no run has a {what} '{name}'{f'; did you mean {nearest}?' if nearest else ''}")

    metrics = {name for run in found for name in run.metrics}
    for name in sorted({one.name for one in asked_for if one.section == "metrics"} - metrics):
        say("metric", name, _nearest(name, {*metrics, *FIELDS}))
    missing = {one for one in asked_for if one.section == "params" and not any(map(one.of, listing.facts))}
    keys = _parameters(found, folder) if missing else set()
    for name in sorted(one.name for one in missing):
        if not any(f".{key}".endswith(f".{name}") for key in keys):
            nearest = _nearest(name, keys | {key.rpartition(".")[2] for key in keys})
            say("parameter", name, nearest and f"params.{nearest}")


def _nearest(name: str, known: set[str]) -> str:
    return next(iter(get_close_matches(name, sorted(known), n=1)), "")


def _parameters(runs: list[CatalogRun], folder: Path) -> set[str]:
    """Return the keys of the parameters of runs, of the newest ones if they are many."""
    from kladml.errors import WorkspaceError
    from kladml.runner.record import RunRecord

    keys: set[str] = set()
    for run in runs[-_MOST_READ:]:
        with suppress(WorkspaceError):  # a damaged record has no names to offer
            record = RunRecord.read(folder / run.address.path)
            keys |= set() if record is None else record.params.keys()
    return keys


def _print_table(listing: Listing, names: list[Quantity]) -> None:
    from kladml_cli.run_rows import HEADER, STYLES, rows_of
    from kladml_cli.terminal import print_table

    print_table(HEADER, rows_of(listing.facts, names), [STYLES.get(run.status, {}) for run in listing.runs])


def _print_tree(listing: Listing, names: list[Quantity]) -> None:
    from kladml_cli.run_rows import print_tree

    print_tree(listing.facts, names)


for command in (show, copy, delete):
    runs.add_command(command)


def as_dict(run: CatalogRun) -> dict[str, object]:
    """Return a run as the catalog has it, JSON-able."""
    return {
        "address": str(run.address),
        "run_id": run.run_id,
        "status": run.status,
        "started_at": run.started_at.isoformat(),
        "ended_at": run.ended_at.isoformat() if run.ended_at is not None else None,
        "metrics": run.metrics,
        "backends": run.backends,
    }
