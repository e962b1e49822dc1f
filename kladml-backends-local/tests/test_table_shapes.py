"""Whether MLflow's tables are those that KladML writes to."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from kladml_backends_local.mlflow_database import ensure_database
from kladml_backends_local.table_shapes import unknown_shape

UNKNOWN = "which this version of KladML does not know"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    ensure_database(folder / "mlflow.db", folder / "artifacts")
    return folder / "mlflow.db"


@pytest.fixture
def connection(made):
    with closing(sqlite3.connect(":memory:")) as copy:
        with closing(sqlite3.connect(made)) as original:
            original.backup(copy)
        yield copy


def test_installed_mlflow_makes_what_is_known(connection):
    assert unknown_shape(connection) is None


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("ALTER TABLE metrics ADD COLUMN x INTEGER", f"metrics has the column 'x', {UNKNOWN}"),
        (
            "ALTER TABLE metrics ADD COLUMN y INTEGER GENERATED ALWAYS AS (step + 1) VIRTUAL",
            f"metrics has the column 'y', {UNKNOWN}",
        ),
        ("ALTER TABLE runs DROP COLUMN deleted_time", "runs lacks the column 'deleted_time'"),
        ("ALTER TABLE tags RENAME TO labels", "there is no table 'tags'"),
        ("CREATE UNIQUE INDEX names ON runs (name)", "runs is unique by (name) and by (run_uuid), where"),
        (
            "CREATE TRIGGER counted AFTER INSERT ON params BEGIN SELECT 1; END",
            f"params has the trigger 'counted', {UNKNOWN}",
        ),
    ],
)
def test_any_difference_is_said(connection, change, difference):
    connection.execute(change)
    assert unknown_shape(connection).startswith(difference)


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("step BIGINT", "step TEXT", "the column 'step' of metrics is TEXT NOT NULL KEY 3, where"),
        ("value FLOAT NOT NULL", "value FLOAT", "the column 'value' of metrics is FLOAT KEY 5, where"),
        (", is_nan)", ")", "the column 'is_nan' of metrics is BOOLEAN NOT NULL, where"),
    ],
)
def test_column_that_changed_is_said(connection, old, new, difference):
    (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'metrics'").fetchone()
    connection.execute("DROP TABLE metrics")
    connection.execute(sql.replace(old, new))
    assert unknown_shape(connection).startswith(difference)


def test_constraint_that_is_gone_is_said(connection):
    (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'experiments'").fetchone()
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("DROP TABLE experiments")
    connection.execute(sql.replace("UNIQUE (workspace, name)", "CHECK (1)"))
    assert unknown_shape(connection).startswith("experiments is unique by nothing, where")


def test_other_tables_and_other_indexes_do_not_matter(connection):
    connection.execute("CREATE TABLE mine (x)")
    connection.execute("ALTER TABLE trace_info ADD COLUMN x INTEGER")
    connection.execute("CREATE INDEX mine_too ON metrics (value)")
    assert unknown_shape(connection) is None
