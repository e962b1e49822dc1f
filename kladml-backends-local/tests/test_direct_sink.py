"""What the direct way writes, beside what MLflow itself writes from the same calls."""

from __future__ import annotations

import json
import math
import sqlite3
import warnings
from contextlib import closing
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kladml.errors import TrackerError
from kladml.spool.events import Artifact, Batch, DatasetInput, ExperimentTags, Params, SpooledRun, Status, Tags
from kladml_backends_local import direct_sink
from kladml_backends_local.direct_rows import below
from kladml_backends_local.direct_sink import DirectSink
from kladml_backends_local.mlflow_database import ensure_database, open_store
from kladml_backends_local.mlflow_sink import MlflowSink

TABLES = (
    "experiments",
    "experiment_tags",
    "runs",
    "tags",
    "params",
    "metrics",
    "latest_metrics",
    "datasets",
    "inputs",
    "input_tags",
)
RUN = SpooledRun("0123456789abcdef" * 2, "digits", "first try", "ada", "train.py", 1_700_000_000_000)
TRAINING = DatasetInput("digits", "d1", "local", '{"uri": "data/digits"}', '{"columns": []}', '{"rows": 9}', "training")
BATCHES = [
    Batch(
        [
            ("loss", 0.5, 1_000, 0),
            ("loss", math.nan, 1_001, 1),
            ("accuracy", math.inf, 1_001, 1),
            ("loss", 0.5, 1_000, 0),  # the same again
            ("loss", 0.25, 1_002, 1),
            ("accuracy", -math.inf, 1_002, 2),
            ("loss", 0.125, 1_003, 0),  # backward
            ("tie", 0.0, 1_000, 0),
            ("tie", math.nan, 1_000, 0),
            ("val/a b:c", -1.5, 1_003, 3),
        ],
        [Params({"lr": "0.001", "model.layers": "3"}), Tags({"kind": "x", "note": "naïve"})],
    ),
    Batch([], [TRAINING, replace(TRAINING, context="evaluation"), replace(TRAINING, name="more", context=None)]),
    Batch([("loss", 0.0, 1_004, 5)], [ExperimentTags({"project": "p", "family": "f"}), Status("FINISHED", 2_000)]),
    Batch([], [Status("RUNNING", 3_000), Tags({"kind": "y", "mlflow.runName": "second try"})]),
    Batch(
        [("loss", 9.0, 3_001, 4), ("loss", math.nan, 3_002, 7)],
        [Params({"lr": "0.001", "late": "1"}), ExperimentTags({"family": "g"}), Tags({"mlflow.runName": ""})],
    ),
    Batch([], [TRAINING, Artifact("a/b.bin", "0"), Status("FAILED", 4_000)]),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("direct")
    ensure_database(folder / "made.db", folder / "artifacts")
    return folder


@pytest.fixture(scope="module")
def new_database(folder):
    numbers = count()

    def new(source="made.db"):
        path = folder / f"{next(numbers)}.db"
        path.write_bytes((folder / source).read_bytes())
        return path

    return new


@pytest.fixture
def database(new_database):
    return new_database()


@pytest.fixture
def sink(database, folder):
    sink = DirectSink(database, folder / "artifacts")
    yield sink
    sink.close()


@pytest.fixture
def closing_sinks():
    sinks = []
    yield sinks.append
    for sink in sinks:
        sink.close()


class ByMlflow:
    """The calls that MLflow's users make, on the store that an MLflow server uses."""

    def __init__(self, database, artifacts):
        self.store = open_store(database, artifacts)

    def begin(self, run):
        from mlflow.entities import RunTag

        found = self.store.get_experiment_by_name(run.experiment_name)
        experiment_id = found.experiment_id if found else self.store.create_experiment(run.experiment_name)
        tags = {"mlflow.user": run.user, "mlflow.source.name": run.source, "mlflow.source.type": "LOCAL"}
        made = self.store.create_run(
            experiment_id, run.user, run.started_ms, [RunTag(*tag) for tag in tags.items()], run.run_name
        )
        return replace(run, run_id=made.info.run_id)

    def write(self, run, batch):
        from mlflow.entities import Metric

        if batch.points:
            self.store.log_batch(run.run_id, [Metric(*point) for point in batch.points], [], [])
        for event in batch.events:
            self.write_event(run, event)

    def write_event(self, run, event):
        from mlflow import entities

        if isinstance(event, Params):
            self.store.log_batch(run.run_id, [], [entities.Param(*item) for item in event.values.items()], [])
        elif isinstance(event, Tags):
            self.store.log_batch(run.run_id, [], [], [entities.RunTag(*item) for item in event.values.items()])
        elif isinstance(event, ExperimentTags):
            experiment_id = self.store.get_run(run.run_id).info.experiment_id
            for item in event.values.items():
                self.store.set_experiment_tag(experiment_id, entities.ExperimentTag(*item))
        elif isinstance(event, DatasetInput):
            fields = (event.name, event.digest, event.source_type, event.source, event.schema, event.profile)
            tags = [entities.InputTag("mlflow.data.context", event.context)] if event.context else []
            self.store.log_inputs(run.run_id, [entities.DatasetInput(entities.Dataset(*fields), tags)])
        elif isinstance(event, Status):
            end = None if event.status == "RUNNING" else event.time_ms
            self.store.update_run_info(run.run_id, entities.RunStatus.from_string(event.status), end, None)

    def close(self):
        self.store.engine.dispose()


def rows(database, query, *values):
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query, values).fetchall()


def content(database):
    """Every row of every table, without the random identifiers and the times at which experiments were made."""
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        tables = {
            table: [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]  # noqa: S608
            for table in TABLES
        }
    names = {row["dataset_uuid"]: row["name"] for row in tables["datasets"]}
    edges = {row["input_uuid"]: names[row["source_id"]] for row in tables["inputs"]}
    for row in tables["datasets"]:
        assert len(row.pop("dataset_uuid")) == 32
    for row in (*tables["inputs"], *tables["input_tags"]):
        row["input_uuid"] = edges[row["input_uuid"]]
        if "source_id" in row:
            row["source_id"] = names[row["source_id"]]
    for row in tables["experiments"]:
        assert row.pop("creation_time") == row.pop("last_update_time") > 1_700_000_000_000
    return {table: sorted(json.dumps(row, sort_keys=True) for row in found) for table, found in tables.items()}


@pytest.fixture(scope="module")
def by_mlflow(folder, new_database):
    """The run that MLflow recorded from all batches, and its database."""
    database = new_database()
    with closing(ByMlflow(database, folder / "artifacts")) as mlflow:
        run = mlflow.begin(RUN)
        for batch in BATCHES:
            mlflow.write(run, batch)
    return run, database


@pytest.mark.parametrize("kind", [DirectSink, MlflowSink])
def test_database_is_the_one_that_mlflow_writes(kind, database, folder, by_mlflow, closing_sinks):
    run, expected = by_mlflow
    sink = kind(database, folder / "artifacts")
    closing_sinks(sink)
    sink.begin(run)
    assert [sink.write(run, batch) for batch in BATCHES] == [[]] * len(BATCHES)
    assert content(database) == content(expected)


@pytest.mark.parametrize("kind", [DirectSink, MlflowSink])
def test_replay_changes_nothing(kind, database, folder, by_mlflow, closing_sinks):
    run, expected = by_mlflow
    for _ in range(2):
        sink = kind(database, folder / "artifacts")
        closing_sinks(sink)
        sink.begin(run)
        for batch in (*BATCHES, *BATCHES):
            assert sink.write(run, batch) == []
    assert content(database) == content(expected)


def test_mlflow_and_the_direct_way_take_turns(database, folder, by_mlflow, sink, closing_sinks):
    run, expected = by_mlflow
    mlflow = MlflowSink(database, folder / "artifacts")
    closing_sinks(mlflow)
    mlflow.begin(run)
    for batch in BATCHES:
        sink.begin(run)
        sink.write(run, batch)
        mlflow.write(run, batch)
        sink, mlflow = mlflow, sink
    assert content(database) == content(expected)


numbers = st.sampled_from([0.0, -0.0, 1.5, -2.0, math.nan, math.inf, -math.inf, 1.7e308])
points = st.tuples(st.sampled_from(["a", "b", "c"]), numbers, st.integers(0, 2), st.integers(-1, 2))


@pytest.fixture(scope="module")
def pair(folder, new_database):
    mlflow = ByMlflow(new_database(), folder / "artifacts")
    direct = DirectSink(new_database(), folder / "artifacts")
    yield mlflow, direct
    mlflow.close()
    direct.close()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(points, min_size=1, max_size=12), min_size=1, max_size=3))
def test_any_points_are_kept_as_mlflow_keeps_them(pair, batches):
    mlflow, direct = pair
    run = mlflow.begin(RUN)
    direct.begin(run)
    for batch in batches:
        mlflow.write(run, Batch(batch))
        direct.write(run, Batch(batch))
    assert kept_points(direct._database, run) == kept_points(mlflow.store.engine.url.database, run)


def kept_points(database, run):
    """The rows of each metric in the order in which they were inserted, and the latest ones."""
    history = "SELECT key, value, is_nan, timestamp, step FROM metrics WHERE run_uuid = ? ORDER BY key, rowid"
    latest = "SELECT key, value, is_nan, timestamp, step FROM latest_metrics WHERE run_uuid = ? ORDER BY key"
    return rows(database, history, run.run_id), rows(database, latest, run.run_id)


@pytest.mark.parametrize("size", [1, 15, 4_000, 4_267, 60_001])
def test_every_point_of_a_batch_is_kept(sink, database, size):
    sink.begin(RUN)
    batch = Batch([(f"m{i % 7}", i / 2, 1_000 + i, i) for i in range(size)], [Status("FINISHED", 9)])
    sink.write(RUN, batch)
    assert sorted(rows(database, "SELECT key, value, timestamp, step FROM metrics")) == sorted(batch.points)
    assert rows(database, "SELECT max(step), max(is_nan) FROM latest_metrics") == [(size - 1, 0)]
    assert rows(database, "SELECT status, end_time FROM runs") == [("FINISHED", 9)]


@pytest.mark.parametrize("kind", [DirectSink, MlflowSink])
def test_parameter_keeps_its_first_value_and_the_rest_is_kept(kind, database, folder, closing_sinks):
    sink = kind(database, folder / "artifacts")
    closing_sinks(sink)
    sink.begin(RUN)
    sink.write(RUN, Batch([], [Params({"lr": "1"})]))
    batch = Batch([("loss", 1.0, 1, 1)], [Params({"lr": "2", "new": "3"}), Tags({"k": "v"})])
    sentence = f"the parameter 'lr' of run '{RUN.run_id}' stays '1', and '2' is not kept"
    assert sink.write(RUN, batch) == [sentence]
    assert sink.write(RUN, batch) == [sentence]
    assert rows(database, "SELECT key, value FROM params ORDER BY 1") == [("lr", "1"), ("new", "3")]
    assert rows(database, "SELECT count(*) FROM metrics") == [(1,)]


@pytest.mark.parametrize("kind", [DirectSink, MlflowSink])
def test_malformed_records_are_refused_and_others_kept(kind, database, folder, closing_sinks):
    sink = kind(database, folder / "artifacts")
    closing_sinks(sink)
    run = replace(RUN, user="\udcff", source="\udcff.py")
    sink.begin(run)
    events = [
        Params({"../up": "1", "good": "x" * 7_000}),
        Tags({"a?": "b", "good": "\ud800"}),
        replace(TRAINING, digest="d" * 37),
    ]
    refused = sink.write(run, Batch([("bad!", 1.0, 1, 1), ("good", 2.0, 1, 1), ("k" * 251, 1.0, 1, 1)], events))
    assert [sentence.partition("is not kept")[0].split(" of run")[0][:20] for sentence in refused] == [
        "the metric 'bad!'",
        "the metric 'kkkkkkkk",
        "the parameter '../up",
        "the tag 'a?'",
        "the data set 'digits",
    ]
    assert rows(database, "SELECT key FROM metrics") == [("good",)]
    assert rows(database, "SELECT key, length(value) FROM params") == [("good", 6_000)]
    assert rows(database, "SELECT value FROM tags WHERE key = 'good'") == [("?",)]
    assert rows(database, "SELECT user_id FROM runs") == [("?",)]


ALTERATION = "ALTER TABLE runs ADD COLUMN later INTEGER"


def alter(database):
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(ALTERATION)


def without_later(tables):
    return {**tables, "runs": [row.replace('"later": null, ', "") for row in tables["runs"]]}


@pytest.mark.parametrize("changed_after", range(3))
def test_unknown_tables_are_written_by_mlflow_with_one_warning(sink, database, by_mlflow, caplog, changed_after):
    run, expected = by_mlflow
    steps = [lambda: sink.begin(run), *[lambda batch=batch: sink.write(run, batch) for batch in BATCHES]]
    for number, step in enumerate(steps):
        if number == changed_after:
            alter(database)
        step()
    assert without_later(content(database)) == content(expected)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{database}: runs has the column 'later', which this version of KladML does not know; "
        "MLflow itself writes the runs, which takes longer"
    )


def test_direct_way_is_taken_again_when_the_tables_are_known_again(sink, database):
    alter(database)
    sink.begin(RUN)
    sink.close()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("ALTER TABLE runs DROP COLUMN later")
    sink.begin(RUN)
    assert sink._other is None


BEGIN_AND_WRITE = """
import sys
from pathlib import Path
from kladml.spool.events import Batch, SpooledRun
from kladml_backends_local.direct_sink import DirectSink
sink = DirectSink(Path(sys.argv[1]), Path(sys.argv[2]))
run = SpooledRun(sys.argv[3] * 32, "digits", "try", "ada", "train.py", 1)
for _ in range(2):
    sink.begin(run)
for step in range(20):
    sink.write(run, Batch([("loss", 0.5, step, step)] * 50))
sink.close()
print({"mlflow", "sqlalchemy"} & set(sys.modules))
"""


def test_eight_processes_begin_the_same_experiment_at_once(start_python, database, folder):
    processes = [start_python(BEGIN_AND_WRITE, database, folder / "artifacts", number) for number in range(8)]
    results = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    assert results == [("set()\n", "", 0)] * 8
    assert rows(database, "SELECT name FROM experiments ORDER BY 1") == [("Default",), ("digits",)]
    assert rows(database, "SELECT count(DISTINCT experiment_id), count(*) FROM runs") == [(1, 8)]
    assert rows(database, "SELECT count(*), count(DISTINCT run_uuid) FROM metrics") == [(160, 8)]
    assert rows(database, "PRAGMA integrity_check") == [("ok",)]


def test_missing_database_is_made(tmp_path, closing_sinks):
    sink = DirectSink(tmp_path / "new" / "mlflow.db", tmp_path / "new" / "artifacts")
    closing_sinks(sink)
    sink.begin(RUN)
    location = (tmp_path / "new" / "artifacts" / "1").as_uri()
    assert rows(sink._database, "SELECT artifact_uri FROM runs") == [(f"{location}/{RUN.run_id}/artifacts",)]
    assert rows(sink._database, "PRAGMA journal_mode") == [("wal",)]


@pytest.mark.parametrize("kind", [DirectSink, MlflowSink])
def test_deleted_experiment_says_how_to_restore_it(kind, database, folder, closing_sinks):
    sink = kind(database, folder / "artifacts")
    closing_sinks(sink)
    sink.begin(RUN)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE experiments SET lifecycle_stage = 'deleted' WHERE name = 'digits'")
    with pytest.raises(TrackerError) as caught:
        sink.begin(replace(RUN, run_id="f" * 32))
    assert str(caught.value) == (
        "the experiment 'digits' was deleted in MLflow (kladml-backends-local); choose another name, or restore it "
        f"with MLFLOW_TRACKING_URI=sqlite:///{database.as_posix()} mlflow experiments restore -x 1"
    )
    assert rows(database, "SELECT run_uuid FROM runs") == [(RUN.run_id,)]


@pytest.mark.parametrize("kind", [DirectSink, MlflowSink])
def test_deleted_run_is_neither_begun_nor_written(kind, database, folder, closing_sinks):
    sink = kind(database, folder / "artifacts")
    closing_sinks(sink)
    sink.begin(RUN)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE runs SET lifecycle_stage = 'deleted'")
    with pytest.raises(TrackerError, match="was deleted in MLflow"):
        sink.begin(RUN)
    with pytest.raises(TrackerError, match="deleted"):
        sink.write(RUN, Batch([("loss", 1.0, 1, 1)], []))
    assert rows(database, "SELECT * FROM metrics") == []


@pytest.mark.parametrize("kind", [DirectSink, MlflowSink])
@pytest.mark.parametrize(
    "malformed", [{"run_id": "../x"}, {"run_id": "A" * 32}, {"experiment_name": ""}, {"experiment_name": "n" * 501}]
)
def test_malformed_run_is_refused(kind, database, folder, malformed):
    with pytest.raises(TrackerError, match="is no"):
        kind(database, folder / "artifacts").begin(replace(RUN, **malformed))
    assert rows(database, "SELECT * FROM runs") == []


def test_run_that_was_not_begun_is_a_tracker_error(sink):
    with pytest.raises(TrackerError, match="there is no run"):
        sink.write(RUN, BATCHES[0])


def test_locked_database_is_a_tracker_error_and_the_batch_comes_again(sink, database, monkeypatch):
    monkeypatch.setattr(direct_sink, "_BUSY_SECONDS", 0.05)
    sink.begin(RUN)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TrackerError, match="database is locked"):
            sink.write(RUN, BATCHES[0])
        other.execute("ROLLBACK")
    assert sink.write(RUN, BATCHES[0]) == []


def test_full_disk_is_a_tracker_error_and_the_batch_comes_again(sink, database):
    sink.begin(RUN)
    (pages,) = sink._connection.execute("PRAGMA page_count").fetchone()
    sink._connection.execute(f"PRAGMA max_page_count = {pages + 5}")
    batch = Batch([("loss", float(i), i, i) for i in range(40_000)])
    with pytest.raises(TrackerError, match="full"):
        sink.write(RUN, batch)
    assert rows(database, "SELECT count(*) FROM metrics") == [(0,)]
    assert sink.write(RUN, batch) == []
    assert rows(database, "SELECT count(*) FROM metrics") == [(40_000,)]


def test_file_that_is_no_database_is_a_tracker_error(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"something else entirely" * 100)
    with pytest.raises(TrackerError, match="not a database"):
        DirectSink(tmp_path / "mlflow.db", tmp_path / "artifacts").begin(RUN)


@pytest.mark.parametrize(
    "uri",
    [
        "file:///a/b%20c",
        "s3://bucket",
        "s3://bucket/x/",
        "s3://b/x?v=1#f",
        "file:rel/x",
        "/plain/path",
        "rel",
        "dbfs:/x",
    ],
)
def test_place_of_artifacts_is_composed_as_mlflow_does(uri):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.utils.uri import append_to_uri_path
    assert below(uri, "0" * 32, "artifacts") == append_to_uri_path(uri, "0" * 32, "artifacts")
