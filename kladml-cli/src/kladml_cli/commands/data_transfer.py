"""`kladml data push` and `pull`: versions of data sets in the selected storage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kladml_cli.completion.attach import completes
from kladml_cli.options import global_options
from kladml_cli.settings_options import (
    configuration_options,
    entries_of,
    json_option,
    setting_option,
    workspace_option,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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
        workspace_option,
        configuration_options,
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
@click.pass_context
def push(context: click.Context, /, **options: Any) -> None:
    """Store a version in the selected storage; only contents that are missing there are sent.

    The manifest is stored last: a version that is not there as a whole cannot be pulled.
    """
    for moved in _moved(context, "push", **options):
        click.echo(moved)


@click.command(epilog=PULL_EPILOG)
@_transfer_options
@click.pass_context
def pull(context: click.Context, /, **options: Any) -> None:
    """Take a version from the selected storage; only contents that are missing here are fetched, and verified."""
    for moved in _moved(context, "pull", **options):
        click.echo(moved)


def _moved(
    context: click.Context,
    direction: str,
    *,
    reference: str,
    config_source: str | None,
    profile: str | None,
    workspace: Path | None,
    as_json: bool,
) -> Iterator[str]:
    """Move a version; yield what is to be said of it."""
    from kladml.datasets import DatasetReference, DatasetStore
    from kladml.datasets.transfer import DatasetTransfer
    from kladml.workspace import Workspace
    from kladml_cli.configuration import Configuration
    from kladml_cli.interruption import if_interrupted
    from kladml_cli.progress import bar
    from kladml_cli.terminal import print_json, size

    place = Workspace.find(workspace)
    store, wanted = DatasetStore(place.state), DatasetReference.parse(reference)
    manifest = store.get(wanted) if direction == "push" else None
    loaded = Configuration(place, source=config_source, profile=profile, overrides=entries_of(context))
    storage, bucket = loaded.open_storage()
    with storage:
        transfer = DatasetTransfer(store, storage, bucket)
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
