"""When a project, a family or an experiment is not deleted."""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

import click

from kladml.errors import KladMLError, NotEmptyError
from kladml.interfaces.refusals import contents

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kladml.interfaces import CatalogInterface, Removal
    from kladml.workspace import Workspace
    from kladml_cli.configuration import Configuration

_MOST_SHOWN = 20


def refuse_unless_empty(removal: Removal) -> None:
    """Refuse to delete what holds something, and list it on standard error.

    Raises:
        NotEmptyError: Something is inside.
    """
    from kladml_cli.entry_output import removal_rows

    if removal.is_empty:
        return
    rows = removal_rows(removal)[1:]
    for what, address in rows[:_MOST_SHOWN]:
        click.echo(f"it holds  {what:<10}  {address}", err=True)
    if len(rows) > _MOST_SHOWN:
        click.echo(f"and {len(rows) - _MOST_SHOWN} more; --dry-run lists them all", err=True)
    problem = f"{removal.address.level} '{removal.address}' is not empty: it holds {contents(removal)}"
    raise NotEmptyError(problem, next_step="add --recursive to delete what is inside, too")


def stored_places(catalog: CatalogInterface, removal: Removal, loaded: Configuration) -> list[str]:
    """Return where the runs that go have their files: a folder of the workspace, or storage, bucket and folder."""
    going = set(removal.runs)
    names = {run.backends.get("storage") for run in catalog.list_runs() if run.address in going} if going else set()
    return [_stored_place(name, removal, loaded) for name in sorted(filter(None, names))]


def _stored_place(name: str, removal: Removal, loaded: Configuration) -> str:
    try:
        with closing(loaded.select("storage", name)) as storage:
            bucket = loaded.resolved.run.artifacts.bucket or storage.default_bucket
    except KladMLError:  # only its place is asked for
        return f"storage {name}"
    folder = loaded.workspace.data / bucket / str(removal.address)
    if folder.is_dir():
        return folder.relative_to(loaded.workspace.root).as_posix()
    return f"{name}/{bucket}/{removal.address}"


@contextmanager
def not_being_trained(catalog: CatalogInterface, removal: Removal, workspace: Workspace) -> Iterator[None]:
    """Keep the runs that are to go from being trained on this machine while the block is under way.

    Raises:
        TrainingError: A process trains one of them.
    """
    from kladml.runner.run_lock import RunLock

    going = set(removal.runs)
    running = [run.address for run in catalog.list_runs() if run.address in going and run.status == "RUNNING"]
    with ExitStack() as locks:
        for address in running:
            folder = workspace.state / "runs" / address.path
            if folder.is_dir():
                locks.enter_context(RunLock(folder, address))
        yield
