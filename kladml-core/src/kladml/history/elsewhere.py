"""What is known of a run whose folder is on another machine: from its storage, else from its tracker."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from kladml.config import RunConfig, schema_keys
from kladml.errors import ObjectNotFoundError
from kladml.files.scratch import scratch_folder
from kladml.runner.record import RECORD, RunRecord

if TYPE_CHECKING:
    from pathlib import Path

    from kladml.history.copying import Place
    from kladml.interfaces import CatalogRun, TrackerInterface


def stored_record(run: CatalogRun, place: Place, state: Path | None = None) -> RunRecord | None:
    """Return the record that a run's storage has, or None.

    Args:
        run: The run.
        place: Its storage.
        state: The `.kladml` folder of the workspace, for what is needed for a moment; without it, that goes to the
            system's folder for temporary files.

    Raises:
        StorageError: The storage fails.
        WorkspaceError: The record cannot be read.
    """
    with scratch_folder(state) as folder:
        try:
            place.storage.download_file(place.bucket, f"{run.address.path}/{RECORD}", folder / RECORD)
        except ObjectNotFoundError:
            return None
        record = RunRecord.read(folder)
    is_same = record is not None and run.run_id in (record.run_id, *record.earlier_ids)
    return record if is_same else None


def tracked_record(run: CatalogRun, tracker: TrackerInterface) -> RunRecord | None:
    """Return what a run's tracker has of its parameters and tags, or None where it cannot be read.

    Args:
        run: The run.
        tracker: Its tracker.

    Raises:
        TrackerError: The tracker fails, or does not have it.
    """
    if "read" not in tracker.capabilities:
        return None
    tracked = tracker.get_run(run.run_id)
    kinds = {key.key: key.type_name for key in schema_keys(RunConfig).values()}
    params = {key: _value(text, kinds.get(key, "")) for key, text in tracked.params.items()}
    began = run.started_at.isoformat()
    return RunRecord(str(run.address), run.run_id, run.status, began, params=params, tags=tracked.tags)


def _value(text: str, kind: str) -> Any:
    """Return what a parameter was before a tracker made it text; the text itself where no literal of Python was that.

    Args:
        text: The text.
        kind: Type of the key, as the schema names it; empty where it has none.
    """
    if kind.startswith("text"):
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if str(value) == text else text
