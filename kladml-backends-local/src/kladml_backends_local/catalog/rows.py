"""Finding and adding the rows of runs, in a transaction that the caller opens."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import Table, and_, insert, select, update

from kladml_backends_local.catalog.tables import experiments, families, projects, retired_numbers, runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement
    from sqlalchemy.engine import Connection

    from kladml.interfaces import ExperimentAddress, RunAddress

EXPERIMENTS = experiments.join(families).join(projects)
RUNS = runs.join(EXPERIMENTS)

LEVEL_TABLES = (projects, families, experiments)
"""The tables of the hierarchy, from the top down."""

_PARENTS = ("project_id", "family_id")
LONGEST_LABEL = 9


def add_run(
    connection: Connection, experiment: ExperimentAddress, run_id: str, backends: Mapping[str, str], *, beyond: int = 0
) -> int:
    """Register a run and return its number, which is higher than `beyond`."""
    experiment_id = _experiment_id(connection, experiment)
    _raise_last(connection, experiment_id, beyond)
    this = experiments.c.id == experiment_id
    # The update locks the row until the end of the transaction, so the number is this run's alone, and it
    # becomes the next one's again where the transaction fails.
    connection.execute(update(experiments).where(this).values(last_number=experiments.c.last_number + 1))
    number: int = connection.scalars(select(experiments.c.last_number).where(this)).one()
    _insert_run(connection, experiment_id, number, run_id, backends)
    return number


def resume_run(connection: Connection, address: RunAddress, run_id: str, backends: Mapping[str, str]) -> bool:
    """Mark a run as running, or register it; tell whether its label is one that a catalog gives."""
    found = connection.scalar(select(runs.c.id).select_from(RUNS).where(is_run(address)))
    if found is not None:
        again = {"run_id": run_id, "status": "RUNNING", "ended_at": None, "metrics": {}, "backends": backends}
        connection.execute(update(runs).where(runs.c.id == found).values(again))
        return True
    number = _number(address)
    if number == 0:
        return False
    experiment_id = _experiment_id(connection, address.experiment)
    _raise_last(connection, experiment_id, number)
    _insert_run(connection, experiment_id, number, run_id, backends)
    return True


def _raise_last(connection: Connection, experiment_id: int, number: int) -> None:
    """See that the next number of an experiment is beyond a number."""
    behind = and_(experiments.c.id == experiment_id, experiments.c.last_number < number)
    connection.execute(update(experiments).where(behind).values(last_number=number))


def _insert_run(
    connection: Connection, experiment_id: int, number: int, run_id: str, backends: Mapping[str, str]
) -> None:
    connection.execute(
        insert(runs).values(
            experiment_id=experiment_id,
            number=number,
            run_id=run_id,
            status="RUNNING",
            started_at=datetime.now(UTC),
            metrics={},
            backends=backends,
        )
    )


def _experiment_id(connection: Connection, experiment: ExperimentAddress) -> int:
    """Return the identifier of an experiment's row; it, its family and its project are made where they are new."""
    return ensure_row(connection, (experiment.project, experiment.family, experiment.experiment))


def ensure_row(connection: Connection, names: tuple[str, ...]) -> int:
    """Return the identifier of the row of a project, family or experiment; what is new on the way to it is made."""
    row_id: int | None = None
    for depth, table in enumerate(LEVEL_TABLES[: len(names)], start=1):
        values: dict[str, Any] = {"name": names[depth - 1]}
        if row_id is not None:
            values[_PARENTS[depth - 2]] = row_id
        found = connection.scalar(select(table.c.id).where(*(table.c[key] == value for key, value in values.items())))
        row_id = _insert_row(connection, table, names, values) if found is None else int(found)
    return cast("int", row_id)


def _insert_row(connection: Connection, table: Table, names: tuple[str, ...], values: dict[str, Any]) -> int:
    if table is experiments:
        values["last_number"] = connection.scalar(select(retired_numbers.c.last_number).where(is_retired(names))) or 0
    new = insert(table).values(created_at=datetime.now(UTC), **values)
    (row_id,) = cast("tuple[int]", connection.execute(new).inserted_primary_key)
    return row_id


def is_retired(names: tuple[str, ...]) -> ColumnElement[bool]:
    """Return the condition for the number that a deleted experiment came to."""
    columns = (retired_numbers.c.project, retired_numbers.c.family, retired_numbers.c.experiment)
    return and_(*(column == name for column, name in zip(columns, names, strict=True)))


def is_experiment(experiment: ExperimentAddress) -> ColumnElement[bool]:
    """Return the condition for one experiment."""
    return and_(
        projects.c.name == experiment.project,
        families.c.name == experiment.family,
        experiments.c.name == experiment.experiment,
    )


def is_run(address: RunAddress) -> ColumnElement[bool]:
    """Return the condition for one run; a label that is no number is that of no run."""
    return and_(is_experiment(address.experiment), runs.c.number == _number(address))


def _number(address: RunAddress) -> int:
    """Return the number of a run, 0 for a label that no catalog gives."""
    label = address.label
    number = int(label) if label.isdecimal() and len(label) <= LONGEST_LABEL else 0
    return number if str(number) == label else 0
