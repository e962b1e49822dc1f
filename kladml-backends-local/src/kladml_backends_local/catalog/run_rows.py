"""Runs as rows of several tables, read in a transaction that the caller opens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select, update

from kladml.interfaces import CatalogRun, ExperimentAddress, RunAddress
from kladml_backends_local.catalog.rows import EXPERIMENTS, RUNS, is_experiment, is_run
from kladml_backends_local.catalog.tables import experiments, families, projects, runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.engine import Connection

_COLUMNS = (
    experiments.c.id,
    projects.c.name,
    families.c.name,
    experiments.c.name,
    runs.c.number,
    runs.c.run_id,
    runs.c.status,
    runs.c.started_at,
    runs.c.ended_at,
    runs.c.metrics,
    runs.c.backends,
)


def runs_of(connection: Connection, experiment: ExperimentAddress | None) -> list[CatalogRun]:
    """Return the runs of an experiment, or all, in the order in which they started."""
    return _read(connection, [] if experiment is None else [is_experiment(experiment)])


def find_run(connection: Connection, address: RunAddress) -> CatalogRun | None:
    """Return a run, or None."""
    return next(iter(_read(connection, [is_run(address)])), None)


def find_experiments(connection: Connection) -> list[ExperimentAddress]:
    """Return the experiments, sorted."""
    names = select(projects.c.name, families.c.name, experiments.c.name).select_from(EXPERIMENTS)
    return sorted(ExperimentAddress(*row) for row in connection.execute(names))


def end_run(connection: Connection, address: RunAddress, ended: Mapping[str, Any]) -> bool:
    """Write how a run ended; tell whether there is such a run."""
    row_id = _row_id(connection, address)
    if row_id is not None:
        connection.execute(update(runs).where(runs.c.id == row_id).values(**ended))
    return row_id is not None


def remove_run(connection: Connection, address: RunAddress) -> CatalogRun | None:
    """Delete a run and return what was known of it, or None if there is no such run."""
    row_id = _row_id(connection, address)
    if row_id is None:
        return None
    (run,) = _read(connection, [runs.c.id == row_id])
    connection.execute(delete(runs).where(runs.c.id == row_id))
    return run


def change_nothing(connection: Connection) -> None:
    """Write, without an effect, to prove that it is possible."""
    connection.execute(update(projects).where(projects.c.id == -1).values(name=projects.c.name))


def _row_id(connection: Connection, address: RunAddress) -> int | None:
    return connection.scalar(select(runs.c.id).select_from(RUNS).where(is_run(address)))


def _read(connection: Connection, conditions: Sequence[ColumnElement[bool]]) -> list[CatalogRun]:
    query = select(*_COLUMNS).select_from(RUNS).where(*conditions).order_by(runs.c.id)
    addresses: dict[int, ExperimentAddress] = {}
    return [_catalog_run(row, addresses) for row in connection.execute(query)]


def _catalog_run(row: Sequence[Any], addresses: dict[int, ExperimentAddress]) -> CatalogRun:
    experiment_id, project, family, name, number, *rest = row
    if experiment_id not in addresses:
        addresses[experiment_id] = ExperimentAddress(project, family, name)
    run_id, status, started_at, ended_at, metrics, backends = rest
    return CatalogRun(
        RunAddress(addresses[experiment_id], str(number)), run_id, status, started_at, ended_at, metrics, backends
    )
