"""One run while it goes on: its identity, its files, and how it ends."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING, Any

from kladml.errors import StorageError, TrainingStopped
from kladml.interfaces import RunAddress
from kladml.log import bind_to_log, get_logger
from kladml.models import RunContext
from kladml.plugins import LifecycleHooks, RunInfo
from kladml.runner.artifacts import RunFiles
from kladml.runner.code_files import digests, untracked
from kladml.runner.configuration import parameters
from kladml.runner.environment import environment
from kladml.runner.events import RunEvents
from kladml.runner.provenance import CONFIG_FILE, DIRTY, UNKNOWN, code_diff, experiment_tags
from kladml.runner.provenance import tags as made_from
from kladml.runner.registration import register, register_again
from kladml.runner.run_lock import RunLock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import ExitStack

    from kladml.models import BaseModel
    from kladml.runner.backends import Backends
    from kladml.runner.preparation import Prepared
    from kladml.runner.resume import ResumePoint
    from kladml.workspace import Workspace

log = get_logger(__name__)


class RunSession:
    """A run from the moment it is registered, or goes on.

    Args:
        prepared: What the run is made of.
        backends: The checked backends.
        workspace: Where local files go.
        hooks: The lifecycle hooks.
        point: What the run goes on from, or None.
        locks: Takes the lock of a new run; that of one that goes on is held already.
        tags: Tags of the caller's own.

    Attributes:
        address: Where the run stands.
        record: What its folder says of it.
        files: Its files.
        events: What its progress is told to.
        identity: What its checkpoints say of it.
    """

    def __init__(
        self,
        prepared: Prepared,
        backends: Backends,
        *,
        workspace: Workspace,
        hooks: LifecycleHooks,
        point: ResumePoint | None,
        locks: ExitStack,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self.config = config = prepared.config
        self._backends = backends
        self._point = point
        if point is not None and point.record is not None:
            before = {name: text for name, text in point.record.tags.items() if name == CONFIG_FILE}
            bind_to_log(run=point.record.address)
            self.record = register_again(backends, point.record, config.run.run_name)
        else:
            before = {}
            self.record = register(backends, prepared.experiment, config.run.run_name)
        self.record.code = str(prepared.code)
        self.address = RunAddress.parse(self.record.address)
        bind_to_log(run=str(self.address))
        selected = [*(str(item) for item in backends.all()), f"config {prepared.source}"]
        self.record.tags = made_from(
            self.address,
            config,
            selected,
            data_fingerprint=prepared.data_fingerprint,
            val_fingerprint=prepared.val_fingerprint,
            code=prepared.code,
        )
        if prepared.version is not None:
            self.record.tags["kladml.data"] = prepared.version.reference
        self.record.tags |= {**before, **self._tags_of_resuming(), **(tags or {})}
        self.record.params = parameters(config)
        self.record.plugins = selected
        self.record.environment = environment(config.run.training, uses_torch="torch" in sys.modules)
        dirty = self.record.tags["kladml.code_version"].endswith(DIRTY)
        self._code_diff = code_diff(prepared.code) if dirty else None
        self.record.code_diff = None if self._code_diff is None else hashlib.sha256(self._code_diff).hexdigest()
        self.record.code_files = digests(prepared.code_files)
        has_revision = self.record.tags["kladml.code_version"] != UNKNOWN
        self.record.untracked = untracked(prepared.code_files) if has_revision else []
        info = RunInfo(str(self.address), self.run_id, backends.names(), self.record.tags)
        self.events = RunEvents(info, backends.trackers, backends.publishers, hooks, selected)
        folder = workspace.state / "runs" / self.address.path
        self.files = RunFiles(folder, backends.storage, config.run.artifacts.bucket, workspace.state)
        self.identity = prepared.identity(str(self.address), self.run_id)
        self._fingerprint = prepared.data_fingerprint
        self._locks = locks
        log.info(f"run {self.address} with {', '.join(selected)}")

    @property
    def run_id(self) -> str:
        """The first tracker's identifier of the run, or one of KladML's own."""
        return self.record.run_id

    @property
    def goes_on(self) -> bool:
        """Whether this is a run that was there before."""
        return self._point is not None and self._point.record is not None

    def start(self) -> None:
        """Write the configuration and the record, tell the trackers parameters and tags, and call the hooks."""
        if not self.goes_on:
            self._locks.enter_context(RunLock(self.files.folder, self.address))
            self.files.begin_anew(self.address)
        self.files.write_config(self.config)
        self.files.write_code_diff(self._code_diff)
        self.files.write_record(self.record)
        self._log_parameters()
        self._backends.trackers.call("set_tags", self.record.tags)
        self._backends.trackers.call("set_experiment_tags", experiment_tags(self.address.experiment))
        self._log_dataset()
        self.events.run_started()

    def context(self, *, allow_world_change: bool) -> RunContext:
        """Return what the model may use while it is trained."""
        training, mirror = self.config.run.training, None
        if training.checkpoint.enabled and training.checkpoint.mirror:
            mirror = self.files.mirror(self.address, keep_last=training.checkpoint.keep_last)
        before = None if self._point is None else self._point.record
        return RunContext(
            training,
            checkpoint_dir=self.files.checkpoints,
            callbacks=(self.events,),
            log_metrics=self.events.log_metrics,
            resume=None if self._point is None else self._point.checkpoint,
            allow_world_change=allow_world_change,
            finish=before is not None and before.status != "FINISHED",
            mirror=mirror,
            identity=self.identity,
        )

    def save(self, model: BaseModel, metrics: dict[str, float]) -> dict[str, str]:
        """Store weights, best checkpoint, configuration and record of a run that came to its end; return their URIs.

        Raises:
            ModelError: The model does not save itself.
            StorageError: They could not be stored, and are kept locally.
        """
        self.files.write_model(model)
        result = getattr(model, "result", None)
        self.files.write_checkpoint(getattr(result, "best_checkpoint", None))
        return self._store("FINISHED", metrics)

    def save_what_there_is(self, status: str, error: BaseException) -> dict[str, str]:
        """After a failure, store the configuration, the record and the newest checkpoint, if that is possible.

        Returns:
            The URIs of what was stored, by name.
        """
        self.record.error = f"{type(error).__name__}: {error}"
        if isinstance(error, StorageError):  # storing is what failed, and the files are kept locally
            return {}
        try:
            self.files.write_newest_checkpoint(self.address)
            return self._store(status, {})
        except Exception as trouble:  # noqa: BLE001 - the first error is the one to report
            log.warning(f"{trouble}")
            return {}

    def end(self, status: str, metrics: dict[str, float], artifacts: dict[str, str]) -> list[str]:
        """Say how the run ended, everywhere; return how to look at it."""
        self.files.close()
        self._note_end(status, metrics)
        how_to_view = self._backends.trackers.how_to_view()
        catalog = self._backends.catalog
        if catalog is not None:
            try:
                catalog.backend.end_run(self.address, status, metrics)
            except Exception as error:  # noqa: BLE001 - the run itself is over and stored
                log.warning(f"{catalog} did not note the end of the run: {error}")
        self.events.run_ended(status, metrics, artifacts, how_to_view)
        return how_to_view

    def say_how_to_go_on(self, error: BaseException) -> None:
        """After a failure, say how the run can go on, if it can and the error itself does not say it."""
        if isinstance(error, TrainingStopped) and error.next_step is not None:
            return
        checkpoint = self.files.newest_checkpoint()
        if checkpoint is not None:
            log.warning(f"'kladml train --resume {self.address}' goes on with the run from {checkpoint.name}")

    def _log_parameters(self) -> None:
        """Tell trackers the parameters: all of them, or, where a run goes on, what is new among them.

        A tracker may refuse to change a parameter, so that one that is another now becomes a tag.
        """
        trackers, now = self._backends.trackers, parameters(self.config)
        resumed = trackers.resumed
        trackers.call("log_params", now, among=[member for member in trackers.members if member not in resumed])
        if resumed and self._point is not None:
            before = {entry.key: entry.value for entry in self._point.configuration}
            new = {key: value for key, value in now.items() if before.get(key) is None}
            changed = {key: value for key, value in now.items() if key not in new and str(before[key]) != str(value)}
            trackers.call("log_params", new, among=resumed)
            trackers.call("set_tags", {f"kladml.resumed.{k}": str(v) for k, v in changed.items()}, among=resumed)

    def _log_dataset(self) -> None:
        """Tell trackers which data a new run uses; of one that goes on they know it."""
        if self._fingerprint is not None and not self.goes_on:
            name = self.config.run.data.train or "training data"
            self._backends.trackers.call("log_dataset", name, self._fingerprint, name, "training")

    def _tags_of_resuming(self) -> dict[str, str]:
        if self._point is None:
            return {}
        if self._point.record is None:
            return {"kladml.resumed_from": str(self._point.checkpoint)}
        return {"kladml.resumed": str(self.record.resumed)}

    def _store(self, status: str, metrics: dict[str, float]) -> dict[str, str]:
        self.record.status, self.record.metrics = status, metrics
        artifacts = self.files.store(self.address, self.record)
        uris: dict[str, Any] = {f"kladml.artifact.{name}": uri for name, uri in artifacts.items()}
        self._backends.trackers.call("set_tags", uris)
        return artifacts

    def _note_end(self, status: str, metrics: dict[str, float]) -> None:
        self.record.status, self.record.metrics = status, metrics
        try:
            self.files.write_record(self.record)
        except OSError as error:  # such as a full disk: the run is over all the same
            log.warning(f"{self.files.folder} does not note the end of the run: {error}")
