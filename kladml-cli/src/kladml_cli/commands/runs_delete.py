"""`kladml runs delete`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kladml_cli.completion.attach import completes
from kladml_cli.options import global_options
from kladml_cli.run_place_options import run_place_options
from kladml_cli.settings_options import json_option
from kladml_cli.terminal import echo

if TYPE_CHECKING:
    from kladml.history.deletion import Deletion
    from kladml_cli.run_place import OpenPlace, RunPlace

EPILOG = """\
Examples:

\b
  kladml runs delete @3 --dry-run
  kladml runs delete @3
  kladml runs delete digits@3 digits@4 --yes

The number of a deleted run is not given again. What trackers recorded stays,
and is named.
"""


@click.command(name="delete", epilog=EPILOG)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, shell_complete=completes("runs"))
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask; needed where there is no terminal.")
@json_option
@run_place_options
@global_options()
def delete(*, place: RunPlace, runs: tuple[str, ...], dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete runs: their folders, their stored files, and their places in the catalog.

    RUN is an address, such as @3, @-1 (the newest), digits@3 or project/family/experiment@3.
    """
    from kladml.history.deletion import delete as delete_run
    from kladml.history.deletion import plan_deletion
    from kladml_cli.confirmation import confirm_deletion
    from kladml_cli.interruption import if_interrupted
    from kladml_cli.progress import bar
    from kladml_cli.terminal import print_json

    with place.open() as opened:
        references = opened.references
        found = list({str(run.address): run for run in map(references.find, runs)}.values())
        plans = [plan_deletion(run, opened.runs, opened.storage_of(run)) for run in found]
        if not as_json:
            for plan in plans:
                _print(plan, opened, dry_run=dry_run)
        if not dry_run:
            which = "this run" if len(plans) == 1 else f"these {len(plans)} runs"
            confirm_deletion(f"Delete {which}?", yes=yes, can_ask=not as_json)
            for plan in plans:
                with (
                    if_interrupted(f"repeat it to delete the rest of {plan.run.address}"),
                    bar(f"deleting {plan.run.address}", len(plan.keys)) as progress,
                ):
                    delete_run(plan, opened.catalog, progress)
    if as_json:
        print_json([{**plan.as_dict(), "deleted": not dry_run} for plan in plans])
    elif not dry_run:
        echo(f"deleted {', '.join(str(plan.run.address) for plan in plans)}")


def _print(plan: Deletion, opened: OpenPlace, *, dry_run: bool) -> None:
    from kladml_cli.terminal import size

    echo(f"{plan.run.address}  {plan.run.status}  {'would be' if dry_run else 'will be'} deleted:")
    if plan.folder is not None:
        echo(f"  {plan.folder.relative_to(opened.workspace.root)}: {size(plan.size)}")
    if plan.keys:
        echo(f"  storage {plan.run.backends['storage']}: {len(plan.keys)} files in {plan.bucket}")
    echo(f"  catalog {plan.run.backends.get('catalog', '')}: its entry".replace(" :", ":"))
    for line in plan.stays:
        echo(f"  stays: {line}")
