"""`kladml data`: data sets and their versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kladml_cli.commands.data_compare import diff, verify
from kladml_cli.commands.data_show import list_datasets, show
from kladml_cli.commands.data_sync import sync
from kladml_cli.commands.data_transfer import pull, push
from kladml_cli.completion.attach import completes
from kladml_cli.data_place import data_place_options
from kladml_cli.groups import CommandGroup
from kladml_cli.options import global_options
from kladml_cli.settings_options import json_option

if TYPE_CHECKING:
    from kladml.datasets import DatasetReference, DatasetStore
    from kladml.interfaces import CatalogDataset
    from kladml_cli.data_place import DataPlace

GROUP_EPILOG = """\
Examples:

\b
  kladml data add digits digits.csv --target digit
  kladml data list
  kladml data diff digits@1 digits@2
  kladml data push digits --storage s3
"""

ADD_EPILOG = """\
Examples:

\b
  kladml data add digits digits.csv --target digit
  kladml data add photos path/to/folder
  kladml data add big /mnt/big.parquet --link

Then train on it: kladml config new --data digits, and kladml train digits

Formats: CSV, Parquet, Arrow and Feather (these need the extra 'data' of kladml-core), NPZ, NPY, safetensors, and
folders of images whose names are the labels. Other files are kept, too.
"""

REMOVE_EPILOG = """\
Examples:

\b
  kladml data remove digits@1
  kladml data remove digits --all --yes
  kladml data remove digits@1 --forget

The number of a version that was removed is not given again. The catalog goes on
knowing a version that was pushed to a storage, unless you add --forget.
"""


@click.group(cls=CommandGroup, epilog=GROUP_EPILOG)
def data() -> None:
    """Keep data sets in versions; compare and move them.

    NAME is a data set, NAME@2 its second version; NAME alone stands for the latest one.
    """


@data.command(epilog=ADD_EPILOG)
@click.argument("name", shell_complete=completes("data sets"))
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--target", metavar="COLUMN", help="Column or array with the targets; as before, or y, target, label.")
@click.option("--link", is_flag=True, help="Hard-link the files instead of copying them; they are read-only then.")
@data_place_options
@json_option
@global_options()
def add(*, name: str, path: Path, target: str | None, link: bool, place: DataPlace, as_json: bool) -> None:
    """Make a version NAME@n of the file or folder PATH.

    The files are copied into the workspace; where the file system has reflinks, copies share their blocks. Contents
    that a version has already are not copied again. If anything fails, nothing is kept.

    The catalog gives the number: who shares it has the same content under NAME@n.
    """
    from kladml.datasets.catalog_versions import entry_of
    from kladml_cli.data_output import in_short, summary_of_manifest
    from kladml_cli.hints import hint
    from kladml_cli.interruption import if_interrupted
    from kladml_cli.progress import bar
    from kladml_cli.terminal import print_json

    with place.open() as opened, if_interrupted("nothing was added"):
        manifest, is_new = opened.store.add(name, path, target=target, link=link, progress=bar)
        before = opened.store.versions(name)[:-1]
    if as_json:
        print_json({"new": is_new, **summary_of_manifest(manifest)})
        return
    if not is_new:
        click.echo(f"{manifest.reference} has exactly this content already")
        return
    click.echo(f"{manifest.reference}  {in_short(entry_of(manifest))}")
    click.echo(manifest.fingerprint)
    step = f"data diff {before[-1].reference} {manifest.reference}" if before else f"config new --data {manifest.name}"
    hint(f"Next: kladml {step}")


@data.command(epilog=REMOVE_EPILOG)
@click.argument("reference", metavar="NAME[@N]", shell_complete=completes("versions"))
@click.option("--all", "everything", is_flag=True, help="Remove all versions of NAME.")
@click.option("--force", is_flag=True, help="Also what runs were trained on, which then cannot go on or be repeated.")
@click.option("--forget", is_flag=True, help="Let the catalog forget it also where others may have it.")
@click.option("--yes", is_flag=True, help="Do not ask; --all needs it where there is no terminal.")
@data_place_options
@global_options()
def remove(*, reference: str, everything: bool, force: bool, forget: bool, yes: bool, place: DataPlace) -> None:
    """Remove a version, and the contents that no other version has."""
    from kladml.datasets import DatasetReference
    from kladml.errors import DataError
    from kladml_cli.confirmation import confirm_deletion
    from kladml_cli.hints import hint
    from kladml_cli.terminal import size

    with place.open() as opened:
        store, wanted = opened.store, DatasetReference.parse(reference)
        here = [each for each in store.versions(wanted.name) if wanted.version in (None, each.version)]
        numbers = {manifest.version for manifest in here}
        elsewhere = [each for each in _in_catalog(store, wanted) if each.number not in numbers]
        if not here and not (elsewhere and forget):
            _say_what_there_is(store, wanted, elsewhere)
        if wanted.version is None and not everything:
            count = len(here) or len(elsewhere)
            problem = f"'{wanted.name}' has {count} version{'s' if count > 1 else ''}"
            first = here[0].reference if here else elsewhere[0].reference
            raise DataError(problem, next_step=f"name one, such as {first}, or add --all")
        users = opened.runs_on({str(manifest.reference) for manifest in here})[0]
        if users and not force:
            more = f" and {len(users) - 1} more" if len(users) > 1 else ""
            problem = f"{reference} was trained on by {users[0]}{more}, which could not go on or be repeated"
            raise DataError(problem, next_step="add --force to remove it nevertheless")
        if wanted.version is None:
            gone = [str(each.reference) for each in here or elsewhere]
            confirm_deletion(f"Remove {', '.join(gone)}?", yes=yes)
        if here:
            for manifest in store.remove(wanted, everywhere=forget):
                click.echo(f"removed {manifest.reference}  {size(manifest.size)}")
            for entry in _in_catalog(store, wanted):
                if entry.number in numbers:
                    hint(f"the catalog still knows {entry.reference}, which is in {entry.storage}")
        for entry in elsewhere if forget else ():
            store.shared.forget_entry(entry)
            click.echo(f"the catalog forgot {entry.reference}")


for _command in (list_datasets, show, diff, sync, verify, push, pull):
    data.add_command(_command)


def _in_catalog(store: DatasetStore, wanted: DatasetReference) -> list[CatalogDataset]:
    return [each for each in store.shared.versions(wanted.name) if wanted.version in (None, each.number)]


def _say_what_there_is(store: DatasetStore, wanted: DatasetReference, elsewhere: list[CatalogDataset]) -> None:
    """Refuse to remove what the workspace does not have.

    Raises:
        DataError: Always.
    """
    from kladml.errors import DataError

    if elsewhere:
        problem = f"{wanted} is not in this workspace, and the catalog knows it from elsewhere"
        raise DataError(problem, next_step="add --forget to let the catalog forget it")
    store.get(wanted)
