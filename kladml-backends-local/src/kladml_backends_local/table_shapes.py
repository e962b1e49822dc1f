"""The shape of the tables of MLflow's that KladML writes to without MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

# As MLflow 3.17 makes them. A column is its type, whether it may be empty, and its place in the primary key.
_COLUMNS: dict[str, dict[str, str]] = {
    "experiments": {
        "experiment_id": "INTEGER NOT NULL KEY 1",
        "name": "VARCHAR(256) NOT NULL",
        "artifact_location": "VARCHAR(256)",
        "lifecycle_stage": "VARCHAR(32)",
        "creation_time": "BIGINT",
        "last_update_time": "BIGINT",
        "workspace": "VARCHAR(63) NOT NULL",
    },
    "experiment_tags": {
        "key": "VARCHAR(250) NOT NULL KEY 1",
        "value": "TEXT",
        "experiment_id": "INTEGER NOT NULL KEY 2",
    },
    "runs": {
        "run_uuid": "VARCHAR(32) NOT NULL KEY 1",
        "name": "VARCHAR(250)",
        "source_type": "VARCHAR(20)",
        "source_name": "VARCHAR(500)",
        "entry_point_name": "VARCHAR(50)",
        "user_id": "VARCHAR(256)",
        "status": "VARCHAR(9)",
        "start_time": "BIGINT",
        "end_time": "BIGINT",
        "source_version": "VARCHAR(50)",
        "lifecycle_stage": "VARCHAR(20)",
        "artifact_uri": "VARCHAR(200)",
        "experiment_id": "INTEGER",
        "deleted_time": "BIGINT",
    },
    "tags": {
        "key": "VARCHAR(250) NOT NULL KEY 1",
        "value": "VARCHAR(8000)",
        "run_uuid": "VARCHAR(32) NOT NULL KEY 2",
    },
    "params": {
        "key": "VARCHAR(250) NOT NULL KEY 1",
        "value": "VARCHAR(8000) NOT NULL",
        "run_uuid": "VARCHAR(32) NOT NULL KEY 2",
    },
    "metrics": {
        "key": "VARCHAR(250) NOT NULL KEY 1",
        "value": "FLOAT NOT NULL KEY 5",
        "timestamp": "BIGINT NOT NULL KEY 2",
        "run_uuid": "VARCHAR(32) NOT NULL KEY 4",
        "step": "BIGINT NOT NULL KEY 3",
        "is_nan": "BOOLEAN NOT NULL KEY 6",
    },
    "latest_metrics": {
        "key": "VARCHAR(250) NOT NULL KEY 1",
        "value": "FLOAT NOT NULL",
        "timestamp": "BIGINT",
        "step": "BIGINT NOT NULL",
        "is_nan": "BOOLEAN NOT NULL",
        "run_uuid": "VARCHAR(32) NOT NULL KEY 2",
    },
    "datasets": {
        "dataset_uuid": "VARCHAR(36) NOT NULL",
        "experiment_id": "INTEGER NOT NULL KEY 1",
        "name": "VARCHAR(500) NOT NULL KEY 2",
        "digest": "VARCHAR(36) NOT NULL KEY 3",
        "dataset_source_type": "VARCHAR(36) NOT NULL",
        "dataset_source": "TEXT NOT NULL",
        "dataset_schema": "TEXT",
        "dataset_profile": "TEXT",
    },
    "inputs": {
        "input_uuid": "VARCHAR(36) NOT NULL",
        "source_type": "VARCHAR(36) NOT NULL KEY 1",
        "source_id": "VARCHAR(36) NOT NULL KEY 2",
        "destination_type": "VARCHAR(36) NOT NULL KEY 3",
        "destination_id": "VARCHAR(36) NOT NULL KEY 4",
        "step": "BIGINT NOT NULL",
    },
    "input_tags": {
        "input_uuid": "VARCHAR(36) NOT NULL KEY 1",
        "name": "VARCHAR(255) NOT NULL KEY 2",
        "value": "VARCHAR(500) NOT NULL",
    },
}

# The columns by which SQLite notices a second row. It needs no such index for a key that is one integer.
_UNIQUE: dict[str, tuple[str, ...]] = {
    "experiments": ("workspace", "name"),
    "experiment_tags": ("key", "experiment_id"),
    "runs": ("run_uuid",),
    "tags": ("key", "run_uuid"),
    "params": ("key", "run_uuid"),
    "metrics": ("key", "timestamp", "step", "run_uuid", "value", "is_nan"),
    "latest_metrics": ("key", "run_uuid"),
    "datasets": ("experiment_id", "name", "digest"),
    "inputs": ("source_type", "source_id", "destination_type", "destination_id"),
    "input_tags": ("input_uuid", "name"),
}


def unknown_shape(connection: sqlite3.Connection) -> str | None:
    """Say in what a database differs from what KladML knows of MLflow's tables; None if in nothing.

    A newer MLflow may have changed the tables, under a running training even. Whatever is different is a
    difference: what a column that is not known means, nobody can know who does not fill it.
    """
    for table in _COLUMNS:
        if difference := _difference(connection, table):
            return difference
    return None


def _difference(connection: sqlite3.Connection, table: str) -> str | None:
    found = _columns(connection, table)
    if not found:
        return f"there is no table '{table}'"
    if difference := _different_column(table, found):
        return difference
    if (unique := _unique(connection, table)) != {_UNIQUE[table]}:
        listed = " and by ".join(f"({', '.join(columns)})" for columns in sorted(unique)) or "nothing"
        return f"{table} is unique by {listed}, where this version of KladML knows ({', '.join(_UNIQUE[table])})"
    query = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?"
    if trigger := connection.execute(query, (table,)).fetchone():
        return f"{table} has the trigger '{trigger[0]}', which this version of KladML does not know"
    return None


def _different_column(table: str, found: dict[str, str]) -> str | None:
    known = _COLUMNS[table]
    for name in sorted(found.keys() - known.keys()):
        return f"{table} has the column '{name}', which this version of KladML does not know"
    for name, shape in known.items():
        if name not in found:
            return f"{table} lacks the column '{name}'"
        if found[name] != shape:
            return f"the column '{name}' of {table} is {found[name]}, where this version of KladML knows {shape}"
    return None


def _columns(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    rows = connection.execute('SELECT name, type, "notnull", pk FROM pragma_table_xinfo(?)', (table,))
    return {
        name: f"{kind}{' NOT NULL' if filled else ''}{f' KEY {place}' if place else ''}"
        for name, kind, filled, place in rows
    }


def _unique(connection: sqlite3.Connection, table: str) -> set[tuple[str, ...]]:
    indexes = connection.execute('SELECT name FROM pragma_index_list(?) WHERE "unique"', (table,)).fetchall()
    return {
        tuple(name for (name,) in connection.execute("SELECT name FROM pragma_index_info(?) ORDER BY seqno", index))
        for index in indexes
    }
