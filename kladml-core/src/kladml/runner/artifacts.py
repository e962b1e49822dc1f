"""Saving a run's files: written locally first, then through the storage, and never lost in between."""

from __future__ import annotations

import secrets
import shutil
from typing import TYPE_CHECKING, Any

from kladml.config import dump_yaml
from kladml.errors import BackendError, ModelError, StorageError
from kladml.files.whole import written_whole
from kladml.log import get_logger
from kladml.runner.record import CHECKPOINTS, CODE_DIFF, CONFIG, RECORD
from kladml.training.checkpointing.format import MANIFEST, SavedCheckpoint, step_of
from kladml.training.checkpointing.manifest import best_in, latest_in

if TYPE_CHECKING:
    from pathlib import Path

    from kladml.config import ResolvedConfig
    from kladml.interfaces import RunAddress
    from kladml.models import BaseModel
    from kladml.runner.record import RunRecord
    from kladml.runner.selection import Selected
    from kladml.training.checkpointing.mirror import CheckpointMirror

MODEL = "model"
CHECKPOINT = "checkpoint"

log = get_logger(__name__)


class RunFiles:
    """The files of one run.

    ```text
    run.json       what is known of the run
    config.yaml    its resolved configuration
    code.diff      how its code differed from the Git revision, if it did
    checkpoints/   its checkpoints
    artifacts/     what is to be stored, until it is
    ```

    What is stored goes away locally; the rest stays, so that the run can go on.

    Args:
        folder: The run's folder in the workspace's state.
        storage: The selected storage, or None to keep the files in the folder only.
        bucket: The configured bucket, or None for the storage's default.
        state: The `.kladml` folder of the workspace, for what is needed for a moment.
    """

    def __init__(self, folder: Path, storage: Selected | None, bucket: str | None, state: Path) -> None:
        self.folder = folder
        self.checkpoints = folder / CHECKPOINTS
        self._outbox = folder / "artifacts"
        self._storage = storage
        self._bucket = bucket
        self._state = state
        self._mirror: CheckpointMirror | None = None
        self._uris: dict[str, str] = {}

    def begin_anew(self, address: RunAddress) -> None:
        """Put aside what another run of the same address left, as after its catalog was deleted.

        Args:
            address: The run.

        Raises:
            StorageError: The storage keeps the files of such a run, which would be written over.
        """
        self._refuse_to_overwrite(address)
        kept = (self.checkpoints, self._outbox, *(self.folder / name for name in (RECORD, CONFIG, CODE_DIFF)))
        left = [path for path in kept if path.exists()]
        if left:
            aside = self.folder / f"earlier-{secrets.token_hex(4)}"
            aside.mkdir()
            for path in left:
                path.rename(aside / path.name)
            log.warning(f"another run left files in {self.folder}; they are now in {aside}")

    def _refuse_to_overwrite(self, address: RunAddress) -> None:
        if self._storage is None:
            return
        backend = self._storage.backend
        bucket = self._bucket or backend.default_bucket
        try:
            is_taken = backend.exists(bucket, f"{address.path}/{RECORD}")
        except Exception as error:  # noqa: BLE001 - a storage that cannot be asked is not known to keep anything
            log.debug(f"{self._storage} cannot tell whether it has files of run {address}: {error}")
            return
        if is_taken:
            problem = f"another run {address} has its files there, and the catalog gave its number once more"
            step = "choose another experiment or bucket, or repeat it until the numbers are beyond those that are kept"
            raise StorageError(problem, owner=self._storage.owner, next_step=step)

    def write_config(self, config: ResolvedConfig) -> None:
        """Write the resolved configuration, without secrets."""
        text = dump_yaml(_plain(config.as_dict()))
        for folder in (self.folder, self._outbox):
            folder.mkdir(parents=True, exist_ok=True)
            with written_whole(folder / CONFIG) as temporary:
                temporary.write_text(text, encoding="utf-8")

    def write_code_diff(self, diff: bytes | None) -> None:
        """Write how the code differs from its revision; None is not at all."""
        for folder in (self.folder, self._outbox):
            if diff is None:
                (folder / CODE_DIFF).unlink(missing_ok=True)
                continue
            folder.mkdir(parents=True, exist_ok=True)
            with written_whole(folder / CODE_DIFF) as temporary:
                temporary.write_bytes(diff)

    def write_record(self, record: RunRecord) -> None:
        """Write what is known of the run."""
        record.write(self.folder)

    def newest_checkpoint(self) -> Path | None:
        """Return the newest checkpoint that is whole, or None."""
        return latest_in(self.checkpoints)

    def write_model(self, model: BaseModel) -> None:
        """Let the model save itself.

        Raises:
            ModelError: It wrote nothing.
        """
        folder = self._outbox / MODEL
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        model.save(str(folder / MODEL))
        if not any(path.is_file() for path in folder.rglob("*")):
            problem = f"save of {type(model).__name__} wrote nothing to the path that it was given"
            raise ModelError(problem, next_step="write the model's state there")

    def write_checkpoint(self, checkpoint: Path | None) -> None:
        """Put a checkpoint among the files to store; None is nothing."""
        if checkpoint is not None:
            target = self._outbox / CHECKPOINT / checkpoint.name
            shutil.rmtree(self._outbox / CHECKPOINT, ignore_errors=True)
            shutil.copytree(checkpoint, target)

    def mirror(self, address: RunAddress, *, keep_last: int) -> CheckpointMirror | None:
        """Return what uploads checkpoints beside the training, or None, with a warning, without a storage.

        What another machine needs besides to go on with the run is uploaded at once; a failure is only reported.
        """
        if self._storage is None:
            log.warning("training.checkpoint.mirror is on, and no storage is selected: checkpoints stay here only")
            return None
        from kladml.training.checkpointing.mirror import CheckpointMirror

        backend = self._storage.backend
        bucket = self._bucket or backend.default_bucket
        try:
            for name in (CONFIG, RECORD):
                backend.upload_file(str(self.folder / name), bucket, f"{address.path}/{name}")
        except Exception as error:  # noqa: BLE001 - a storage that fails does not end a training
            log.warning(f"{self._storage} could not keep what another machine needs to resume run {address}: {error}")
        prefix = f"{address.path}/{CHECKPOINTS}"
        self._mirror = CheckpointMirror(backend, bucket, prefix, keep_last=keep_last, state=self._state)
        return self._mirror

    def write_newest_checkpoint(self, address: RunAddress) -> None:
        """See that the newest checkpoint gets into the storage: by the mirror, or among the files to store."""
        newest = latest_in(self.checkpoints)
        if self._mirror is None or self._storage is None:
            self.write_checkpoint(newest)
            return
        backend = self._storage.backend
        bucket = self._bucket or backend.default_bucket
        if newest is not None and not backend.exists(bucket, f"{address.path}/{CHECKPOINTS}/{newest.name}/{MANIFEST}"):
            step, _ = step_of(newest.name) or (0, 0)
            self._mirror.upload_later(SavedCheckpoint(newest, step, newest == best_in(self.checkpoints)))
        self._mirror.wait()

    def close(self) -> None:
        """Give up what the mirror has not uploaded yet."""
        if self._mirror is not None:
            self._mirror.close()

    def store(self, address: RunAddress, record: RunRecord) -> dict[str, str]:
        """Upload everything that was written and return the URIs by name; what is stored is removed locally.

        Args:
            address: The run.
            record: What is known of it, which is stored as well.

        Raises:
            StorageError: An upload failed; the files stay in the run's folder, and the message says where.
        """
        record.write(self._outbox)
        files = sorted(path for path in self._outbox.rglob("*") if path.is_file())
        names = [path.relative_to(self._outbox).as_posix() for path in files]
        if self._storage is None:
            return {name: path.as_uri() for name, path in zip(names, files, strict=True)}
        backend = self._storage.backend
        bucket = self._bucket or backend.default_bucket
        try:
            for name, path in zip(names, files, strict=True):
                self._uris[name] = backend.upload_file(str(path), bucket, f"{address.path}/{name}")
        except Exception as error:
            cause = error.problem if isinstance(error, BackendError) else f"{type(error).__name__}: {error}"
            problem = f"the files of run {address} could not be stored: {cause}"
            raise StorageError(
                problem, owner=self._storage.owner, next_step=f"they are kept in {self._outbox}"
            ) from error
        shutil.rmtree(self._outbox)
        return dict(self._uris)


def _plain(value: Any) -> Any:
    """Return data that YAML can hold as data: tuples as lists, and text for what it does not know."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
