"""A note of which run a process trains, for its supervisor, which ends the run where the process could not."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from kladml.interfaces import RunAddress
from kladml.log import get_logger

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from kladml.runner.record import RunRecord
    from kladml.runner.selection import BackendSelector
    from kladml_cli.configuration import Configuration

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RunNote:
    """Which run it is, and how it ended.

    Attributes:
        address: `project/family/experiment@n`.
        run_id: The first tracker's identifier of the run.
        status: How it ended, or None while it goes on.
    """

    address: str
    run_id: str
    status: str | None = None

    def write(self, file: Path) -> None:
        """Write the note, whole or not at all."""
        unfinished = file.with_suffix(".tmp")
        unfinished.write_text(json.dumps(asdict(self)), encoding="utf-8")
        unfinished.replace(file)

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """Read a note; None if there is none."""
        try:
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    @property
    def outcome(self) -> str:
        """What became of the run, as a clause."""
        return outcome_of(self.address, self.status)


def outcome_of(address: str, status: str | None) -> str:
    """Say what became of a run, as a clause.

    Args:
        address: The run.
        status: How it ended, or None.
    """
    if status is None:
        return f"run {address} began, and its end could not be recorded"
    return f"run {address} is marked {status}"


def ended_note(note: RunNote, configuration: Configuration, status: str, error: str) -> RunNote:
    """Return the note of a run's end; where the run's process did not record it, the trackers and the catalog are told.

    What cannot be told is warned about.

    Args:
        note: The run.
        configuration: What selects the catalog and the trackers that know the run.
        status: One of `kladml.interfaces.RUN_STATUSES`.
        error: Why the run ended.
    """
    if note.status is not None:
        return note
    from kladml.runner.record import RunRecord
    from kladml.runner.selection import BackendSelector

    address = RunAddress.parse(note.address)
    selector = BackendSelector(configuration.resolved, configuration.registry, configuration.workspace)
    try:
        folder = configuration.workspace.state / "runs" / address.path
        record = RunRecord.read(folder) or RunRecord(note.address, note.run_id)
        _end_on_trackers(record, selector, status)
        _end_in_catalog(address, selector, status)
        record.status, record.error = status, error
        record.write(folder)
    except Exception as trouble:  # noqa: BLE001 - the reason why the run ended is to be told, whatever happens here
        log.warning(f"the end of run {note.address} could not be recorded: {trouble}")
        return note
    return replace(note, status=status)


def _end_on_trackers(record: RunRecord, selector: BackendSelector, status: str) -> None:
    """End the run on every tracker that can go on with a run which another process began."""
    from kladml.runner.selection import DEFAULT

    left = list(record.tracker_runs)
    for selected in selector.select("tracker", DEFAULT):
        found = next((pair for pair in left if pair[0] == selected.name), None)
        with closing(selected.backend) as tracker:
            if found is None or "resume" not in tracker.capabilities:
                log.warning(f"{selected} cannot be told that run {record.address} is {status}")
                continue
            left.remove(found)
            try:
                tracker.resume_run(found[1])
                tracker.end_run(status)
            except Exception as error:  # noqa: BLE001 - a tracker must not keep the catalog from being told
                log.warning(f"{selected} was not told that run {record.address} is {status}: {error}")


def _end_in_catalog(address: RunAddress, selector: BackendSelector, status: str) -> None:
    from kladml.runner.selection import DEFAULT

    for selected in selector.select("catalog", DEFAULT):
        with closing(selected.backend) as catalog:
            catalog.end_run(address, status, {})
