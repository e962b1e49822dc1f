"""Saving a run's files: written locally first, then through the storage, and never lost in between."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from kladml.config import dump_yaml
from kladml.errors import BackendError, ModelError, StorageError

if TYPE_CHECKING:
    from pathlib import Path

    from kladml.config import ResolvedConfig
    from kladml.interfaces import RunAddress
    from kladml.models import BaseModel
    from kladml.runner.selection import Selected

CONFIG = "config.yaml"
RECORD = "run.json"
MODEL = "model"
CHECKPOINT = "checkpoint"


class RunFiles:
    """The files of one run.

    Args:
        folder: The run's folder in the workspace's state.
        storage: The selected storage, or None to keep the files in the folder only.
        bucket: The configured bucket, or None for the storage's default.
    """

    def __init__(self, folder: Path, storage: Selected | None, bucket: str | None) -> None:
        self.folder = folder
        self.checkpoints = folder / "checkpoints"
        self._outbox = folder / "artifacts"
        self._storage = storage
        self._bucket = bucket
        self._uris: dict[str, str] = {}

    def write_config(self, config: ResolvedConfig) -> None:
        """Write the resolved configuration, without secrets."""
        self._file(CONFIG).write_text(dump_yaml(_plain(config.as_dict())), encoding="utf-8")

    def write_record(self, record: dict[str, Any]) -> None:
        """Write what is known of the run as JSON."""
        self._file(RECORD).write_text(json.dumps(record, indent=1, default=str), encoding="utf-8")

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

    def store(self, address: RunAddress) -> dict[str, str]:
        """Upload everything that was written and return the URIs by name; what is stored is removed locally.

        Raises:
            StorageError: An upload failed; the files stay in the run's folder, and the message says where.
        """
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

    def _file(self, name: str) -> Path:
        self._outbox.mkdir(parents=True, exist_ok=True)
        return self._outbox / name


def _plain(value: Any) -> Any:
    """Return data that YAML can hold as data: tuples as lists, and text for what it does not know."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
