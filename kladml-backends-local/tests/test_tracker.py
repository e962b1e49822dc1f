"""The tracker in an MLflow database, read back by MLflow itself."""

from __future__ import annotations

import math
import sqlite3
import warnings
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

from kladml.errors import TrackerError
from kladml.interfaces import BackendContext
from kladml.testing import TrackerContract
from kladml.workspace import Workspace
from kladml_backends_local import LocalTracker
from kladml_backends_local.mlflow_database import ensure_database
from kladml_backends_local.settings import LocalTrackerSettings


@pytest.fixture(scope="module")
def shared_database(tmp_path_factory):
    """One database for the contract's cases: MLflow needs a second to make one."""
    folder = tmp_path_factory.mktemp("contract")
    ensure_database(folder / "mlflow.db", folder / "artifacts")
    return folder / "mlflow.db"


class TestLocalTracker(TrackerContract):
    @pytest.fixture
    def tracker(self, shared_database):
        with LocalTracker(shared_database) as tracker:
            yield tracker

    @pytest.fixture
    def reopen(self, shared_database):
        return lambda: LocalTracker(shared_database)


@pytest.fixture
def database(shared_database, tmp_path):
    """A database of the test's own."""
    path = tmp_path / "mlflow.db"
    path.write_bytes(shared_database.read_bytes())
    return path


@pytest.fixture
def tracker(database):
    with LocalTracker(database) as tracker:
        yield tracker


@pytest.fixture
def client(database):
    """MLflow's own client on the same database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{database.as_posix()}")
    yield client
    client._tracking_client.store.engine.dispose()


def test_mlflow_sees_what_was_recorded(tracker, client, tmp_path):
    local = tmp_path / "model.bin"
    local.write_bytes(b"weights")
    run_id = tracker.start_run("default/default/digits", "first try")
    tracker.log_params({"training.max_epochs": 3, "training.lr": 1e-3})
    tracker.set_tags({"note": "naïve"})
    for step, value in enumerate((0.5, math.nan, math.inf, 0.25)):
        tracker.log_metrics({"loss": value, "accuracy": step / 4}, step)
    tracker.log_artifact(local, "weights/model.bin")
    tracker.end_run("FAILED")

    experiment = client.get_experiment_by_name("default/default/digits")
    run = client.get_run(run_id)
    assert [found.info.run_id for found in client.search_runs([experiment.experiment_id])] == [run_id]
    assert (run.info.run_name, run.info.status, run.info.end_time >= run.info.start_time) == (
        "first try",
        "FAILED",
        True,
    )
    assert run.data.params == {"training.max_epochs": "3", "training.lr": "0.001"}
    assert run.data.tags["note"] == "naïve"
    assert run.data.tags["mlflow.user"] == run.info.user_id != ""
    assert run.data.metrics == {"loss": 0.25, "accuracy": 0.75}
    history = client.get_metric_history(run_id, "loss")
    assert [point.step for point in history] == [0, 1, 2, 3]
    assert math.isnan(history[1].value)
    assert [artifact.path for artifact in client.list_artifacts(run_id, "weights")] == ["weights/model.bin"]


def test_artifacts_lie_below_the_folder_of_artifacts(tracker, client, database, tmp_path):
    local = tmp_path / "model.bin"
    local.write_bytes(b"weights")
    run_id = tracker.start_run("digits")
    tracker.log_artifact(local, "weights/model.bin")
    tracker.end_run()
    folder = Path(url2pathname(urlsplit(client.get_run(run_id).info.artifact_uri).path))
    assert (folder / "weights" / "model.bin").read_bytes() == b"weights"
    assert folder.is_relative_to(database.parent / "artifacts")


def test_artifact_does_not_pass_a_link_out_of_the_run(tracker, client, tmp_path):
    local = tmp_path / "model.bin"
    local.write_bytes(b"weights")
    run_id = tracker.start_run("digits")
    folder = Path(url2pathname(urlsplit(client.get_run(run_id).info.artifact_uri).path))
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(TrackerError, match="symbolic link"):
        tracker.log_artifact(local, "link/escaped.bin")
    assert not (tmp_path / "escaped.bin").exists()


def test_infinities_read_back_as_such(tracker):
    run_id = tracker.start_run("digits")
    tracker.log_metrics({"up": math.inf, "down": -math.inf})
    tracker.end_run()
    assert tracker.get_run(run_id).metrics == {"up": math.inf, "down": -math.inf}
    assert tracker.metric_history(run_id, "up") == [(0, math.inf)]


def test_values_of_one_moment_are_kept_but_for_those_that_are_equal_in_all(tracker):
    """MLflow's table has one row for two equal values of a step and a millisecond."""
    run_id = tracker.start_run("digits")
    points = [("loss", 0.5, 1_000, 1), ("loss", 0.5, 1_000, 1), ("loss", 0.25, 1_000, 1), ("loss", 0.5, 1_000, 2)]
    tracker.log_points(points)
    tracker.end_run()
    assert tracker.metric_history(run_id, "loss") == [(1, 0.5), (1, 0.25), (2, 0.5)]


def test_history_is_in_the_order_of_recording_and_not_of_steps(tracker):
    run_id = tracker.start_run("digits")
    for step in (3, 1, 2):
        tracker.log_metric("loss", step / 4, step)
    tracker.end_run()
    assert tracker.metric_history(run_id, "loss") == [(3, 0.75), (1, 0.25), (2, 0.5)]


def test_experiment_is_used_again(tracker, client):
    first = tracker.start_run("digits")
    tracker.end_run()
    second = tracker.start_run("digits")
    tracker.end_run()
    experiments = {client.get_run(run_id).info.experiment_id for run_id in (first, second)}
    assert len(experiments) == 1


def test_deleted_experiment_says_how_to_restore_it(tracker, client):
    tracker.start_run("digits")
    tracker.end_run()
    experiment_id = client.get_experiment_by_name("digits").experiment_id
    client.delete_experiment(experiment_id)
    with pytest.raises(TrackerError, match="was deleted") as caught:
        tracker.start_run("digits")
    assert f"mlflow experiments restore -x {experiment_id}" in str(caught.value)
    client.restore_experiment(experiment_id)
    tracker.start_run("digits")
    tracker.end_run()


def test_changed_parameter_is_a_tracker_error_and_the_first_value_stays(tracker):
    run_id = tracker.start_run("digits")
    tracker.log_params({"a": 1})
    tracker.log_params({"a": 1, "b": 2})
    with pytest.raises(TrackerError, match="a"):
        tracker.log_params({"a": 3})
    assert tracker.get_run(run_id).params == {"a": "1", "b": "2"}


@pytest.mark.parametrize("record", ["log_params", "log_metrics", "set_tags"])
def test_malformed_name_is_a_tracker_error(tracker, record):
    tracker.start_run("digits")
    with pytest.raises(TrackerError, match="kladml-backends-local"):
        getattr(tracker, record)({"a*b": 1})


def test_metric_that_is_no_number_is_named(tracker):
    tracker.start_run("digits")
    with pytest.raises(TrackerError, match="'loss' is no number but a str"):
        tracker.log_metric("loss", "low")


def test_long_values_are_cut_with_a_warning(tracker, caplog):
    run_id = tracker.start_run("digits")
    tracker.log_params({"long": "x" * 7_000})
    tracker.set_tags({"note": "y" * 9_000})
    run = tracker.get_run(run_id)
    assert (len(run.params["long"]), len(run.tags["note"])) == (6_000, 8_000)
    assert ["'long'" in record.getMessage() for record in caplog.records] == [True, False]


def test_calls_outside_of_a_run_say_so(tracker):
    for use in (
        lambda: tracker.log_params({"a": 1}),
        lambda: tracker.log_metric("a", 1),
        lambda: tracker.set_tags({"a": "1"}),
        lambda: tracker.log_artifact("a", "a"),
        tracker.end_run,
    ):
        with pytest.raises(TrackerError, match="no run is going on"):
            use()


def test_second_run_while_one_is_going_on_is_refused(tracker):
    run_id = tracker.start_run("digits")
    with pytest.raises(TrackerError, match=run_id):
        tracker.start_run("digits")
    with pytest.raises(TrackerError, match="DONE"):
        tracker.end_run("DONE")
    tracker.end_run()
    assert tracker.get_run(run_id).status == "FINISHED"


def test_closed_tracker_opens_again(tracker):
    run_id = tracker.start_run("digits")
    tracker.close()
    tracker.log_metric("loss", 0.5)
    tracker.end_run()
    tracker.close()
    assert tracker.get_run(run_id).metrics == {"loss": 0.5}


def test_how_to_view_is_short_below_the_current_folder(tracker, database, tmp_path, monkeypatch):
    monkeypatch.setattr("kladml_backends_local.tracker.find_spec", lambda name: name)
    monkeypatch.chdir(tmp_path)
    assert tracker.how_to_view("any") == "mlflow ui --backend-store-uri sqlite:///mlflow.db"
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert tracker.how_to_view("any") == f"mlflow ui --backend-store-uri sqlite:///{database.as_posix()}"


def test_how_to_view_says_what_is_missing_to_run_it(tracker, tmp_path, monkeypatch):
    monkeypatch.setattr("kladml_backends_local.tracker.find_spec", lambda _: None)
    monkeypatch.chdir(tmp_path)
    expected = "pip install mlflow\nmlflow ui --backend-store-uri sqlite:///mlflow.db"
    assert tracker.how_to_view("any") == expected


def test_how_to_view_quotes_what_a_shell_would_split(tmp_path):
    tracker = LocalTracker(tmp_path / "my runs" / "mlflow.db")
    assert tracker.how_to_view("any").endswith("my runs/mlflow.db'")


def test_default_database_lies_in_the_workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert LocalTracker().database == tmp_path / ".kladml" / "mlflow.db"
    assert Workspace.find().root == tmp_path


def test_settings_are_relative_to_the_workspace(tmp_path):
    context = BackendContext(workspace=tmp_path)
    tracker = LocalTracker.from_settings(LocalTrackerSettings(), context)
    assert tracker.database == tmp_path / ".kladml" / "mlflow.db"
    assert repr(tracker) == f"LocalTracker({str(tracker.database)!r})"
    tracker = LocalTracker.from_settings(LocalTrackerSettings(database="a.db", artifacts="files"), context)
    with tracker:
        local = tmp_path / "local"
        local.write_bytes(b"x")
        tracker.start_run("digits")
        tracker.log_artifact(local, "x")
        tracker.end_run()
    assert len(list((tmp_path / "files").rglob("x"))) == 1


def test_check_makes_the_database(tmp_path):
    with LocalTracker(tmp_path / "state" / "mlflow.db") as tracker:
        tracker.check()
    assert tracker.database.is_file()


def test_check_says_that_the_database_is_damaged(tracker, database):
    database.write_bytes(b"no database" * 1_000)
    with pytest.raises(TrackerError, match="not a database") as caught:
        tracker.check()
    assert str(database) in str(caught.value)


def test_experiment_with_files_elsewhere_refuses_artifacts(tracker, client, tmp_path):
    client.create_experiment("remote", artifact_location="s3://bucket/remote")
    local = tmp_path / "local"
    local.write_bytes(b"x")
    tracker.start_run("remote")
    with pytest.raises(TrackerError, match="s3://bucket/remote"):
        tracker.log_artifact(local, "x")


def test_records_outlive_a_process_that_is_killed(database, run_python):
    program = """
import os, signal, sys
from kladml_backends_local import LocalTracker
tracker = LocalTracker(sys.argv[1])
run_id = tracker.start_run("digits")
tracker.log_params({"a": 1})
for step in range(5_000):
    tracker.log_metric("loss", 1 / (step + 1), step)
print(run_id, flush=True)
if sys.argv[2] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
"""
    run_id = run_python(program, database, "exit").strip()
    with LocalTracker(database) as tracker:
        tracker.check()
        with closing(sqlite3.connect(database)) as connection:
            found = connection.execute(
                "SELECT step, value FROM metrics WHERE run_uuid = ? ORDER BY rowid", (run_id,)
            ).fetchall()
            status = connection.execute("SELECT status FROM runs WHERE run_uuid = ?", (run_id,)).fetchone()
        assert found == [(step, 1 / (step + 1)) for step in range(5_000)]
        assert status == ("KILLED",)
        assert tracker.get_run(run_id).params == {"a": "1"}
        assert tracker.undelivered() == []


def test_mlflow_sees_a_resumed_run_as_running(tracker, client):
    run_id = tracker.start_run("resumed", "a name")
    tracker.end_run("KILLED")
    ended = client.get_run(run_id).info
    tracker.resume_run(run_id)
    running = client.get_run(run_id).info
    assert (running.status, running.run_name) == ("RUNNING", "a name")
    assert running.start_time == ended.start_time
    tracker.end_run()
    assert client.get_run(run_id).info.end_time >= ended.end_time


def test_run_that_was_deleted_in_mlflow_is_not_resumed(tracker, client):
    run_id = tracker.start_run("deleted")
    tracker.end_run("KILLED")
    client.delete_run(run_id)
    with pytest.raises(TrackerError, match=f"the run '{run_id}' was deleted in MLflow"):
        tracker.resume_run(run_id)


def test_run_is_not_resumed_while_another_goes_on(tracker):
    first = tracker.start_run("busy")
    tracker.end_run()
    second = tracker.start_run("busy")
    with pytest.raises(TrackerError, match=f"run '{second}' is still going on"):
        tracker.resume_run(first)
    assert tracker.get_run(first).status == "FINISHED"


def test_a_metric_that_is_refused_takes_no_other_along(tracker):
    run_id = tracker.start_run("burst")
    tracker.log_metric("loss", 1.0, 1)
    with pytest.raises(TrackerError, match="not"):
        tracker.log_metric("not\nallowed", 3.0, 3)
    with pytest.raises(TrackerError, match="not"):
        tracker.log_metrics({"loss": 5.0, "not\nallowed": 3.0}, 3)
    tracker.log_metric("loss", 4.0, 4)
    assert tracker.metric_history(run_id, "loss") == [(1, 1.0), (4, 4.0)]
