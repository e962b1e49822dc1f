"""Making the database once, whole, whoever else starts at the same moment."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from kladml.errors import TrackerError
from kladml_backends_local.mlflow_database import check_database, database_uri, ensure_database, open_store

if TYPE_CHECKING:
    from pathlib import Path

START_A_RUN = """
import sys
from kladml_backends_local import LocalTracker
with LocalTracker("state/mlflow.db") as tracker:
    run_id = tracker.start_run("digits", sys.argv[1])
    tracker.log_params({"process": sys.argv[1]})
    for step in range(5):
        tracker.log_metric("loss", step / 8, step)
    tracker.end_run()
    print(run_id)
"""
DIE_WHEN_IT_IS_COMPLETE = """
import os, sys
from kladml_backends_local import LocalTracker

def die(event, arguments):
    if event == "os.rename" and "mlflow.db" in str(arguments[1]):
        os._exit(9)

sys.addaudithook(die)
LocalTracker("state/mlflow.db").check()
"""


@pytest.fixture
def database(tmp_path) -> Path:
    return tmp_path / "state" / "mlflow.db"


def rows(database, query):
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


def test_eight_processes_that_start_at_once_all_succeed(start_python, database):
    processes = [start_python(START_A_RUN, number) for number in range(8)]
    results = [(*process.communicate(timeout=600), process.returncode) for process in processes]
    assert [(errors, code) for _, errors, code in results] == [("", 0)] * 8
    run_ids = {output.strip() for output, _, _ in results}
    assert {run_id for (run_id,) in rows(database, "SELECT run_uuid FROM runs WHERE status = 'FINISHED'")} == run_ids
    assert rows(database, "SELECT name FROM experiments ORDER BY 1") == [("Default",), ("digits",)]
    assert rows(database, "SELECT count(*), count(DISTINCT run_uuid) FROM metrics") == [(40, 8)]
    assert rows(database, "PRAGMA integrity_check") == [("ok",)]


def test_process_that_dies_while_it_makes_the_database_leaves_none(start_python, database, tmp_path):
    process = start_python(DIE_WHEN_IT_IS_COMPLETE)
    process.communicate(timeout=120)
    assert process.returncode == 9
    assert not database.exists()
    ensure_database(database, tmp_path / "artifacts")
    check_database(database)
    assert [path.name for path in database.parent.iterdir() if path.suffix == ".new"] == []


def test_database_is_made_once(database, tmp_path):
    ensure_database(database, tmp_path / "artifacts")
    before = database.stat()
    ensure_database(database, tmp_path / "elsewhere")
    assert database.stat().st_mtime_ns == before.st_mtime_ns
    assert rows(database, "SELECT artifact_location FROM experiments") == [((tmp_path / "artifacts" / "0").as_uri(),)]


def test_empty_file_counts_as_absent(database, tmp_path):
    database.parent.mkdir()
    database.touch()
    ensure_database(database, tmp_path / "artifacts")
    check_database(database, write=True)


def test_file_that_is_no_database_is_named_and_kept(database, tmp_path):
    database.parent.mkdir()
    database.write_bytes(b"something else entirely" * 100)
    ensure_database(database, tmp_path / "artifacts")
    with pytest.raises(TrackerError, match="not a database") as caught:
        check_database(database)
    assert f"move {database} away, and a new one is made" in str(caught.value)
    assert database.read_bytes().startswith(b"something else")


def test_sqlite_database_of_another_program_is_refused(database):
    database.parent.mkdir()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    with pytest.raises(TrackerError, match="alembic_version"):
        check_database(database)
    assert rows(database, "SELECT name FROM sqlite_master") == [("mine",)]


def test_database_of_another_version_says_how_to_upgrade_it(database, tmp_path):
    ensure_database(database, tmp_path / "artifacts")
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
    with pytest.raises(TrackerError, match="mlflow db upgrade") as caught:
        open_store(database, tmp_path / "artifacts")
    assert "ffffffffffff" in str(caught.value)


def test_folder_that_cannot_be_made_is_a_tracker_error(blocked):
    with pytest.raises(TrackerError, match="cannot be made"):
        ensure_database(blocked / "mlflow.db", blocked / "artifacts")


@pytest.mark.parametrize("folder", ["why?", "percent%20"])
def test_path_that_no_uri_can_hold_is_refused(tmp_path, folder):
    with pytest.raises(TrackerError, match="rename the folder"):
        database_uri(tmp_path / folder / "mlflow.db")


@pytest.mark.parametrize("folder", ["with space", "hash#100%", "naïve 模型;&"])
def test_odd_folders_work(tmp_path, folder):
    database = tmp_path / folder / "mlflow.db"
    ensure_database(database, tmp_path / folder / "artifacts")
    check_database(database, write=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder]
