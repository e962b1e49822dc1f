"""`kladml data`: data sets and their versions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kladml_cli.commands.data_compare import diff, sync, verify
from kladml_cli.commands.data_transfer import pull, push
from kladml_cli.completion.attach import completes
from kladml_cli.groups import CommandGroup
from kladml_cli.options import global_options
from kladml_cli.settings_options import json_option, workspace_option

if TYPE_CHECKING:
    from kladml.datasets import Manifest, Schema

ADD_EPILOG = """\
Examples:

\b
  kladml data add digits digits.csv --target digit
  kladml data add photos path/to/folder
  kladml data add big /mnt/big.parquet --link

Then train on it: kladml train --model model.py:Net --data digits

Formats: CSV, Parquet, Arrow and Feather (these need the extra 'data' of kladml-core), NPZ, NPY, safetensors, and
folders of images whose names are the labels. Other files are kept, too.
"""

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

REMOVE_EPILOG = """\
Examples:

\b
  kladml data remove digits@1
  kladml data remove digits --all

The number of a version that was removed is not given again.
"""

_SHOWN = 12
"""How many columns and labels are shown without being asked for."""


@click.group(cls=CommandGroup)
def data() -> None:
    """Keep data sets in versions; compare and move them.

    NAME is a data set, NAME@2 its second version; NAME alone stands for the latest one.
    """


@data.command(epilog=ADD_EPILOG)
@click.argument("name", shell_complete=completes("data sets"))
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--target", metavar="COLUMN", help="Column or array with the targets; as before, or y, target, label.")
@click.option("--link", is_flag=True, help="Hard-link the files instead of copying them; they are read-only then.")
@workspace_option
@json_option
@global_options()
def add(*, name: str, path: Path, target: str | None, link: bool, workspace: Path | None, as_json: bool) -> None:
    """Make a version NAME@n of the file or folder PATH.

    The files are copied into the workspace; where the file system has reflinks, copies share their blocks. Contents
    that a version has already are not copied again. If anything fails, nothing is kept.
    """
    from kladml.datasets import DatasetStore
    from kladml.workspace import Workspace
    from kladml_cli.interruption import if_interrupted
    from kladml_cli.progress import bar
    from kladml_cli.terminal import hint, print_json

    store = DatasetStore(Workspace.find(workspace).state)
    with if_interrupted("nothing was added"):
        manifest, is_new = store.add(name, path, target=target, link=link, progress=bar)
    if as_json:
        print_json({"new": is_new, **_summary(manifest)})
        return
    if not is_new:
        click.echo(f"{manifest.reference} has exactly this content already")
        return
    click.echo(f"{manifest.reference}  {_in_short(manifest)}")
    click.echo(manifest.fingerprint)
    hint(f"Next: kladml train ... --data {manifest.name}")


@data.command(name="list", epilog=LIST_EPILOG)
@click.argument("name", required=False, shell_complete=completes("data sets"))
@workspace_option
@json_option
@global_options()
def list_datasets(*, name: str | None, workspace: Path | None, as_json: bool) -> None:
    """List the data sets, each with its latest version; or all versions of NAME, the newest first."""
    from kladml.datasets import DatasetReference, DatasetStore
    from kladml.workspace import Workspace
    from kladml_cli.terminal import hint, print_json, print_table, size

    store = DatasetStore(Workspace.find(workspace).state)
    if name is None:
        found = [store.versions(each)[-1] for each in store.names()]
    else:
        store.get(DatasetReference(DatasetReference.parse(name).name))  # says which there are
        found = store.versions(DatasetReference.parse(name).name)[::-1]
    if as_json:
        print_json([_summary(manifest) for manifest in found])
        return
    if not found:
        hint("no data sets yet; 'kladml data add NAME PATH' adds one")
        return
    rows = [
        (
            str(manifest.reference),
            manifest.schema.format,
            "-" if manifest.schema.rows is None else f"{manifest.schema.rows:,}",
            str(len(manifest.files)),
            size(manifest.size),
            _when(manifest.created_at),
        )
        for manifest in found
    ]
    print_table(("VERSION", "FORMAT", "ROWS", "FILES", "SIZE", "ADDED"), rows)


@data.command(epilog=SHOW_EPILOG)
@click.argument("reference", metavar="NAME[@N]", shell_complete=completes("versions"))
@click.option("--files", "with_files", is_flag=True, help="Also list the files.")
@click.option("--all", "everything", is_flag=True, help="List all columns and labels.")
@workspace_option
@json_option
@global_options()
def show(*, reference: str, with_files: bool, everything: bool, workspace: Path | None, as_json: bool) -> None:
    """Show a version: fingerprint, columns and their types, rows, labels."""
    from kladml.datasets import DatasetStore
    from kladml.workspace import Workspace
    from kladml_cli.terminal import print_json

    manifest = DatasetStore(Workspace.find(workspace).state).get(reference)
    if as_json:
        print_json({"reference": str(manifest.reference), **manifest.as_dict()})
        return
    click.echo(f"{manifest.reference}  {_in_short(manifest)}")
    click.echo(f"fingerprint  {manifest.fingerprint}")
    click.echo(f"added        {_when(manifest.created_at)} from {manifest.source}")
    _print_schema(manifest.schema, None if everything else _SHOWN)
    if with_files:
        _print_files(manifest)


@data.command(epilog=REMOVE_EPILOG)
@click.argument("reference", metavar="NAME[@N]", shell_complete=completes("versions"))
@click.option("--all", "everything", is_flag=True, help="Remove all versions of NAME.")
@click.option("--force", is_flag=True, help="Also what runs were trained on, which then cannot go on or be repeated.")
@workspace_option
@global_options()
def remove(*, reference: str, everything: bool, force: bool, workspace: Path | None) -> None:
    """Remove a version, and the contents that no other version has."""
    from kladml.datasets import DatasetReference, DatasetStore
    from kladml.errors import DataError
    from kladml.workspace import Workspace
    from kladml_cli.terminal import size

    place = Workspace.find(workspace)
    store, wanted = DatasetStore(place.state), DatasetReference.parse(reference)
    versions = [store.get(wanted)] if wanted.version is not None else store.versions(wanted.name)
    if wanted.version is None:
        store.get(wanted)  # says which data sets there are
        if not everything:
            problem = f"'{wanted.name}' has {len(versions)} version{'s' if len(versions) > 1 else ''}"
            hint = f"name one, such as {versions[0].reference}, or add --all"
            raise DataError(problem, next_step=hint)
    users = _runs_on(place.state, {str(manifest.reference) for manifest in versions})
    if users and not force:
        more = f" and {len(users) - 1} more" if len(users) > 1 else ""
        problem = f"{reference} was trained on by {users[0]}{more}, which could not go on or be repeated"
        raise DataError(problem, next_step="add --force to remove it nevertheless")
    for manifest in store.remove(wanted):
        click.echo(f"removed {manifest.reference}  {size(manifest.size)}")


for _command in (diff, sync, verify, push, pull):
    data.add_command(_command)


def _runs_on(state: Path, references: set[str]) -> list[str]:
    """Return the addresses of runs that were trained on one of these versions, or on a part of one."""
    import json

    found = []
    for file in sorted((state / "runs").glob("*/*/*/*/run.json")):
        try:
            record = json.loads(file.read_bytes())
            used = str(record["tags"].get("kladml.data", ""))
        except (OSError, ValueError, KeyError, AttributeError):
            continue
        if used.partition("/")[0] in references:
            found.append(str(record.get("address", file.parent.name)))
    return found


def _summary(manifest: Manifest) -> dict[str, Any]:
    content = manifest.as_dict()
    del content["files"], content["format"], content["removed_at"]
    return {"reference": str(manifest.reference), **content, "files": len(manifest.files)}


def _in_short(manifest: Manifest) -> str:
    """Return format, rows, columns and size in a line."""
    from kladml_cli.terminal import size

    schema, files = manifest.schema, len(manifest.files)
    parts = [schema.format if schema.format != "files" else "files of no known format"]
    if schema.rows is not None:
        parts.append(f"{schema.rows:,} {'images' if schema.format == 'images' else 'rows'}")
    if schema.columns:
        what = "columns" if schema.format in ("csv", "parquet", "arrow") else "arrays"
        parts.append(f"{len(schema.columns)} {what}")
    if schema.labels:
        parts.append(f"{len(schema.labels)} labels")
    parts.append(f"{files} file{'s' if files > 1 else ''}, {size(manifest.size)}")
    return ", ".join(parts)


def _print_schema(schema: Schema, most: int | None) -> None:
    from kladml_cli.terminal import print_table

    if schema.columns:
        click.echo()
        rows = []
        for column in schema.columns[:most]:
            notes = ["target"] if column.name == schema.target else []
            notes += [f"{column.missing:,} missing"] if column.missing else []
            rows.append((column.name, str(column), ", ".join(notes)))
        print_table(("COLUMN", "TYPE", ""), rows)
        _say_rest(len(schema.columns), most, "columns")
    if schema.labels:
        click.echo()
        labels = [(label, f"{count:,}") for label, count in schema.labels.items()]
        print_table(("LABEL", "ROWS"), labels[:most])
        _say_rest(len(labels), most, "labels")


def _say_rest(there_are: int, most: int | None, what: str) -> None:
    if most is not None and there_are > most:
        click.echo(f"... and {there_are - most} more {what}; see --all")


def _print_files(manifest: Manifest) -> None:
    from kladml_cli.terminal import print_table, size

    click.echo()
    rows = [(file.name, size(file.size), file.digest[:16]) for file in manifest.files]
    print_table(("FILE", "SIZE", "BLAKE2B"), rows)


def _when(moment: str) -> str:
    from datetime import datetime

    return f"{datetime.fromisoformat(moment).astimezone():%Y-%m-%d %H:%M}"
