"""`kladml data push` and `pull`: versions of data sets in the selected storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kladml_cli.completion.attach import completes
from kladml_cli.data_place import data_place_options
from kladml_cli.options import global_options
from kladml_cli.settings_options import json_option, setting_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kladml_cli.data_place import DataPlace

PUSH_EPILOG = """\
Examples:

\b
  kladml data push digits@2
  kladml data push digits --storage s3 --set storage.s3.bucket=my-bucket
"""

PULL_EPILOG = """\
Examples:

\b
  kladml data pull digits@2
  kladml data pull digits --storage s3

What is damaged in the workspace is replaced, too.
"""


def _transfer_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        global_options(),
        json_option,
        data_place_options,
        setting_option(
            "--storage",
            key="storage.use",
            metavar="NAME",
            help="The storage; the configured one by default.",
            completing="plugins storage",
        ),
        click.argument("reference", metavar="NAME[@N]", shell_complete=completes("versions")),
    ):
        command = option(command)
    return command


@click.command(epilog=PUSH_EPILOG)
@_transfer_options
def push(**options: Any) -> None:
    """Store a version in the selected storage; only contents that are missing there are sent.

    The manifest is stored last: a version that is not there as a whole cannot be pulled.
    """
    for moved in _moved("push", **options):
        click.echo(moved)


@click.command(epilog=PULL_EPILOG)
@_transfer_options
def pull(**options: Any) -> None:
    """Take a version from the selected storage; only contents that are missing here are fetched, and verified."""
    for moved in _moved("pull", **options):
        click.echo(moved)


def _moved(direction: str, *, reference: str, place: DataPlace, as_json: bool) -> Iterator[str]:
    """Move a version; yield what is to be said of it."""
    from kladml.datasets import DatasetReference
    from kladml.datasets.transfer import DatasetTransfer
    from kladml_cli.interruption import if_interrupted
    from kladml_cli.progress import bar
    from kladml_cli.terminal import print_json, size

    wanted = DatasetReference.parse(reference)
    with place.open() as opened:
        manifest = opened.store.get(wanted) if direction == "push" else None
        storage, name, bucket = opened.configuration.open_storage()
        with storage:
            transfer = DatasetTransfer(opened.store, storage, bucket, name)
            with if_interrupted("what was moved stays; repeat it to move the rest"):
                if manifest is not None:
                    count = transfer.push(manifest, bar)
                else:
                    manifest, count = transfer.pull(wanted, bar)
    if as_json:
        content = {"reference": str(manifest.reference), "fingerprint": manifest.fingerprint, "bucket": bucket}
        print_json({**content, "files": len(manifest.files), "transferred": count})
        return
    done = "pushed to" if direction == "push" else "pulled from"
    whole = f"{len(manifest.files)} file{'s' if len(manifest.files) > 1 else ''}, {size(manifest.size)}"
    yield f"{manifest.reference} {done} '{bucket}': {count} of {whole} were missing"
