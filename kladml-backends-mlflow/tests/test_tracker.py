"""What MLflowTracker does beyond the contract of trackers, on a real tracking server."""

from __future__ import annotations

import logging
import math
import os

import pytest
from mlflow import MlflowClient

from kladml.errors import TrackerError
from kladml.testing import TrackerContract
from kladml_backends_mlflow import MLflowTracker


class TestMLflowTracker(TrackerContract):
    @pytest.fixture
    def tracker(self, open_tracker):
        return open_tracker()

    @pytest.fixture
    def reopen(self, server, tmp_path):
        return lambda: MLflowTracker(server.url, timeout=60.0, spool=tmp_path / "spool")


@pytest.fixture
def tracker(open_tracker):
    return open_tracker()


@pytest.fixture
def client(server):
    """MLflow's own view of the server."""
    return MlflowClient(server.url)


def test_run_is_what_mlflow_shows(tracker, client):
    run_id = tracker.start_run("as mlflow sees it", "a name")
    tracker.log_params({"lr": 0.1})
    tracker.log_metrics({"loss": 0.5, "accuracy": 0.75}, 3)
    tracker.set_tags({"git": "abc"})
    tracker.end_run()
    run = client.get_run(run_id)
    assert (run.info.run_name, run.info.status) == ("a name", "FINISHED")
    assert run.info.start_time <= run.info.end_time
    assert (run.data.params, run.data.metrics) == ({"lr": "0.1"}, {"loss": 0.5, "accuracy": 0.75})
    assert run.data.tags["git"] == "abc"
    assert client.get_metric_history(run_id, "loss")[0].step == 3


def test_experiment_is_made_once(tracker, client):
    first = tracker.start_run("made once")
    tracker.end_run()
    second = tracker.start_run("made once")
    tracker.end_run()
    assert client.get_run(first).info.experiment_id == client.get_run(second).info.experiment_id


def test_deleted_experiment_is_refused_with_a_way_out(tracker, client):
    experiment_id = client.create_experiment("deleted")
    client.delete_experiment(experiment_id)
    with pytest.raises(TrackerError, match=f"'deleted' was deleted.*mlflow experiments restore -x {experiment_id}"):
        tracker.start_run("deleted")
    client.restore_experiment(experiment_id)
    tracker.start_run("deleted")
    tracker.end_run()


def test_more_metrics_than_a_call_takes_are_recorded(tracker, client):
    metrics = {f"class_{number}": float(number) for number in range(2_500)}
    run_id = tracker.start_run("batches")
    tracker.log_metrics(metrics, 1)
    tracker.end_run()
    assert client.get_run(run_id).data.metrics == metrics


def test_infinities_come_back(tracker):
    run_id = tracker.start_run("infinities")
    for step, value in enumerate((math.inf, -math.inf)):
        tracker.log_metric("loss", value, step)
    tracker.end_run()
    assert tracker.metric_history(run_id, "loss") == [(0, math.inf), (1, -math.inf)]


def test_values_of_one_moment_are_kept_but_for_those_that_are_equal_in_all(tracker):
    """MLflow's table has one row for two equal values of a step and a millisecond."""
    run_id = tracker.start_run("order")
    recorded = [("loss", 0.5, 1_000, 5), ("loss", 0.5, 1_001, 1), ("loss", 0.5, 1_002, 5), ("loss", 2.0, 1_003, 0)]
    tracker.log_points([*recorded, recorded[0]])
    tracker.end_run()
    assert tracker.metric_history(run_id, "loss") == [(step, value) for _, value, _, step in recorded]


def test_history_follows_every_page(tracker, monkeypatch):
    monkeypatch.setattr("kladml_backends_mlflow.server_history._PAGE", 3)
    run_id = tracker.start_run("pages")
    for step in range(10):
        tracker.log_metric("loss", step, step)
    tracker.end_run()
    assert tracker.metric_history(run_id, "loss") == [(step, float(step)) for step in range(10)]


def test_long_texts_are_cut_off_and_names_are_said(tracker, client, caplog):
    caplog.set_level(logging.WARNING, "kladml")
    run_id = tracker.start_run("long")
    tracker.log_params({"a": "x" * 6001, "fits": "z" * 6000})
    tracker.set_tags({"c": "t" * 9000})
    tracker.end_run()
    data = client.get_run(run_id).data
    assert data.params == {"a": "x" * 6000, "fits": "z" * 6000}
    assert data.tags["c"] == "t" * 8000
    assert [record.getMessage().split()[0] for record in caplog.records] == ["'a'", "'c'"]


def test_changed_param_is_refused_at_once(tracker):
    tracker.start_run("params")
    tracker.log_params({"lr": 0.1})
    with pytest.raises(TrackerError, match=r"'lr' was recorded as '0\.1', and cannot become '0\.2'"):
        tracker.log_params({"lr": 0.2})
    tracker.end_run()


def test_changed_param_of_a_resumed_run_is_refused_at_once(tracker):
    run_id = tracker.start_run("params")
    tracker.log_params({"lr": 0.1})
    tracker.end_run()
    tracker.resume_run(run_id)
    with pytest.raises(TrackerError, match=r"'lr' was recorded as '0\.1'"):
        tracker.log_params({"lr": 0.2})
    tracker.end_run()


@pytest.mark.parametrize("value", ["text", None, 10**400])
def test_metric_that_is_no_number_is_refused(tracker, value):
    tracker.start_run("numbers")
    with pytest.raises(TrackerError, match=r"'loss'.*number"):
        tracker.log_metric("loss", value)
    tracker.end_run()


def test_records_without_a_run_are_refused(tracker):
    calls = [
        lambda: tracker.log_metric("loss", 0.5),
        lambda: tracker.log_params({"lr": 1}),
        lambda: tracker.set_tags({"a": "b"}),
        lambda: tracker.log_artifact(__file__, "test.py"),
        tracker.end_run,
    ]
    for call in calls:
        with pytest.raises(TrackerError, match=r"no run.*start_run"):
            call()


def test_second_run_at_a_time_is_refused(tracker):
    run_id = tracker.start_run("one at a time")
    with pytest.raises(TrackerError, match=f"run '{run_id}' is still going on"):
        tracker.start_run("one at a time")
    tracker.end_run()


def test_unknown_status_is_refused_and_the_run_goes_on(tracker, client):
    run_id = tracker.start_run("status")
    with pytest.raises(TrackerError, match=r"'DONE' is no status of a run.*FINISHED"):
        tracker.end_run("DONE")
    assert client.get_run(run_id).info.status == "RUNNING"
    tracker.end_run("KILLED")


def test_artifact_is_kept_under_its_name(tracker, client, tmp_path):
    (tmp_path / "local.bin").write_bytes(b"content")
    (tmp_path / "plain.txt").write_bytes(b"text")
    run_id = tracker.start_run("artifacts")
    tracker.log_artifact(tmp_path / "local.bin", "weights/best/model.bin")
    tracker.log_artifact(tmp_path / "plain.txt", "plain.txt")
    tracker.end_run()
    assert [item.path for item in client.list_artifacts(run_id)] == ["plain.txt", "weights"]
    with open(client.download_artifacts(run_id, "weights/best/model.bin", tmp_path), "rb") as file:  # noqa: PTH123
        assert file.read() == b"content"


def test_folder_is_no_artifact(tracker, tmp_path):
    tracker.start_run("artifacts")
    with pytest.raises(TrackerError, match="cannot be kept as 'folder'"):
        tracker.log_artifact(tmp_path, "folder")
    tracker.end_run()


def test_address_of_a_run_is_one_of_the_web_interface(server, tracker, client, open_tracker):
    run_id = tracker.start_run("address")
    tracker.end_run()
    address = f"{server.url}/#/experiments/{client.get_run(run_id).info.experiment_id}/runs/{run_id}"
    assert tracker.how_to_view(run_id) == address
    another = open_tracker(f"{server.url}/")
    assert another.how_to_view(run_id) == address
    assert another.how_to_view("0" * 32) is None


def test_address_may_come_from_the_environment(server, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.chdir(tmp_path)
    with MLflowTracker() as tracker:
        tracker.check()
        tracker.start_run("environment")
        tracker.end_run()
    assert (tmp_path / ".kladml" / "spool" / "mlflow").is_dir()


def test_nothing_is_printed_and_the_environment_stays_as_it_was(server, capfd, tmp_path):
    before = dict(os.environ)
    with MLflowTracker(server.url, timeout=60.0, spool=tmp_path) as tracker:
        tracker.check()
        tracker.start_run("quiet")
        tracker.log_metric("loss", 0.5)
        tracker.end_run()
    assert dict(os.environ) == before
    assert capfd.readouterr() == ("", "")


def test_mlflow_shows_a_resumed_run_as_running(tracker, client):
    run_id = tracker.start_run("resumed", "a name")
    tracker.end_run("KILLED")
    ended = client.get_run(run_id).info
    tracker.resume_run(run_id)
    assert tracker.get_run(run_id).status == "RUNNING"  # waits for the server to know
    running = client.get_run(run_id).info
    assert (running.status, running.run_name) == ("RUNNING", "a name")
    assert running.start_time == ended.start_time
    tracker.end_run()
    assert client.get_run(run_id).info.end_time >= ended.end_time


def test_run_that_was_deleted_is_not_resumed(tracker, client):
    run_id = tracker.start_run("deleted run")
    tracker.end_run("KILLED")
    client.delete_run(run_id)
    with pytest.raises(TrackerError, match=f"the run '{run_id}' was deleted.*mlflow runs restore"):
        tracker.resume_run(run_id)
    tracker.start_run("deleted run")  # the refused one is not the tracker's run
    tracker.end_run()


def test_run_is_not_resumed_while_another_goes_on(tracker):
    first = tracker.start_run("busy")
    tracker.end_run()
    second = tracker.start_run("busy")
    with pytest.raises(TrackerError, match=f"run '{second}' is still going on"):
        tracker.resume_run(first)
    tracker.end_run()
    assert tracker.get_run(first).status == "FINISHED"


def test_data_and_experiment_tags_are_what_mlflow_shows(tracker, client):
    run_id = tracker.start_run("data")
    tracker.log_dataset("digits", "d" * 64, source="data/digits", context="training")
    tracker.set_experiment_tags({"project": "p", "family": "f"})
    tracker.end_run()
    run = client.get_run(run_id)
    [found] = run.inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest, found.tags[0].value) == ("digits", "d" * 36, "training")
    assert client.get_experiment(run.info.experiment_id).tags == {"project": "p", "family": "f"}


def test_server_calls_the_run_as_the_tracker_does(tracker, client):
    run_id = tracker.start_run("one name")
    assert client.get_run(run_id).info.status == "RUNNING"  # before anything was recorded
    tracker.end_run()
    assert len(client.search_runs([client.get_run(run_id).info.experiment_id])) == 1
    assert tracker.undelivered() == []
