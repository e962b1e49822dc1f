"""Deleting a run: its folder, its stored files, its place in the catalog; and what stays of it elsewhere."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kladml.errors import TrainingError, WorkspaceError
from kladml.files.lock import HOLDER, LOCK
from kladml.runner.record import RunRecord
from kladml.runner.run_lock import RunLock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kladml.interfaces import CatalogInterface, CatalogRun, StorageInterface


@dataclass(frozen=True)
class Deletion:
    """What deleting a run removes, and what stays.

    Attributes:
        run: The run.
        folder: Its folder, or None if there is none on this machine.
        size: How many bytes are in the folder.
        storage: The storage that has its files, or None.
        bucket: The bucket there.
        keys: Its files there.
        stays: What is not removed, as people read it.
    """

    run: CatalogRun
    folder: Path | None
    size: int = 0
    storage: StorageInterface | None = None
    bucket: str = ""
    keys: list[str] = field(default_factory=list)
    stays: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-able."""
        return {
            "address": str(self.run.address),
            "folder": None if self.folder is None else str(self.folder),
            "bytes": self.size,
            "stored_files": self.keys,
            "stays": self.stays,
        }


def plan_deletion(run: CatalogRun, runs: Path, storage: tuple[StorageInterface, str] | None) -> Deletion:
    """Return what deleting a run would remove.

    Args:
        run: The run.
        runs: The folder of all runs of the workspace.
        storage: The storage that has its files and the bucket there, or None.

    Raises:
        StorageError: The storage fails.
        WorkspaceError: The run's record cannot be read.
    """
    folder = runs / run.address.path
    record = RunRecord.read(folder)
    stays = [f"tracker {name}: run {run_id}" for name, run_id in _tracked(run, record)]
    keys: list[str] = []
    place, bucket = storage if storage is not None else (None, "")
    if place is not None:
        keys = [*place.iter_files(bucket, f"{run.address.path}/")]
        if keys and "delete" not in place.capabilities:
            name = run.backends.get("storage")
            stays.append(f"storage {name}: {len(keys)} files under {bucket}/{run.address.path}/, which cannot delete")
            keys = []
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    size = sum(path.stat().st_size for path in files)
    return Deletion(run, folder if folder.is_dir() else None, size, place, bucket, keys, stays)


def delete(deletion: Deletion, catalog: CatalogInterface, progress: Callable[[int], None] = lambda _: None) -> None:
    """Delete a run. Repeating it after it was cut off removes the rest.

    Args:
        deletion: What to remove.
        catalog: The catalog, which forgets the run at last.
        progress: Called with 1 for every stored file that is deleted.

    Raises:
        CapabilityError: The catalog cannot forget runs; nothing was removed.
        TrainingError: The run is going on; nothing was removed.
        StorageError: The storage fails; the run stays in the catalog.
        WorkspaceError: The folder cannot be removed; the run stays in the catalog.
    """
    run = deletion.run
    if "organise" not in catalog.capabilities:
        catalog.delete_run(run.address)  # which says what it lacks
    with ExitStack() as locks:
        if deletion.folder is not None:
            locks.enter_context(RunLock(deletion.folder, run.address))
        elif run.status == "RUNNING":
            problem = f"run {run.address} is RUNNING, and not on this machine"
            raise TrainingError(problem, next_step="end it where it runs, or delete it there")
        if deletion.storage is not None:
            for key in deletion.keys:
                deletion.storage.delete_file(deletion.bucket, key)
                progress(1)
        if deletion.folder is not None:
            _empty(deletion.folder)
        catalog.delete_run(run.address)
    if deletion.folder is not None:
        shutil.rmtree(deletion.folder, ignore_errors=True)  # the lock alone is left


def _empty(folder: Path) -> None:
    """Remove everything in a folder but the lock, which is held."""
    try:
        for path in folder.iterdir():
            if path.name in (LOCK, HOLDER):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    except OSError as error:
        problem = f"the folder {folder} cannot be removed: {error}"
        raise WorkspaceError(problem, next_step="see the permissions there, and repeat it") from error


def _tracked(run: CatalogRun, record: RunRecord | None) -> list[tuple[str, str]]:
    if record is not None and record.tracker_runs:
        return record.tracker_runs
    return [(name, run.run_id) for name in run.backends.get("tracker", "").split(",")[:1] if name]
