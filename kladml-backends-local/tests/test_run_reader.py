"""Reading runs back without MLflow, beside what MLflow reads."""

from __future__ import annotations

import math
import os
import sqlite3
import sys
from contextlib import closing

import pytest

from kladml.errors import TrackerError
from kladml.spool.events import Batch, Params, SpooledRun, Status, Tags
from kladml_backends_local.direct_sink import DirectSink
from kladml_backends_local.mlflow_database import ensure_database, open_store
from kladml_backends_local.run_reader import RunReader

POINTS = [("loss", 0.5, 5, 3), ("loss", math.nan, 6, 1), ("loss", math.inf, 7, 2), ("loss", -math.inf, 7, 2)]


def run_of(number, experiment="digits"):
    return SpooledRun(f"{number:032x}", experiment, f"run {number}", "ada", "train.py", 1_000 + number)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reader")
    ensure_database(folder / "mlflow.db", folder / "artifacts")
    with closing(DirectSink(folder / "mlflow.db", folder / "artifacts")) as sink:
        for number in range(6):
            run = run_of(number, "letters" if number == 5 else "digits")
            sink.begin(run)
            events = [Params({"lr": str(number / 100)}), Tags({"parity": "even" if number % 2 == 0 else "odd"})]
            points = [("acc", number / 8, 9, 0), *POINTS]
            sink.write(run, Batch(points if number else points[1:], [*events, Status("FINISHED", 9)]))
        sink.begin(run_of(6))
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE runs SET lifecycle_stage = 'deleted' WHERE name = 'run 4'")
    return folder


@pytest.fixture
def reader(folder):
    return RunReader(folder / "mlflow.db")


def numbers(runs):
    return [int(run.run_id, 16) for run in runs]


@pytest.mark.parametrize("number", [0, 1, 4, 5, 6])
def test_run_is_what_mlflow_reads(reader, folder, number):
    store = open_store(folder / "mlflow.db", folder / "artifacts")
    expected = store.get_run(run_of(number).run_id)
    experiment = store.get_experiment(expected.info.experiment_id)
    store.engine.dispose()
    found = reader.get_run(run_of(number).run_id)
    largest = {sys.float_info.max: math.inf, -sys.float_info.max: -math.inf}
    metrics = {key: largest.get(value, value) for key, value in expected.data.metrics.items()}
    assert repr(found.metrics) == repr({key: metrics[key] for key in found.metrics})
    assert len(found.metrics) == len(metrics)
    assert (found.status, found.experiment_name, found.params, found.tags) == (
        expected.info.status,
        experiment.name,
        expected.data.params,
        expected.data.tags,
    )


def test_history_is_in_the_order_of_recording_with_nan_and_infinities(reader):
    history = reader.history(run_of(1).run_id, "loss")
    assert [step for step, _ in history] == [3, 1, 2, 2]
    assert repr([value for _, value in history]) == "[0.5, nan, inf, -inf]"
    assert reader.history(run_of(1).run_id, "nothing") == reader.history("nobody", "loss") == []


def test_unknown_run_is_a_tracker_error(reader):
    with pytest.raises(TrackerError, match="there is no run 'nobody'"):
        reader.get_run("nobody")


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ({}, [6, 5, 3, 2, 1, 0]),
        ({"descending": False}, [0, 1, 2, 3, 5, 6]),
        ({"limit": 2}, [6, 5]),
        ({"limit": 0}, []),
        ({"experiment_name": "letters"}, [5]),
        ({"experiment_name": "nothing"}, []),
        ({"where": "metrics.acc > 0.2 and params.lr < 0.04 and tags.parity == 'odd' and status == 'FINISHED'"}, [3]),
        ({"where": "params.lr >= 0.02 or status == 'RUNNING'", "experiment_name": "digits"}, [6, 3, 2]),
        ({"order_by": "metrics.acc"}, [5, 3, 2, 1, 6, 0]),
        ({"order_by": "metrics.acc", "descending": False}, [1, 2, 3, 5, 0, 6]),
        ({"order_by": "params.lr", "descending": False, "limit": 3, "where": "metrics.acc > 0"}, [1, 2, 3]),
        ({"order_by": "tags.parity", "descending": False}, [0, 2, 1, 3, 5, 6]),
    ],
)
def test_search(reader, search, expected):
    assert numbers(reader.search_runs(**search)) == expected


def test_search_reads_all_of_each_run(reader):
    assert [repr(run) for run in reader.search_runs()] == [
        repr(reader.get_run(run_of(number).run_id)) for number in (6, 5, 3, 2, 1, 0)
    ]


def test_many_runs_are_read_at_once(folder, tmp_path):
    database = tmp_path / "mlflow.db"
    database.write_bytes((folder / "mlflow.db").read_bytes())
    with closing(sqlite3.connect(database)) as connection, connection:
        runs = [(f"{number:032x}",) for number in range(100, 33_100)]  # more than SQLite takes values
        connection.executemany(
            "INSERT INTO runs(run_uuid, status, lifecycle_stage, experiment_id) VALUES (?, 'FINISHED', 'active', 0)",
            runs,
        )
        connection.executemany("INSERT INTO params(key, value, run_uuid) VALUES ('a', 'b', ?)", runs)
    found = RunReader(database).search_runs("Default")
    assert len(found) == 33_000
    assert all(run.params == {"a": "b"} for run in found)


def test_database_that_is_not_there_has_no_runs_and_is_not_made(tmp_path):
    reader = RunReader(tmp_path / "mlflow.db")
    assert (reader.search_runs(), reader.history("a", "b")) == ([], [])
    with pytest.raises(TrackerError, match="there is no run"):
        reader.get_run("a")
    assert list(tmp_path.iterdir()) == []


def test_reading_goes_on_beside_a_writer(folder, reader):
    with closing(sqlite3.connect(folder / "mlflow.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM params")
        assert reader.get_run(run_of(1).run_id).params == {"lr": "0.01"}
        writer.execute("ROLLBACK")


def test_folder_that_is_read_only_gets_no_new_files(folder, tmp_path, monkeypatch):
    database = tmp_path / "mlflow.db"
    database.write_bytes((folder / "mlflow.db").read_bytes())
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert len(RunReader(database).search_runs()) == 6
    assert list(tmp_path.iterdir()) == [database]


@pytest.mark.parametrize("content", [b"something else entirely" * 100, None])
def test_file_that_is_no_database_of_mlflow_is_a_tracker_error(tmp_path, content):
    database = tmp_path / "mlflow.db"
    if content is None:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("CREATE TABLE mine (x)")
    else:
        database.write_bytes(content)
    reader = RunReader(database)
    for read in (reader.search_runs, lambda: reader.get_run("a"), lambda: reader.history("a", "b")):
        with pytest.raises(TrackerError, match="cannot be") as caught:
            read()
        assert str(database) in str(caught.value)


READ = """
import sys
from pathlib import Path
from kladml_backends_local.run_reader import RunReader
print(len(RunReader(Path(sys.argv[1])).search_runs(where="metrics.acc > 0")))
print({"mlflow", "sqlalchemy", "alembic"} & set(sys.modules))
"""


def test_reading_imports_neither_mlflow_nor_sqlalchemy(run_python, folder):
    assert run_python(READ, folder / "mlflow.db") == "4\nset()\n"
