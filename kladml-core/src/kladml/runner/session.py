"""One run while it goes on: its backends, its identity, its files, and how it ends."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kladml.errors import StorageError
from kladml.interfaces import RunAddress
from kladml.log import get_logger
from kladml.plugins import LifecycleHooks, RunInfo
from kladml.runner.artifacts import RunFiles
from kladml.runner.configuration import parameters
from kladml.runner.events import RunEvents
from kladml.runner.fanout import FanOut
from kladml.runner.provenance import tags

if TYPE_CHECKING:
    from pathlib import Path

    from kladml.config import ResolvedConfig
    from kladml.interfaces import ExperimentAddress
    from kladml.runner.selection import Selected
    from kladml.workspace import Workspace

log = get_logger(__name__)


@dataclass
class Backends:
    """The backends of a run.

    Attributes:
        storage: The storage, or None.
        trackers: The trackers.
        publishers: The publishers.
        catalog: The catalog, or None.
    """

    storage: Selected | None
    trackers: FanOut
    publishers: FanOut
    catalog: Selected | None

    @classmethod
    def of(cls, selected: dict[str, list[Selected]]) -> Backends:
        """Sort selected backends by kind."""
        return cls(
            next(iter(selected["storage"]), None),
            FanOut(selected["tracker"]),
            FanOut(selected["publisher"]),
            next(iter(selected["catalog"]), None),
        )

    def all(self) -> list[Selected]:
        """Return all of them, in the order in which they are named to people."""
        single = [item for item in (self.storage, self.catalog) if item is not None]
        return [*single[:1], *self.trackers.members, *self.publishers.members, *single[1:]]

    def check(self) -> None:
        """Run every preflight: storage, catalog and the last tracker must pass; publishers are dropped.

        Raises:
            BackendError: A backend that the run needs cannot be used.
        """
        for item in (self.storage, self.catalog):
            if item is not None:
                item.backend.check()
        self.trackers.check(optional=False)
        self.publishers.check(optional=True)

    def names(self) -> dict[str, str]:
        """Return the selected names by kind, several joined by a comma."""
        names: dict[str, list[str]] = {}
        for item in self.all():
            names.setdefault(item.kind, []).append(item.name)
        return {kind: ",".join(found) for kind, found in names.items()}

    def close(self) -> None:
        """Close the backends that are not the caller's."""
        self.trackers.close()
        self.publishers.close()
        for item in (self.storage, self.catalog):
            if item is not None and not item.borrowed:
                item.backend.close()


class RunSession:
    """A run from the moment it is registered.

    Args:
        config: The resolved configuration.
        backends: The checked backends.
        workspace: Where local files go.
        experiment: The experiment that the run belongs to.
        hooks: The lifecycle hooks.
        data_fingerprint: Fingerprint of the training data, or None.
        code: Folder of the user's code.
        source: The configuration source, as people read it.
    """

    def __init__(
        self,
        config: ResolvedConfig,
        backends: Backends,
        *,
        workspace: Workspace,
        experiment: ExperimentAddress,
        hooks: LifecycleHooks,
        data_fingerprint: str | None,
        code: Path,
        source: str,
    ) -> None:
        self.config = config
        self.backends = backends
        tracked = backends.trackers.start_run(_flat_name(experiment), config.run.run_name)
        self.run_id = tracked or uuid.uuid4().hex
        try:
            self.address = self._register(experiment)
        except BaseException:
            backends.trackers.call("end_run", "FAILED", always=True)
            raise
        selected = [*(str(item) for item in backends.all()), f"config {source}"]
        self.tags = tags(self.address, config, selected, data_fingerprint, code)
        info = RunInfo(str(self.address), self.run_id, backends.names(), self.tags)
        self.events = RunEvents(info, backends.trackers, backends.publishers, hooks, selected)
        folder = workspace.state / "runs" / self.address.path
        self.files = RunFiles(folder, backends.storage, config.run.artifacts.bucket)
        log.info(f"run {self.address} with {', '.join(selected)}")

    def start(self) -> None:
        """Record parameters and tags, write the configuration, and call the hooks."""
        self.backends.trackers.call("log_params", parameters(self.config))
        self.backends.trackers.call("set_tags", self.tags)
        self.files.write_config(self.config)
        self.events.run_started()

    def store(self, metrics: dict[str, float], status: str, error: BaseException | None = None) -> dict[str, str]:
        """Write the run's record and store all its files; return their URIs.

        Raises:
            StorageError: They could not be stored, and are kept locally.
        """
        self.files.write_record(
            {
                "address": str(self.address),
                "run_id": self.run_id,
                "status": status,
                "error": None if error is None else f"{type(error).__name__}: {error}",
                "metrics": metrics,
                "tags": self.tags,
                "backends": self.backends.names(),
            }
        )
        artifacts = self.files.store(self.address)
        self.backends.trackers.call("set_tags", {f"kladml.artifact.{name}": uri for name, uri in artifacts.items()})
        return artifacts

    def keep_what_there_is(self, status: str, error: BaseException) -> dict[str, str]:
        """After a failure, store the configuration, the record and the newest checkpoint, if that is possible.

        Returns:
            The URIs of what was stored, by name.
        """
        if isinstance(error, StorageError):  # storing is what failed, and the files are kept locally
            return {}
        try:
            checkpoints = sorted(self.files.checkpoints.glob("step-*"))
            self.files.write_checkpoint(checkpoints[-1] if checkpoints else None)
            return self.store({}, status, error)
        except Exception as trouble:  # noqa: BLE001 - the first error is the one to report
            log.warning(f"{trouble}")
            return {}

    def end(self, status: str, metrics: dict[str, float], artifacts: dict[str, str]) -> list[str]:
        """Say how the run ended, everywhere; return how to look at it."""
        how_to_view = self.backends.trackers.how_to_view(self.run_id)
        if self.backends.catalog is not None:
            try:
                self.backends.catalog.backend.end_run(self.address, status, metrics)
            except Exception as error:  # noqa: BLE001 - the run itself is over and stored
                log.warning(f"{self.backends.catalog} did not note the end of the run: {error}")
        self.events.run_ended(status, metrics, artifacts, how_to_view)
        return how_to_view

    def _register(self, experiment: ExperimentAddress) -> RunAddress:
        if self.backends.catalog is None:
            return RunAddress(experiment, _label(self.run_id))
        address: Any = self.backends.catalog.backend.add_run(experiment, self.run_id, self.backends.names())
        return address  # type: ignore[no-any-return]


def _flat_name(experiment: ExperimentAddress) -> str:
    """Return the experiment's name for a tracker that has no hierarchy."""
    is_default = experiment.project == experiment.family == "default"
    return experiment.experiment if is_default else str(experiment)


def _label(run_id: str) -> str:
    """Return what stands for a run's number where no catalog gives one; any other text could collide or escape."""
    is_uuid = re.fullmatch(r"[0-9a-f]{32}", run_id.replace("-", "")) is not None
    return (run_id if is_uuid else uuid.uuid4().hex)[:8]
