"""Runs as the storage has them, for a machine that has nothing else of them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from kladml.errors import ObjectNotFoundError
from kladml.files.scratch import scratch_folder
from kladml.interfaces import RunAddress
from kladml.runner.artifacts import CHECKPOINT
from kladml.runner.record import CHECKPOINTS, CONFIG, RECORD, RunRecord
from kladml.training.checkpointing.format import MANIFEST

if TYPE_CHECKING:
    from pathlib import Path

    from kladml.interfaces import ExperimentAddress, StorageInterface

_KEPT_IN = (CHECKPOINTS, CHECKPOINT)


class StoredRuns:
    """Runs with checkpoints in the storage: mirrored ones, else the one that was stored when the run ended.

    Args:
        storage: The storage.
        bucket: The bucket there.
        state: The `.kladml` folder of the workspace, for what is needed for a moment; without it, that goes to the
            system's folder for temporary files.
    """

    def __init__(self, storage: StorageInterface, bucket: str, state: Path | None = None) -> None:
        self._storage = storage
        self._bucket = bucket
        self._state = state

    def has(self, address: RunAddress) -> bool:
        """Tell whether a run has a complete checkpoint there."""
        return address.label in self._labels(address.experiment)

    def latest(self, experiment: ExperimentAddress) -> RunAddress | None:
        """Return the run of an experiment that began last among those that did not finish and have a checkpoint."""
        found: list[tuple[str, RunAddress]] = []
        for label in self._labels(experiment):
            address = RunAddress(experiment, label)
            record = self.record(address)
            if record is not None and record.status != "FINISHED":
                found.append((record.started_at, address))
        return max(found, default=("", None), key=lambda pair: pair[0])[1]

    def record(self, address: RunAddress) -> RunRecord | None:
        """Return the record of a run, or None."""
        with scratch_folder(self._state) as folder:
            try:
                self._storage.download_file(self._bucket, f"{address.path}/{RECORD}", str(folder / RECORD))
            except ObjectNotFoundError:
                return None
            return RunRecord.read(folder)

    def fetch(self, address: RunAddress, folder: Path) -> Path | None:
        """Put what is needed to go on with a run into its folder, and return its newest checkpoint, or None.

        Raises:
            StorageError: The storage fails.
            CheckpointError: There are checkpoints, and none can be used.
        """
        from kladml.training.checkpointing.mirror import pull

        for name in (RECORD, CONFIG):
            if not (folder / name).exists():
                with suppress(ObjectNotFoundError):
                    self._storage.download_file(self._bucket, f"{address.path}/{name}", str(folder / name))
        for kept in _KEPT_IN:
            found = pull(self._storage, self._bucket, f"{address.path}/{kept}", folder / CHECKPOINTS, self._state)
            if found is not None:
                return found
        return None

    def _labels(self, experiment: ExperimentAddress) -> list[str]:
        """Return the labels of the runs of an experiment that have a checkpoint whose manifest is there."""
        labels: dict[str, None] = {}
        for key in self._storage.iter_files(self._bucket, f"{experiment}/"):
            match key.removeprefix(f"{experiment}/").split("/"):
                case [label, kept, _, name] if kept in _KEPT_IN and name == MANIFEST:
                    labels[label] = None
        return list(labels)
