"""A spool's way into an MLflow database through MLflow's own store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kladml.spool.events import DatasetInput, ExperimentTags, Params, Status, Tags
from kladml.spool.limits import acceptable, changed_param, check_run, storable
from kladml_backends_local.direct_rows import CONTEXT_TAG, below, first_tags
from kladml_backends_local.mlflow_deleted import deleted_run
from kladml_backends_local.mlflow_store import MlflowStore
from kladml_backends_local.settings import OWNER

if TYPE_CHECKING:
    from pathlib import Path

    from kladml.spool.events import Batch, Event, SpooledRun


class MlflowSink:
    """Writes batches with MLflow, for databases that only MLflow knows; a `kladml.spool.events.Sink`.

    Args:
        database: Absolute path of the database, which is made at the first use if it is absent.
        artifacts: Absolute path of the folder in which runs of new experiments keep their files.
    """

    batch_size = 10_000

    def __init__(self, database: Path, artifacts: Path) -> None:
        self._database = database
        self._store = MlflowStore(database, artifacts)

    def begin(self, run: SpooledRun) -> SpooledRun:
        """Make the run and its experiment known unless they are.

        Raises:
            TrackerError: One of them was deleted or is malformed, or the database refuses.
        """
        check_run(run, OWNER)
        if self._stage(run) is None:
            self._create(run)
        if self._stage(run) == "deleted":
            raise deleted_run(self._database, run.run_id)
        return run

    def write(self, run: SpooledRun, batch: Batch) -> list[str]:
        """Keep a batch.

        Raises:
            TrackerError: There is no such run, it was deleted, or the database refuses.
        """
        batch, refused = acceptable(run, batch)
        self._store.log(run.run_id, metrics=batch.points)
        for event in batch.events:
            refused.extend(self._write_event(run, event))
        return refused

    def close(self) -> None:
        """Let go of the database; a later use opens it again."""
        self._store.close()

    def _create(self, run: SpooledRun) -> None:
        """Make the run's row with MLflow's model of it: the store's `create_run` lets nobody choose the identifier."""
        experiment_id = self._store.experiment_id(storable(run.experiment_name))
        with self._store.opened("the run cannot be started") as store:
            from mlflow.store.tracking.dbmodels.models import SqlRun, SqlTag
            from sqlalchemy.exc import IntegrityError
            from sqlalchemy.orm import Session

            location = store.get_experiment(experiment_id).artifact_location
            row = SqlRun(
                name=storable(run.run_name),
                artifact_uri=below(location, run.run_id, "artifacts"),
                run_uuid=run.run_id,
                experiment_id=int(experiment_id),
                source_type="UNKNOWN",
                source_name="",
                entry_point_name="",
                user_id=storable(run.user),
                status="RUNNING",
                start_time=run.started_ms,
                source_version="",
                lifecycle_stage="active",
            )
            row.tags = [SqlTag(key=key, value=value) for key, value in first_tags(run).items()]
            try:
                with Session(store.engine) as session, session.begin():
                    session.add(row)
            except IntegrityError:
                if self._stage(run) is None:  # nobody else was first
                    raise

    def _stage(self, run: SpooledRun) -> str | None:
        """Return `active` or `deleted`; None if there is no such run."""
        with self._store.opened("the run cannot be found") as store:
            from mlflow.exceptions import MlflowException

            try:
                return str(store.get_run(run.run_id).info.lifecycle_stage)
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise

    def _write_event(self, run: SpooledRun, event: Event) -> list[str]:
        if isinstance(event, Params):
            return self._log_params(run, event.values)
        if isinstance(event, Tags):
            self._store.log(run.run_id, tags=event.values)
        elif isinstance(event, ExperimentTags):
            self._set_experiment_tags(run.run_id, event.values)
        elif isinstance(event, DatasetInput):
            with self._store.opened("the run's data set cannot be written") as store:
                store.log_inputs(run.run_id, [_as_mlflow(event)])
        elif isinstance(event, Status):
            self._set_status(run.run_id, event)
        return []

    def _log_params(self, run: SpooledRun, values: dict[str, str]) -> list[str]:
        with self._store.opened("the run's parameters cannot be read") as store:
            kept = store.get_run(run.run_id).data.params
        self._store.log(run.run_id, params={key: value for key, value in values.items() if key not in kept})
        return [
            changed_param(run, key, kept[key], value) for key, value in values.items() if kept.get(key, value) != value
        ]

    def _set_experiment_tags(self, run_id: str, values: dict[str, str]) -> None:
        with self._store.opened("the tags of the run's experiment cannot be written") as store:
            from mlflow.entities import ExperimentTag

            experiment_id = store.get_run(run_id).info.experiment_id
            for key, value in values.items():
                store.set_experiment_tag(experiment_id, ExperimentTag(key, value))

    def _set_status(self, run_id: str, event: Status) -> None:
        with self._store.opened("the status of the run cannot be written") as store:
            from mlflow.entities import RunStatus

            end = None if event.status == "RUNNING" else event.time_ms
            store.update_run_info(run_id, RunStatus.from_string(event.status), end, run_name=None)


def _as_mlflow(data: DatasetInput) -> Any:
    from mlflow import entities

    dataset = entities.Dataset(data.name, data.digest, data.source_type, data.source, data.schema, data.profile)
    tags = [] if data.context is None else [entities.InputTag(CONTEXT_TAG, data.context)]
    return entities.DatasetInput(dataset, tags)
