"""Runs in an MLflow database on this machine, which `mlflow ui` opens."""

from __future__ import annotations

import getpass
import os
import shlex
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from kladml.errors import TrackerError
from kladml.interfaces import RUN_STATUSES, TrackedRun, TrackerInterface
from kladml.log import get_logger
from kladml_backends_local.atomic import copy_into_place
from kladml_backends_local.confinement import EscapeError, confined_path
from kladml_backends_local.mlflow_database import database_uri
from kladml_backends_local.mlflow_store import MetricPoint, MlflowStore
from kladml_backends_local.settings import OWNER, LocalTrackerSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kladml.interfaces import BackendContext

DATABASE_NAME = "mlflow.db"
ARTIFACTS_NAME = "artifacts"

_BURST_SECONDS = 1.0  # a transaction takes milliseconds, and a small model's steps come faster
_LONGEST_BURST = 1_000  # what MLflow takes in one batch

_LONGEST_PARAM = 6_000
_LONGEST_TAG = 8_000

log = get_logger(__name__)


class LocalTracker(TrackerInterface):
    """Records runs in an SQLite database that MLflow makes and MLflow reads.

    Every call is durable on return, but for metrics that follow others within a second: these are written together,
    at the latest with the next call after it, at `flush`, or when the run ends. Nothing is sent over a network,
    telemetry included.

    Args:
        database: The database, made at the first use; `.kladml/mlflow.db` in the workspace of the current
            folder by default, which is made a workspace if it is none.
        artifacts: Folder in which the runs of new experiments keep their files; `artifacts` beside the
            database by default.
    """

    settings_class: ClassVar[type[LocalTrackerSettings]] = LocalTrackerSettings
    capabilities: ClassVar[frozenset[str]] = frozenset({"artifacts", "read", "resume"})

    def __init__(self, database: str | Path | None = None, artifacts: str | Path | None = None) -> None:
        if database is None:
            from kladml.workspace import Workspace

            database = Workspace.ensure().state / DATABASE_NAME
        self.database = Path(database).expanduser().absolute()
        folder = self.database.parent / ARTIFACTS_NAME if artifacts is None else Path(artifacts).expanduser()
        self._uri = database_uri(self.database)
        self._store = MlflowStore(self.database, folder.absolute())
        self._run_id: str | None = None
        self._last_time = 0
        self._waiting: list[list[MetricPoint]] = []
        self._written_at = -_BURST_SECONDS

    @classmethod
    def from_settings(cls, settings: LocalTrackerSettings, context: BackendContext) -> Self:
        """Build the tracker; relative paths are relative to the workspace."""
        paths = (settings.database, settings.artifacts)
        return cls(*(context.workspace / Path(path).expanduser() for path in paths))

    def __repr__(self) -> str:
        """Show the database."""
        return f"LocalTracker({str(self.database)!r})"

    def check(self) -> None:
        """Make the database if it is absent and prove that it can be written to.

        Raises:
            TrackerError: It cannot.
        """
        self._store.check()

    def close(self) -> None:
        """Close the database. A run that was not ended stays `RUNNING` in it."""
        if self._run_id is not None:
            self.flush()
        self._store.close()

    def start_run(self, experiment_name: str, run_name: str | None = None) -> str:
        """Begin a run in the experiment with this name, which is made if there is none.

        Raises:
            TrackerError: A run is going on, the experiment was deleted in MLflow, or the database refuses.
        """
        self._require_none()
        user = _user()
        tags = {"mlflow.user": user, "mlflow.source.name": sys.argv[0] or "python", "mlflow.source.type": "LOCAL"}
        self._run_id = self._store.create_run(experiment_name, run_name, user, tags)
        return self._run_id

    def resume_run(self, run_id: str) -> None:
        """Go on with a run; MLflow shows it as running again.

        Raises:
            TrackerError: A run is going on, there is no such run, it was deleted in MLflow, or the database refuses.
        """
        self._require_none()
        self._store.resume_run(run_id)
        self._run_id = run_id

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record parameters as text, of which MLflow keeps the first 6,000 characters.

        Raises:
            TrackerError: A name is malformed, or a parameter was recorded with another value before.
        """
        texts = {key: _shortened(key, str(value), _LONGEST_PARAM) for key, value in params.items()}
        self._store.log(self._current(), params=texts)

    def log_metric(self, key: str, value: float, step: int | None = None) -> None:
        """Record one value of a metric; its step is 0 if not given."""
        self.log_metrics({key: value}, step)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record several metrics of one step in one transaction."""
        self._current()
        now = self._time()
        points: list[MetricPoint] = [(key, _number(key, value), now, int(step or 0)) for key, value in metrics.items()]
        self._waiting.append(points)
        if time.monotonic() - self._written_at >= _BURST_SECONDS or len(self._waiting) >= _LONGEST_BURST:
            self.flush()

    def flush(self) -> None:
        """Write the metrics that wait for others of the same second."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        self._written_at = time.monotonic()
        run_id = self._current()
        try:
            self._store.log(run_id, metrics=[point for points in waiting for point in points])
        except TrackerError:
            if len(waiting) == 1:
                raise
            self._write_singly(run_id, waiting)

    def _write_singly(self, run_id: str, waiting: list[list[MetricPoint]]) -> None:
        """Write what was recorded in each call by itself, so that one that is refused takes no other along."""
        refused: TrackerError | None = None
        for points in waiting:
            try:
                self._store.log(run_id, metrics=points)
            except TrackerError as error:
                refused = error
        if refused is not None:
            raise refused

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Label the run; MLflow keeps the first 8,000 characters of a tag."""
        texts = {key: _shortened(key, str(value), _LONGEST_TAG) for key, value in tags.items()}
        self._store.log(self._current(), tags=texts)

    def end_run(self, status: str = "FINISHED") -> None:
        """End the run.

        Raises:
            TrackerError: No run is going on, or the status is not one of `RUN_STATUSES`.
        """
        run_id = self._current()
        if status not in RUN_STATUSES:
            problem = f"'{status}' is no status of a run"
            raise TrackerError(problem, owner=OWNER, next_step=f"use one of {', '.join(RUN_STATUSES)}")
        self.flush()
        self._store.end_run(run_id, status)
        self._run_id = None

    def log_artifact(self, local_path: str | Path, name: str) -> None:
        """Keep a copy of a file with the run, where `mlflow ui` shows it.

        Raises:
            TrackerError: The file cannot be read or written, or the name leaves the run's folder.
        """
        run_id = self._current()
        source = Path(local_path)
        try:
            target = confined_path(self._store.artifact_folder(run_id), name)
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_into_place(source, target)
        except EscapeError as error:
            problem = f"the artifact name {name!r} {error}"
            raise TrackerError(problem, owner=OWNER, next_step="use a relative name such as plots/loss.png") from error
        except OSError as error:
            problem = f"{source} cannot be kept as '{name}' of run '{run_id}': {error}"
            raise TrackerError(problem, owner=OWNER, next_step="check the path and the space on the disk") from error

    def get_run(self, run_id: str) -> TrackedRun:
        """Read a run back.

        Raises:
            TrackerError: There is no such run.
        """
        self.flush()
        return self._store.run(run_id)

    def metric_history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """Read all values of a metric back as (step, value), in the order of recording."""
        self.flush()
        return self._store.history(run_id, key)

    def how_to_view(self, run_id: str) -> str:
        """Return the command that shows the database in a browser; mlflow-skinny does not bring the server it needs."""
        uri = self._uri
        if self.database.is_relative_to(Path.cwd()):
            uri = f"sqlite:///{self.database.relative_to(Path.cwd()).as_posix()}"
        command = f"mlflow ui --backend-store-uri {shlex.quote(uri)}"
        return command if find_spec("flask") else f"pip install mlflow\n{command}"

    def _require_none(self) -> None:
        if self._run_id is not None:
            problem = f"run '{self._run_id}' is still going on"
            raise TrackerError(problem, owner=OWNER, next_step="end it first, or use another LocalTracker")

    def _current(self) -> str:
        if self._run_id is None:
            problem = "no run is going on"
            raise TrackerError(problem, owner=OWNER, next_step="call start_run first")
        return self._run_id

    def _time(self) -> int:
        """Return the time in milliseconds, later than every time before: the order of recording stays known."""
        self._last_time = max(time.time_ns() // 1_000_000, self._last_time + 1)
        return self._last_time


def _user() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container's user without a name
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def _number(key: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        problem = f"the metric '{key}' is no number but a {type(value).__name__}"
        raise TrackerError(problem, owner=OWNER, next_step="log numbers, such as loss.item()") from error


def _shortened(key: str, text: str, longest: int) -> str:
    if len(text) > longest:
        log.warning(f"'{key}' has {len(text)} characters, of which MLflow keeps the first {longest}")
    return text[:longest]
