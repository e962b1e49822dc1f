"""Finding what a run goes on from: a run by its address, the latest one, or a checkpoint by its path."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kladml.config import read_yaml, resolve
from kladml.config.secrets import MASK
from kladml.errors import AddressError, CheckpointError, WorkspaceError
from kladml.interfaces import ExperimentAddress, RunAddress
from kladml.runner.identity import check_same, check_unfinished
from kladml.runner.record import CHECKPOINTS, CONFIG, RunRecord
from kladml.runner.run_lock import RunLock
from kladml.training.checkpointing.format import MANIFEST, STATE
from kladml.training.checkpointing.manifest import checkpoints_in, latest_in, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kladml.interfaces import ConfigEntry
    from kladml.runner.preparation import Prepared
    from kladml.runner.stored_runs import StoredRuns

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """What a run goes on from.

    Attributes:
        checkpoint: Folder of the checkpoint.
        state: What the checkpoint says of itself in `state.json`.
        record: The run that goes on; None where a new one begins from the checkpoint.
        configuration: What that run was configured with, without what was masked as a secret.
    """

    checkpoint: Path
    state: Mapping[str, Any] = field(default_factory=dict)
    record: RunRecord | None = None
    configuration: list[ConfigEntry] = field(default_factory=list)

    def check(self, prepared: Prepared, processes: int, *, allow_world_change: bool) -> None:
        """Refuse, before the run is touched, what would not be the same training or has nothing left to train.

        Args:
            prepared: What is to go on.
            processes: How many processes are to train.
            allow_world_change: Whether that may be another number than before.

        Raises:
            CheckpointError: It is another number of processes.
            DataError: The training data or the validation data is other data.
            TrainingError: A setting differs that the numbers depend on, or the run finished.
        """
        name = f"the checkpoint {self.checkpoint}" if self.record is None else f"run {self.record.address}"
        before = self.state.get("world_size", processes)
        if before != processes and not allow_world_change:
            problem = f"{name} was trained by {before} processes, and is now to be by {processes}"
            hint = f"use {before} processes, or --allow-world-change, after which results differ"
            raise CheckpointError(problem, next_step=hint)
        check_same(self.state.get("identity") or {}, prepared.identity(), name)
        if self.record is not None and self.configuration:
            stopped_early = bool(self.state.get("stopped_early"))
            was = resolve(self.configuration).run.training
            check_unfinished(self.record, was, prepared.config.run.training, stopped_early=stopped_early)


class ResumeSearch:
    """Finds what a run goes on from.

    Args:
        runs: The folder of all runs of the workspace.
        experiment: The configured experiment.
        open_storage: Gives the runs in the selected storage meanwhile, or None without a storage. It is called
            only when the workspace lacks what is needed.
    """

    def __init__(
        self,
        runs: Path,
        experiment: ExperimentAddress,
        open_storage: Callable[[], AbstractContextManager[StoredRuns | None]],
    ) -> None:
        self._runs = runs.resolve()
        self._experiment = experiment
        self._open_storage = open_storage

    def find(self, resume: str | Path, locks: ExitStack) -> ResumePoint:
        """Find what an argument means.

        Args:
            resume: `latest`, a run's address, or the path of a checkpoint or of a folder of them.
            locks: Takes the lock of a run that goes on, which so is held until the stack is closed.

        Raises:
            AddressError: There is no such run.
            CheckpointError: There is no whole checkpoint to go on from.
            TrainingError: Another process trains the run.
            WorkspaceError: The run in the storage is another one than that of the workspace.
        """
        if resume == LATEST:
            return self._go_on(self._latest(), None, locks)
        if isinstance(resume, str) and not Path(resume).expanduser().exists():
            return self._go_on(self._address(resume), None, locks)
        path = Path(resume).expanduser().resolve()
        checkpoint = path if (path / MANIFEST).is_file() else None
        if checkpoint is not None:
            verify(checkpoint)
        own = self._run_at(path)
        if own is not None:
            return self._go_on(own, checkpoint, locks)
        checkpoint = checkpoint or latest_in(path) or latest_in(path / CHECKPOINTS)
        if checkpoint is None:
            problem = f"there is no whole checkpoint in {path}"
            raise CheckpointError(problem, next_step="give the folder of a checkpoint, a folder of them, or an address")
        return ResumePoint(checkpoint, _state_of(checkpoint))

    def _address(self, text: str) -> RunAddress:
        if text.startswith("@"):
            return RunAddress(self._experiment, text[1:])
        if "@" in text:
            return RunAddress.parse(text)
        problem = f"'{text}' is neither the address of a run nor a folder with checkpoints"
        raise AddressError(problem, next_step="write project/family/experiment@n, @n, latest, or the folder's path")

    def _run_at(self, path: Path) -> RunAddress | None:
        """Return the run of this workspace whose folder a path lies in, or None."""
        if not path.is_relative_to(self._runs):
            return None
        match path.relative_to(self._runs).parts:
            case [project, family, experiment, label, *_]:
                return RunAddress(ExperimentAddress(project, family, experiment), label)
        problem = f"{path} is the folder of many runs"
        raise AddressError(problem, next_step="give the address of one, or latest")

    def _latest(self) -> RunAddress:
        """Return the run that began last among those of the experiment that can go on."""
        found: list[tuple[str, RunAddress]] = []
        folder = self._runs / str(self._experiment)
        for path in folder.iterdir() if folder.is_dir() else ():
            record = RunRecord.read(path)
            if record is not None and record.status != "FINISHED" and _has_checkpoint(path):
                found.append((record.started_at, RunAddress(self._experiment, path.name)))
        if found:
            return max(found, key=lambda pair: pair[0])[1]
        with self._open_storage() as stored:
            address = None if stored is None else stored.latest(self._experiment)
        if address is None:
            problem = f"no run of {self._experiment} can go on: none that is not FINISHED has a checkpoint"
            raise CheckpointError(problem, next_step="give the address of a run, or train without resuming")
        return address

    def _go_on(self, address: RunAddress, checkpoint: Path | None, locks: ExitStack) -> ResumePoint:
        folder = self._runs / address.path
        with ExitStack() as opened:
            stored: StoredRuns | None = None
            if RunRecord.read(folder) is None or not _has_checkpoint(folder):
                stored = opened.enter_context(self._open_storage())
                self._check_known(address, folder, stored)
            locks.enter_context(RunLock(folder, address))
            checkpoint = checkpoint or latest_in(folder / CHECKPOINTS)
            if checkpoint is None:
                stored = stored or opened.enter_context(self._open_storage())
                checkpoint = None if stored is None else stored.fetch(address, folder)
        if checkpoint is None:
            problem = f"run {address} has no whole checkpoint to go on from"
            raise CheckpointError(problem, next_step="start a new run")
        state = _state_of(checkpoint)
        record = RunRecord.read(folder)
        if record is None:  # of a version that kept none, or not in the storage
            record = RunRecord(str(address), str((state.get("identity") or {}).get("run_id", "unknown")))
        return ResumePoint(checkpoint, state, record, _configuration_of(folder))

    @staticmethod
    def _check_known(address: RunAddress, folder: Path, stored: StoredRuns | None) -> None:
        here = RunRecord.read(folder)
        is_there = stored is not None and stored.has(address)
        there = stored.record(address) if stored is not None and is_there else None
        if here is None and not is_there and not _has_checkpoint(folder):
            where = "in this workspace" if stored is None else "in this workspace or with checkpoints in the storage"
            problem = f"there is no run {address} {where}"
            raise AddressError(problem, next_step="kladml runs list shows those there are")
        if here is not None and there is not None and here.run_id not in (there.run_id, *there.earlier_ids):
            problem = f"run {address} of this workspace is '{here.run_id}', and that of the storage '{there.run_id}'"
            raise WorkspaceError(problem, next_step="resume the latter in a workspace of its own")


def _has_checkpoint(folder: Path) -> bool:
    """Tell whether a run's folder has a checkpoint that claims to be complete."""
    return any((path / MANIFEST).is_file() for path in checkpoints_in(folder / CHECKPOINTS))


def _state_of(checkpoint: Path) -> dict[str, Any]:
    try:
        state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problem = f"the checkpoint {checkpoint} cannot be read: {error}"
        raise CheckpointError(problem, next_step="use an older checkpoint") from error
    return state if isinstance(state, dict) else {}


def _configuration_of(folder: Path) -> list[ConfigEntry]:
    """Return the stored configuration of a run but for what was masked, which the environment has to give again."""
    file = folder / CONFIG
    return [entry for entry in read_yaml(file) if MASK not in repr(entry.value)] if file.is_file() else []
