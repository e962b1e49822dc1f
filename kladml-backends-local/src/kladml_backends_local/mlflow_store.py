"""Experiments and runs in an MLflow database on this machine."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from kladml.errors import TrackerError
from kladml_backends_local.mlflow_database import check_database, ensure_database, open_store, reason
from kladml_backends_local.mlflow_deleted import deleted_experiment
from kladml_backends_local.mlflow_import import quiet
from kladml_backends_local.settings import OWNER
from kladml_backends_local.sqlite_errors import what_to_do

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    from kladml.spool.events import MetricPoint

_Item = TypeVar("_Item")

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
            raise TrackerError(text, owner=OWNER, next_step=what_to_do(self.database, error)) from error


def _batches(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
