"""Backends that keep everything in memory, for tests of code that uses backends.

They pass the contracts of their kinds, need nothing installed, and let a test look at what arrived:
`MemoryStorage.files`, `MemoryTracker.runs`, `MemoryPublisher.messages`.
"""

from __future__ import annotations

import copy
import json
import os
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

from kladml.errors import ObjectNotFoundError, PublisherError, StorageError, TrackerError
from kladml.interfaces import (
    ConfigEntry,
    ConfigInterface,
    Listener,
    PublisherInterface,
    StorageInterface,
    TrackedRun,
    TrackerInterface,
)
from kladml.testing.memory_catalog import MemoryCatalog

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MemoryCatalog", "MemoryConfig", "MemoryPublisher", "MemoryRun", "MemoryStorage", "MemoryTracker"]

_OWNER = "kladml.testing.fakes"


def _is_relative(path: str) -> bool:
    """Whether a key or a name is a relative POSIX path without `..`, `.` or empty parts."""
    return path == PurePosixPath(path).as_posix() and not {"", ".", "..", "/"} & {*PurePosixPath(path).parts, path}


class MemoryStorage(StorageInterface):
    """Keeps files as bytes.

    Attributes:
        files: Content by bucket and key.
    """

    capabilities: ClassVar[frozenset[str]] = frozenset({"delete"})

    def __init__(self) -> None:
        self.files: dict[tuple[str, str], bytes] = {}

    def upload_file(self, local_path: str | Path, bucket: str, key: str) -> str:
        """Keep a file's bytes and return `memory://bucket/key`."""
        if not _is_relative(key) or "\0" in key:
            problem = f"{key!r} is no key: it must be a relative path without '..' and empty parts"
            raise StorageError(problem, owner=_OWNER, next_step="choose another key")
        try:
            self.files[bucket, key] = Path(local_path).read_bytes()
        except OSError as error:
            problem = f"cannot read {local_path}: {error.strerror or error}"
            raise StorageError(problem, owner=_OWNER, next_step="check the path") from error
        return f"memory://{bucket}/{key}"

    def download_file(self, bucket: str, key: str, local_path: str | Path) -> str:
        """Write the bytes of a key to a local path."""
        content = self.files.get((bucket, key))
        if content is None:
            problem = f"there is no '{key}' in bucket '{bucket}'"
            raise ObjectNotFoundError(problem, owner=_OWNER, next_step="upload it first")
        try:
            _write(Path(local_path), content)
        except OSError as error:
            problem = f"cannot write {local_path}: {error.strerror or error}"
            raise StorageError(problem, owner=_OWNER, next_step="check the path") from error
        return str(local_path)

    def list_files(self, bucket: str, prefix: str = "") -> list[str]:
        """List the keys of a bucket that start with a prefix."""
        return sorted(key for found, key in self.files if found == bucket and key.startswith(prefix))

    def delete_file(self, bucket: str, key: str) -> None:
        """Forget a key."""
        self.files.pop((bucket, key), None)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".kladml-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class MemoryConfig(ConfigInterface):
    """Keeps values by dotted key.

    Args:
        values: The first values.
    """

    capabilities: ClassVar[frozenset[str]] = frozenset({"entries"})

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self.values: dict[str, Any] = dict(values or {})

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or the default."""
        return self.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Set the value of a key."""
        self.values[key] = value

    def entries(self) -> list[ConfigEntry]:
        """List the values, in the order in which their keys were first set."""
        return [ConfigEntry(key, value, "memory") for key, value in self.values.items()]


@dataclass
class MemoryRun:
    """Everything that was recorded of one run.

    Attributes:
        run_id: Identifier of the run.
        experiment_name: Its experiment.
        run_name: Its name, if it has one.
        status: One of `RUN_STATUSES`.
        params: Parameters, as they were given.
        history: Values of each metric as (step, value), in the order of recording.
        tags: Tags.
        artifacts: Content of each file by its name.
    """

    run_id: str
    experiment_name: str
    run_name: str | None
    status: str = "RUNNING"
    params: dict[str, Any] = field(default_factory=dict)
    history: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, bytes] = field(default_factory=dict)


class MemoryTracker(TrackerInterface):
    """Keeps runs as objects.

    It is stricter than a tracker must be: recording outside of a run, or starting a second one before the
    first has ended, is a `TrackerError`.

    Attributes:
        runs: All runs by identifier, oldest first.
    """

    capabilities: ClassVar[frozenset[str]] = frozenset({"artifacts", "read", "resume"})

    def __init__(self) -> None:
        self.runs: dict[str, MemoryRun] = {}
        self._active: MemoryRun | None = None

    def start_run(self, experiment_name: str, run_name: str | None = None) -> str:
        """Begin a run."""
        self._require_none()
        self._active = MemoryRun(uuid.uuid4().hex, experiment_name, run_name)
        self.runs[self._active.run_id] = self._active
        return self._active.run_id

    def resume_run(self, run_id: str) -> None:
        """Go on with a run."""
        self._require_none()
        self._active = self._known(run_id)
        self._active.status = "RUNNING"

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Keep a copy of the parameters."""
        self._run().params.update(copy.deepcopy(dict(params)))

    def log_metric(self, key: str, value: float, step: int | None = None) -> None:
        """Keep one value; a value without a step has step 0."""
        self._run().history.setdefault(key, []).append((step or 0, value))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Keep the tags."""
        self._run().tags.update(tags)

    def log_artifact(self, local_path: str | Path, name: str) -> None:
        """Keep the bytes of a file."""
        if not _is_relative(name):
            problem = f"{name!r} cannot be the name of an artifact"
            raise TrackerError(problem, owner=_OWNER, next_step="use a relative path without '..'")
        try:
            self._run().artifacts[name] = Path(local_path).read_bytes()
        except OSError as error:
            problem = f"cannot read {local_path}: {error.strerror or error}"
            raise TrackerError(problem, owner=_OWNER, next_step="check the path") from error

    def end_run(self, status: str = "FINISHED") -> None:
        """End the run."""
        self._run().status = status
        self._active = None

    def get_run(self, run_id: str) -> TrackedRun:
        """Return what a tracker would tell of a run: parameters as text, the last value of each metric."""
        run = self._known(run_id)
        return TrackedRun(
            run_id,
            run.experiment_name,
            run.status,
            params={key: str(value) for key, value in run.params.items()},
            metrics={key: values[-1][1] for key, values in run.history.items()},
            tags=dict(run.tags),
        )

    def metric_history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """Return all values of a metric."""
        return list(self._known(run_id).history.get(key, ()))

    def _require_none(self) -> None:
        if self._active is not None:
            problem = f"run '{self._active.run_id}' has not ended"
            raise TrackerError(problem, owner=_OWNER, next_step="end it first")

    def _run(self) -> MemoryRun:
        if self._active is None:
            problem = "no run has been started"
            raise TrackerError(problem, owner=_OWNER, next_step="call start_run first")
        return self._active

    def _known(self, run_id: str) -> MemoryRun:
        if run_id not in self.runs:
            problem = f"there is no run '{run_id}'"
            raise TrackerError(problem, owner=_OWNER, next_step="use what start_run returned")
        return self.runs[run_id]


class MemoryPublisher(PublisherInterface):
    """Keeps messages; one that is not JSON-able is a `PublisherError`. Capability `listen`.

    Attributes:
        messages: Pairs of channel and message, oldest first.
    """

    capabilities: ClassVar[frozenset[str]] = frozenset({"listen"})

    def __init__(self) -> None:
        self.messages: list[tuple[str, dict[str, Any]]] = []

    def publish(self, channel: str, message: Mapping[str, Any]) -> None:
        """Keep a copy of the message."""
        try:
            kept = json.loads(json.dumps(message))
        except (TypeError, ValueError) as error:
            problem = f"a message on '{channel}' cannot be written as JSON: {error}"
            raise PublisherError(problem, owner=_OWNER, next_step="send text, numbers, lists and mappings") from error
        self.messages.append((channel, kept))

    def listen(self, channel: str) -> Listener:
        """Return what hands out the messages that come to a channel from now on, without ever waiting."""
        return _MemoryListener(self.messages, channel)


class _MemoryListener(Listener):
    def __init__(self, messages: list[tuple[str, dict[str, Any]]], channel: str) -> None:
        self._messages = messages
        self._channel = channel
        self._place = len(messages)

    def next(self, timeout: float) -> dict[str, Any] | None:
        for place in range(self._place, len(self._messages)):
            channel, message = self._messages[place]
            if channel == self._channel:
                self._place = place + 1
                return message
        return None

    def close(self) -> None:
        self._place = len(self._messages)
