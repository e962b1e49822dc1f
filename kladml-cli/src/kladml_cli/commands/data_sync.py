"""`kladml data sync`: data/datasets/, the versions and the catalog in step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kladml_cli.completion.attach import completes
from kladml_cli.data_place import data_place_options
from kladml_cli.options import global_options
from kladml_cli.settings_options import json_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kladml.datasets.folders import Synced
    from kladml_cli.data_place import DataPlace, OpenData

SYNC_EPILOG = """\
Examples:

\b
  kladml data sync
  kladml data sync digits
  kladml data sync --dry-run
"""

_STYLES = {"failed": {"fg": "red"}, "added": {"fg": "green"}, "noted": {"fg": "green"}, "written": {"fg": "yellow"}}
_DONE = {
    "kept": "in step",
    "added": "added from the folder",
    "written": "written to the folder",
    "noted": "noted in the catalog",
}
_WOULD = {
    "kept": "in step",
    "added": "would be added from the folder",
    "written": "would be written to the folder",
    "noted": "would be noted in the catalog",
}


@click.command(epilog=SYNC_EPILOG)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=completes("data sets"))
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@data_place_options
@json_option
@global_options()
def sync(*, names: tuple[str, ...], dry_run: bool, place: DataPlace, as_json: bool) -> None:
    """Keep data/datasets/, the versions and the catalog in step.

    A folder data/datasets/NAME whose content is new becomes the next version of NAME. A data set without a folder
    gets one, and a folder that nobody touched follows the latest version. Versions that the catalog lacks are noted
    there, and those that only the catalog knows are listed with how to get them.
    """
    from dataclasses import asdict

    from kladml.errors import DataError
    from kladml_cli.hints import hint
    from kladml_cli.interruption import if_interrupted
    from kladml_cli.terminal import print_json, print_table

    with place.open() as opened, if_interrupted("repeat it to bring the rest in step"):
        opened.store.shared.check()
        rows = list(_synced(opened, names, dry_run=dry_run))
    if as_json:
        print_json([asdict(row) for row in rows])
    elif not rows:
        hint("no data sets, and nothing in data/datasets/")
    else:
        told = _WOULD if dry_run else _DONE
        cells = [
            (
                row.name if row.version is None else f"{row.name}@{row.version}",
                f"elsewhere: {row.next_step}" if row.action == "elsewhere" else told.get(row.action, row.action),
            )
            for row in rows
        ]
        print_table(("VERSION", "WHAT"), cells, [_STYLES.get(row.action, {}) for row in rows])
    failed = [row for row in rows if row.problem is not None]
    if failed:
        count = len({row.name for row in rows})
        some = len({row.name for row in failed})
        problem = f"{some} of {count} data sets could not be brought in step: {failed[0].problem}"
        raise DataError(problem)


def _synced(opened: OpenData, names: tuple[str, ...], *, dry_run: bool) -> Iterator[Synced]:
    from kladml.datasets.catalog_sync import sync_catalog
    from kladml.datasets.folders import DatasetFolders, Synced
    from kladml.errors import DataError
    from kladml_cli.progress import bar

    folders = DatasetFolders(opened.store, opened.workspace.data / "datasets")
    here = folders.names()
    elsewhere = {version.name for version in opened.store.shared.versions()}
    for name in names or sorted({*here, *elsewhere}):
        try:
            if name in here or name not in elsewhere:
                yield folders.sync(name, only_look=dry_run, progress=bar)
            yield from sync_catalog(opened.store, name, only_look=dry_run)
        except DataError as error:  # the others are brought in step nevertheless
            yield Synced(name, "failed", None, str(error))
