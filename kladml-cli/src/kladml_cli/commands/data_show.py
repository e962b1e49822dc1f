"""`kladml data list` and `show`: which versions there are, and what is in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kladml_cli.completion.attach import completes
from kladml_cli.data_place import data_place_options
from kladml_cli.options import global_options
from kladml_cli.settings_options import json_option
from kladml_cli.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kladml.datasets import DatasetReference, DatasetStore
    from kladml.datasets.catalog_versions import KnownVersion
    from kladml_cli.data_place import DataPlace

LIST_EPILOG = """\
Examples:

\b
  kladml data list
  kladml data list digits
  kladml data list --json
"""

SHOW_EPILOG = """\
Examples:

\b
  kladml data show digits
  kladml data show digits@1 --files
  kladml data show digits@1 --json
"""

_SHOWN = 12
"""How many columns and labels are shown without being asked for."""

_SHOWN_RUNS = 10


@click.command(name="list", epilog=LIST_EPILOG)
@click.argument("name", required=False, shell_complete=completes("data sets"))
@data_place_options
@json_option
@global_options()
def list_datasets(*, name: str | None, place: DataPlace, as_json: bool) -> None:
    """List the data sets, each with its latest version; or all versions of NAME, the newest first.

    The last column says where a version is: here, in a storage, or elsewhere. Where the latest is not here, the
    latest that is here is listed as well.
    """
    from kladml.datasets import DatasetReference
    from kladml.datasets.folders import folders_with_files
    from kladml_cli.data_output import moment, summary
    from kladml_cli.hints import hint
    from kladml_cli.terminal import print_json, print_table, size

    wanted = None if name is None else DatasetReference.parse(name).name
    with place.open() as opened:
        known, asked = opened.known(wanted)
        if wanted is not None and not known:
            opened.store.get(DatasetReference(wanted))  # says which there are
        dropped = set() if wanted else folders_with_files(opened.workspace.data / "datasets")
    for folder in sorted(dropped - {version.summary.name for version in known}):
        hint(f"data/datasets/{folder} is a folder, and no data set yet; 'kladml data sync' makes it one")
    found = _latest(known) if wanted is None else known[::-1]
    if as_json:
        print_json([summary(version) for version in found])
        return
    if not found:
        if not dropped:
            hint("no data sets yet; 'kladml data add NAME PATH' adds one")
        return
    rows = [
        (
            short.reference,
            short.format,
            "-" if short.rows is None else f"{short.rows:,}",
            str(short.files),
            size(short.size),
            moment(short.created_at),
            version.where,
        )
        for version in found
        for short in (version.summary,)
    ]
    print_table(("VERSION", "FORMAT", "ROWS", "FILES", "SIZE", "ADDED", "WHERE"), rows)
    unknown = [version for version in found if version.entry is None]
    if unknown and asked:
        what = unknown[0].summary.reference if len(unknown) == 1 else f"{len(unknown)} of these"
        hint(f"the catalog does not know {what}; 'kladml data sync' tells it")


@click.command(epilog=SHOW_EPILOG)
@click.argument("reference", metavar="NAME[@N]", shell_complete=completes("versions"))
@click.option("--files", "with_files", is_flag=True, help="Also list the files.")
@click.option("--all", "everything", is_flag=True, help="List all columns, labels and runs.")
@data_place_options
@json_option
@global_options()
def show(*, reference: str, with_files: bool, everything: bool, place: DataPlace, as_json: bool) -> None:
    """Show a version: fingerprint, where it is, columns and their types, rows, labels, and the runs trained on it.

    These are the runs of this workspace; the catalog does not know a forgotten one any more.
    """
    from kladml.datasets import DatasetReference
    from kladml_cli.data_output import in_short, moment, print_files, print_schema, summary, where
    from kladml_cli.hints import hint
    from kladml_cli.terminal import print_json

    wanted = DatasetReference.parse(reference)
    with place.open() as opened:
        version = _chosen(opened.store, wanted, opened.known(wanted.name)[0])
        known, forgotten = opened.runs_on({version.summary.reference})
    runs = [*known, *(f"{run} (forgotten)" for run in forgotten)]
    manifest, short = version.manifest, version.summary
    if as_json:
        content = summary(version) if manifest is None else manifest.as_dict() | where(version)
        print_json({"reference": short.reference, **content, "runs": known, "forgotten_runs": forgotten})
        return
    echo(f"{short.reference}  {in_short(short)}")
    echo(short.fingerprint)  # alone, so that a line of 80 columns holds it whole
    echo(f"added    {moment(short.created_at)}{'' if manifest is None else f' from {manifest.source}'}")
    echo(f"where    {version.where}")
    for line, run in enumerate(runs if everything else runs[:_SHOWN_RUNS]):
        echo(f"{'' if line else 'trained':<9}{run}")
    if len(runs) > _SHOWN_RUNS and not everything:
        echo(f"{'':<9}... and {len(runs) - _SHOWN_RUNS} more runs; see --all")
    if manifest is None:
        hint(f"Next: {version.next_step}")
        return
    print_schema(manifest.schema, None if everything else _SHOWN)
    if with_files:
        print_files(manifest)


def _latest(known: Sequence[KnownVersion]) -> list[KnownVersion]:
    """Return the latest version of each data set, and the latest that is here where that is another one."""
    chosen = []
    for name in dict.fromkeys(version.summary.name for version in known):
        versions = [version for version in known if version.summary.name == name]
        newest = max(version.summary.number for version in versions)
        here = max((version.summary.number for version in versions if version.manifest), default=None)
        chosen += [
            version
            for version in versions[::-1]
            if version.summary.number == newest or (version.manifest and version.summary.number == here)
        ]
    return chosen


def _chosen(store: DatasetStore, wanted: DatasetReference, known: Sequence[KnownVersion]) -> KnownVersion:
    """Return the version that a reference means: one that is here, else one that is elsewhere.

    Raises:
        DataError: There is none.
    """
    fitting = [version for version in known if wanted.version in (None, version.summary.number)]
    here = [version for version in fitting if version.manifest is not None]
    if not fitting:
        store.get(wanted)  # says which there are
    return (here or fitting)[-1]
