"""How a run really stands: its process may have ended without a word."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kladml.errors import WorkspaceError
from kladml.files.lock import HOLDER, lost_holder
from kladml.runner.record import RunRecord

if TYPE_CHECKING:
    from pathlib import Path

    from kladml.interfaces import CatalogRun

RUNNING = "RUNNING"
LOST = "LOST"
"""What is said of a run whose process is no more and recorded no end; a catalog has it as `RUNNING`."""


def standing(run: CatalogRun, runs: Path) -> CatalogRun:
    """Return a run as it stands: one that a catalog has as `RUNNING` may be lost, or may have ended.

    A process of another machine cannot be asked for, and its runs stay as the catalog has them.

    Args:
        run: The run as the catalog has it.
        runs: The folder of all runs of the workspace.
    """
    if run.status != RUNNING:
        return run
    folder = runs / run.address.path
    if (folder / HOLDER).exists():
        return run if lost_holder(folder) is None else replace(run, status=LOST)
    try:  # the catalog may have been away when the run ended
        record = RunRecord.read(folder)
    except WorkspaceError:
        return run
    if record is None or record.run_id != run.run_id:
        return run
    return replace(run, status=record.status, metrics=run.metrics or record.metrics)


def loss_of(folder: Path) -> str | None:
    """Return which process of this machine was to train the run of a folder and is no more, as a clause, or None."""
    process = lost_holder(folder)
    return None if process is None else f"its process {process} is no more and recorded no end"
