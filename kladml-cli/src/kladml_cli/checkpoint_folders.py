"""Which checkpoints are meant: those of a run, by its address, or those in a folder."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from kladml.errors import AddressError, CheckpointError, KladMLError
from kladml.history.references import BEST
from kladml.interfaces import RunAddress
from kladml.training.checkpointing.format import MANIFEST, step_of
from kladml.training.checkpointing.manifest import checkpoints_in
from kladml.workspace import Workspace

_IS_PARTIAL = re.compile("[^/]+/[^/]+")


def find_checkpoints(target: str, workspace: Path | None) -> tuple[Path, list[Path]]:
    """Return the folder that is named and the checkpoints in it, the oldest first.

    Args:
        target: The address of a run, a folder of checkpoints or of a run, or a single checkpoint, which is then both.
        workspace: Where to look for the run; the workspace around the current folder by default.

    Raises:
        AddressError: It is neither, or there is no such run.
        CheckpointError: The run has no checkpoints on this machine.
        WorkspaceError: There is no workspace.
    """
    folder = Path(target).resolve()
    if not folder.is_dir():
        if "@" not in target:
            problem = f"'{target}' is neither the address of a run nor a folder"
            raise AddressError(
                problem, next_step="write project/family/experiment@n; 'kladml runs list' shows the runs"
            )
        place = Workspace.find(workspace)
        address = _address(target, place)
        folder = place.state / "runs" / address.path / "checkpoints"
        if not folder.is_dir():
            raise _not_here(address, place, folder)
    if (folder / MANIFEST).is_file() or step_of(folder.name) is not None:
        return folder, [folder]
    inner = folder / "checkpoints"
    folder = inner if inner.is_dir() else folder
    return folder, checkpoints_in(folder)


def _address(target: str, workspace: Workspace) -> RunAddress:
    """Return the run that an address means; a short one is looked up in the catalog.

    Raises:
        AddressError: It means none, or could mean several.
    """
    experiment, _, label = target.rpartition("@")
    if experiment and label != BEST and not label.startswith("-"):
        address = None if _IS_PARTIAL.fullmatch(experiment) else RunAddress.parse(target)
        if address is not None and (experiment.count("/") or (workspace.state / "runs" / address.path).is_dir()):
            return address
    from kladml_cli.run_place import RunPlace

    with RunPlace(workspace=workspace.root).open() as opened:
        return opened.find(target).address


def _not_here(address: RunAddress, workspace: Workspace, folder: Path) -> KladMLError:
    """Return the error for a run without checkpoints on this machine, which says what the catalog knows of it."""
    from kladml_cli.configuration import Configuration

    runs = None
    with suppress(KladMLError), Configuration(workspace).open_catalog() as catalog:
        runs = catalog.list_runs(address.experiment)
    run = next((run for run in runs or () if run.address == address), None)
    if runs is not None and run is None:
        problem = f"there is no run {address} in the workspace {workspace.root}"
        return AddressError(problem, next_step="'kladml runs list' shows those there are")
    problem = f"run {address} has no checkpoints on this machine: {folder} does not exist"
    storage = run.backends.get("storage") if run is not None else None
    where = f"the storage '{storage}' may have them, under '{address.path}/'" if storage else "it may have saved none"
    return CheckpointError(problem, next_step=f"{where}; a folder of checkpoints can be named instead of the run")
