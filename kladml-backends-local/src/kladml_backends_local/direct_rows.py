"""Writing the rows of a run into MLflow's tables, as MLflow's own store would, in a transaction of the caller's."""

from __future__ import annotations

import math
import posixpath
import time
import uuid
from itertools import chain, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse, urlunparse

from kladml.spool.events import DatasetInput, ExperimentTags, Params, Status, Tags
from kladml.spool.limits import changed_param, storable
from kladml_backends_local.mlflow_deleted import deleted_experiment, deleted_run
from kladml_backends_local.stored_numbers import stored_number

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from pathlib import Path

    from kladml.spool.events import Event, MetricPoint, SpooledRun

RUN_NAME_TAG = "mlflow.runName"
CONTEXT_TAG = "mlflow.data.context"

# A statement with many rows costs a quarter of as many executions, and gives up the interpreter once. Few sizes, for
# each is a statement that stays prepared; the largest stays below the 32,766 values that SQLite takes at once.
_ROWS_PER_STATEMENT = (4_000, 250, 16, 1)

_UPSERT_LATEST = """
INSERT INTO latest_metrics(key, value, timestamp, step, is_nan, run_uuid) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT(key, run_uuid) DO UPDATE
SET value = excluded.value, timestamp = excluded.timestamp, step = excluded.step, is_nan = excluded.is_nan
WHERE (excluded.step, excluded.timestamp, excluded.value) > (step, timestamp, value)
"""
_UPSERT_TAG = """
INSERT INTO tags(key, value, run_uuid) VALUES (?, ?, ?)
ON CONFLICT(key, run_uuid) DO UPDATE SET value = excluded.value
"""
_UPSERT_EXPERIMENT_TAG = """
INSERT INTO experiment_tags(key, value, experiment_id)
SELECT ?, ?, experiment_id FROM runs WHERE run_uuid = ?
ON CONFLICT(key, experiment_id) DO UPDATE SET value = excluded.value
"""
_INSERT_EXPERIMENT = """
INSERT INTO experiments(name, lifecycle_stage, creation_time, last_update_time, workspace)
VALUES (?, 'active', ?, ?, 'default')
"""
_INSERT_RUN = """
INSERT INTO runs(
    run_uuid, name, source_type, source_name, entry_point_name, user_id, status,
    start_time, source_version, lifecycle_stage, artifact_uri, experiment_id
) VALUES (?, ?, 'UNKNOWN', '', '', ?, 'RUNNING', ?, '', 'active', ?, ?)
"""
_INSERT_DATASET = """
INSERT OR IGNORE INTO datasets(
    dataset_uuid, experiment_id, name, digest, dataset_source_type, dataset_source, dataset_schema, dataset_profile
) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_INPUT = """
INSERT OR IGNORE INTO inputs(input_uuid, source_type, source_id, destination_type, destination_id)
SELECT ?, 'DATASET', dataset_uuid, 'RUN', ? FROM datasets WHERE experiment_id = ? AND name = ? AND digest = ?
"""


def begin_run(connection: sqlite3.Connection, run: SpooledRun, database: Path, artifacts: Path) -> None:
    """Make the row of a run, and that of its experiment, unless they are there.

    Raises:
        TrackerError: The run or the experiment was deleted.
    """
    if require_active(connection, run, database):
        return
    experiment_id, location = _experiment(connection, run.experiment_name, database, artifacts)
    folder = below(location, run.run_id, "artifacts")
    user, name = storable(run.user), storable(run.run_name)
    connection.execute(_INSERT_RUN, (run.run_id, name, user, run.started_ms, folder, experiment_id))
    connection.executemany(_UPSERT_TAG, [(key, value, run.run_id) for key, value in first_tags(run).items()])


def first_tags(run: SpooledRun) -> dict[str, str]:
    """Return the tags that a run has from the beginning."""
    return {
        "mlflow.user": storable(run.user),
        "mlflow.source.name": storable(run.source),
        "mlflow.source.type": "LOCAL",
        RUN_NAME_TAG: storable(run.run_name),
    }


def require_active(connection: sqlite3.Connection, run: SpooledRun, database: Path) -> bool:
    """Return whether there is a run.

    Raises:
        TrackerError: It was deleted.
    """
    row = connection.execute("SELECT lifecycle_stage FROM runs WHERE run_uuid = ?", (run.run_id,)).fetchone()
    if row is not None and row[0] != "active":
        raise deleted_run(database, run.run_id)
    return row is not None


def insert_points(connection: sqlite3.Connection, run_id: str, points: Sequence[MetricPoint]) -> None:
    """Add values of metrics, of which those that are there already change nothing."""
    # Rows of one key lie together in the indexes. The sort is stable: a key's rows are in the order of recording.
    ordered: list[MetricPoint] = sorted(points, key=itemgetter(0))
    # A sum that is not finite has such a number in it, or is merely too large, which costs time and nothing else.
    flagged = not math.isfinite(sum(map(itemgetter(1), ordered)))
    rows: Sequence[tuple[Any, ...]] = [_flagged(*point) for point in ordered] if flagged else ordered
    start = 0
    for size in _ROWS_PER_STATEMENT:
        while len(rows) - start >= size:
            values = [run_id, *chain.from_iterable(rows[start : start + size])]
            connection.execute(_INSERT_METRICS[size, flagged], values)
            start += size
    latest = []
    for _, points_of_key in groupby(rows, itemgetter(0)):
        key, value, at, step, *flag = max(points_of_key, key=itemgetter(3, 2, 1))
        latest.append((key, value, at, step, flag[0] if flag else 0, run_id))
    connection.executemany(_UPSERT_LATEST, latest)


def write_event(connection: sqlite3.Connection, run: SpooledRun, event: Event) -> list[str]:
    """Write what happened to a run, and return a sentence for each parameter that has another value already.

    The files of a run lie beside the database, so that it has nothing to write about an `Artifact`.
    """
    if isinstance(event, Params):
        return _insert_params(connection, run, event.values)
    if isinstance(event, Tags):
        _set_tags(connection, run.run_id, event.values)
    elif isinstance(event, ExperimentTags):
        rows = [(key, value, run.run_id) for key, value in event.values.items()]
        connection.executemany(_UPSERT_EXPERIMENT_TAG, rows)
    elif isinstance(event, DatasetInput):
        _insert_dataset(connection, run.run_id, event)
    elif isinstance(event, Status):
        _set_status(connection, run.run_id, event)
    return []


def below(uri: str, *names: str) -> str:
    """Return the URI of what lies below another one, as MLflow composes it."""
    parts = urlparse(uri)
    if not parts.scheme:
        return posixpath.join(uri, *names)
    path = posixpath.join(parts.path, *names)
    if parts.path.startswith("/"):
        return urlunparse(parts._replace(path=path))
    # Of `s3://bucket` and `file:relative`, urlunparse would make something else.
    return f"{parts.scheme}:{urlunparse(parts._replace(scheme='', path=path))}"


def _flagged(key: str, value: float, at: int, step: int) -> tuple[str, float, int, int, int]:
    number, is_nan = stored_number(value)
    return key, number, at, step, is_nan


def _experiment(connection: sqlite3.Connection, name: str, database: Path, artifacts: Path) -> tuple[int, str]:
    name = storable(name)
    query = "SELECT experiment_id, artifact_location, lifecycle_stage FROM experiments"
    found = connection.execute(f"{query} WHERE workspace = 'default' AND name = ?", (name,)).fetchone()
    if found is not None:
        experiment_id, location, stage = found
        if stage == "deleted":
            raise deleted_experiment(database, name, experiment_id)
        return experiment_id, location
    now = time.time_ns() // 1_000_000
    connection.execute(_INSERT_EXPERIMENT, (name, now, now))
    (experiment_id,) = connection.execute("SELECT last_insert_rowid()").fetchone()
    location = below(artifacts.as_uri(), str(experiment_id))
    change = "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?"
    connection.execute(change, (location, experiment_id))
    return experiment_id, location


def _insert_params(connection: sqlite3.Connection, run: SpooledRun, values: dict[str, str]) -> list[str]:
    refused = []
    for key, value in values.items():
        row = (key, value, run.run_id)
        insert = "INSERT OR IGNORE INTO params(key, value, run_uuid) VALUES (?, ?, ?)"
        if not connection.execute(insert, row).rowcount:
            query = "SELECT value FROM params WHERE key = ? AND run_uuid = ?"
            (kept,) = connection.execute(query, (key, run.run_id)).fetchone()
            if kept != value:
                refused.append(changed_param(run, key, kept, value))
    return refused


def _set_tags(connection: sqlite3.Connection, run_id: str, values: dict[str, str]) -> None:
    for key, value in values.items():
        if key == RUN_NAME_TAG:
            if not value:  # MLflow knows no run without a name
                continue
            connection.execute("UPDATE runs SET name = ? WHERE run_uuid = ?", (value, run_id))
        connection.execute(_UPSERT_TAG, (key, value, run_id))


def _insert_dataset(connection: sqlite3.Connection, run_id: str, data: DatasetInput) -> None:
    (experiment_id,) = connection.execute("SELECT experiment_id FROM runs WHERE run_uuid = ?", (run_id,)).fetchone()
    connection.execute(
        _INSERT_DATASET,
        (
            uuid.uuid4().hex,
            experiment_id,
            data.name,
            data.digest,
            data.source_type,
            data.source,
            data.schema,
            data.profile,
        ),
    )
    edge = uuid.uuid4().hex
    added = connection.execute(_INSERT_INPUT, (edge, run_id, experiment_id, data.name, data.digest)).rowcount
    if added and data.context is not None:
        insert = "INSERT INTO input_tags(input_uuid, name, value) VALUES (?, ?, ?)"
        connection.execute(insert, (edge, CONTEXT_TAG, data.context))


def _set_status(connection: sqlite3.Connection, run_id: str, event: Status) -> None:
    # As with MLflow, the last end of a run that goes on stays until it ends again.
    if event.status == "RUNNING":
        connection.execute("UPDATE runs SET status = 'RUNNING' WHERE run_uuid = ?", (run_id,))
    else:
        row = (event.status, event.time_ms, run_id)
        connection.execute("UPDATE runs SET status = ?, end_time = ? WHERE run_uuid = ?", row)


def _insert_metrics(rows: int, *, flagged: bool) -> str:
    flag = "?" if flagged else "0"
    # The first value is the run's identifier, bound once for all rows.
    first, further = f"(?2, ?, ?, ?1, ?, {flag})", f"(?, ?, ?, ?1, ?, {flag})"
    columns = "key, value, timestamp, run_uuid, step, is_nan"
    places = ", ".join([first, *[further] * (rows - 1)])
    return f"INSERT OR IGNORE INTO metrics({columns}) VALUES {places}"  # noqa: S608 - made of constants


_INSERT_METRICS = {
    (rows, flagged): _insert_metrics(rows, flagged=flagged) for rows in _ROWS_PER_STATEMENT for flagged in (False, True)
}
