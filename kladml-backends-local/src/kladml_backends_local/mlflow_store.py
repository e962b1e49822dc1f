"""Experiments and runs in an MLflow database on this machine."""

from __future__ import annotations

import math
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from kladml.errors import TrackerError
from kladml.interfaces import TrackedRun
from kladml_backends_local.mlflow_database import check_database, ensure_database, open_store, reason
from kladml_backends_local.mlflow_deleted import deleted_experiment
from kladml_backends_local.mlflow_import import quiet
from kladml_backends_local.settings import OWNER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

_Item = TypeVar("_Item")

MetricPoint = tuple[str, float, int, int]
"""Key, value, time in milliseconds since the epoch of Unix, step."""

_METRICS_PER_BATCH = 1_000
_TEXTS_PER_BATCH = 100


class MlflowStore:
    """Reads and writes one MLflow database through MLflow's own store.

    The store is what an MLflow server uses itself. In contrast to `MlflowClient` it takes the folder for
    artifacts, reports no telemetry, and leaves nothing in MLflow's global state that keeps the file open.

    Args:
        database: Absolute path of the database, which is made at the first use if it is absent.
        artifacts: Absolute path of the folder in which runs of new experiments keep their files.
    """

    def __init__(self, database: Path, artifacts: Path) -> None:
        self.database = database
        self.artifacts = artifacts
        self._store: SqlAlchemyStore | None = None

    def check(self) -> None:
        """Open the database and prove that it can be written to.

        Raises:
            TrackerError: It cannot.
        """
        with self.opened("the tracking database cannot be opened"):
            check_database(self.database, write=True)

    def close(self) -> None:
        """Close every connection; a later use opens them again."""
        if self._store is not None:
            self._store.engine.dispose()
            self._store = None

    def experiment_id(self, name: str) -> str:
        """Return the identifier of the experiment with a name, which is made if there is none.

        Raises:
            TrackerError: The experiment was deleted, or the name is malformed.
        """
        with self.opened(f"experiment '{name}' cannot be opened") as store:
            experiment = store.get_experiment_by_name(name) or self._new_experiment(store, name)
        if experiment.lifecycle_stage == "deleted":
            raise deleted_experiment(self.database, name, experiment.experiment_id)
        return str(experiment.experiment_id)

    @staticmethod
    def _new_experiment(store: SqlAlchemyStore, name: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return store.get_experiment(store.create_experiment(name))
        except MlflowException as error:
            if error.error_code == "RESOURCE_ALREADY_EXISTS":  # another process was first
                return store.get_experiment_by_name(name)
            raise

    def create_run(self, experiment_name: str, run_name: str | None, user: str, tags: Mapping[str, str]) -> str:
        """Begin a run and return its identifier; MLflow makes a name up where none is given."""
        experiment_id = self.experiment_id(experiment_name)
        with self.opened("the run cannot be started") as store:
            from mlflow.entities import RunTag

            run = store.create_run(
                experiment_id,
                user_id=user,
                start_time=_milliseconds(),
                tags=[RunTag(key, value) for key, value in tags.items()],
                run_name=run_name,
            )
        return str(run.info.run_id)

    def log(
        self,
        run_id: str,
        *,
        metrics: Sequence[MetricPoint] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write metrics, parameters and tags; they are durable on return.

        Raises:
            TrackerError: A name is malformed, a parameter has another value already, or the disk refuses.
        """
        with self.opened("the run's records cannot be written") as store:
            from mlflow.entities import Metric, Param, RunTag

            for points in _batches(metrics, _METRICS_PER_BATCH):
                store.log_batch(run_id, [Metric(*point) for point in points], [], [])
            for texts in _batches(list((params or {}).items()), _TEXTS_PER_BATCH):
                store.log_batch(run_id, [], [Param(*text) for text in texts], [])
            for texts in _batches(list((tags or {}).items()), _TEXTS_PER_BATCH):
                store.log_batch(run_id, [], [], [RunTag(*text) for text in texts])

    def end_run(self, run_id: str, status: str) -> None:
        """Note how and when a run ended."""
        with self.opened("the end of the run cannot be written") as store:
            from mlflow.entities import RunStatus

            store.update_run_info(run_id, RunStatus.from_string(status), _milliseconds(), run_name=None)

    def resume_run(self, run_id: str) -> None:
        """Note that a run goes on; as MLflow itself does, its last end stays until it ends again.

        Raises:
            TrackerError: There is no such run, or it was deleted.
        """
        with self.opened(f"run '{run_id}' cannot be resumed") as store:
            from mlflow.entities import RunStatus

            store.update_run_info(run_id, RunStatus.RUNNING, None, run_name=None)

    def artifact_folder(self, run_id: str) -> Path:
        """Return the folder of a run's files, which may be absent.

        Raises:
            TrackerError: There is no such run, or its experiment keeps files elsewhere than on this machine.
        """
        with self.opened(f"run '{run_id}' cannot be found") as store:
            uri = str(store.get_run(run_id).info.artifact_uri)
        parts = urlsplit(uri)
        # An experiment that MLflow made itself may have a plain path.
        folder = Path(url2pathname(parts.path) if parts.scheme == "file" else uri)
        if folder.is_absolute():
            return folder
        problem = f"the files of run '{run_id}' are kept at {uri}, which is no folder of this machine"
        raise TrackerError(problem, owner=OWNER, next_step="choose another experiment, or the tracker 'mlflow'")

    def run(self, run_id: str) -> TrackedRun:
        """Read a run.

        Raises:
            TrackerError: There is no such run.
        """
        with self.opened(f"run '{run_id}' cannot be read") as store:
            run = store.get_run(run_id)
            experiment = store.get_experiment(run.info.experiment_id)
        return TrackedRun(
            run_id,
            experiment_name=str(experiment.name),
            status=str(run.info.status),
            params=dict(run.data.params),
            metrics={key: _restored(value) for key, value in run.data.metrics.items()},
            tags=dict(run.data.tags),
        )

    def history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """Read all values of a metric as (step, value), in the order of recording."""
        with self.opened(f"'{key}' of run '{run_id}' cannot be read") as store:
            points = list(store.get_metric_history(run_id, key))
        points.sort(key=lambda point: (point.timestamp, point.step))
        return [(int(point.step), _restored(point.value)) for point in points]

    @contextmanager
    def opened(self, problem: str) -> Iterator[SqlAlchemyStore]:
        """Give the store, opened, and turn what it raises into a `TrackerError` that starts with `problem`."""
        if self._store is None:
            ensure_database(self.database, self.artifacts)
            check_database(self.database)
            self._store = open_store(self.database, self.artifacts)
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with quiet():
                yield self._store
        except (MlflowException, SQLAlchemyError) as error:
            text = f"{problem}: {reason(error)}"
            raise TrackerError(text, owner=OWNER, next_step=f"see the database {self.database}") from error


def _batches(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000


def _restored(value: float) -> float:
    """Return the infinity that MLflow stores as the largest number."""
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value
