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
    def tracker(self, server):
        with MLflowTracker(server.url, timeout=60.0) as tracker:  # machines that run tests are busy
            yield tracker

    @pytest.fixture
    def reopen(self, server):
        return lambda: MLflowTracker(server.url, timeout=60.0)

    @pytest.fixture
    def many(self):
        return 200  # a call each; batches and pages have tests of their own below


@pytest.fixture
def tracker(server):
    with MLflowTracker(server.url, timeout=60.0) as tracker:
        yield tracker


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


def test_history_keeps_the_order_and_repeats_of_recording(tracker):
    recorded = [(5, 0.5), (1, 0.5), (5, 0.5), (5, 0.5), (0, 2.0)]
    run_id = tracker.start_run("order")
    for step, value in recorded:
        tracker.log_metric("loss", value, step)
    tracker.end_run()
    assert tracker.metric_history(run_id, "loss") == recorded


def test_history_follows_every_page(tracker, monkeypatch):
    monkeypatch.setattr("kladml_backends_mlflow.tracker._HISTORY_PAGE", 3)
    run_id = tracker.start_run("pages")
    for step in range(10):
        tracker.log_metric("loss", step, step)
    tracker.end_run()
    assert tracker.metric_history(run_id, "loss") == [(step, float(step)) for step in range(10)]


def test_long_texts_are_cut_off_with_one_warning(tracker, client, caplog):
    caplog.set_level(logging.WARNING, "kladml_backends_mlflow")
    run_id = tracker.start_run("long")
    tracker.log_params({"a": "x" * 6001, "b": "y" * 7000, "fits": "z" * 6000})
    tracker.set_tags({"c": "t" * 9000})
    tracker.end_run()
    data = client.get_run(run_id).data
    assert data.params == {"a": "x" * 6000, "b": "y" * 6000, "fits": "z" * 6000}
    assert data.tags["c"] == "t" * 8000
    assert [record.getMessage() for record in caplog.records] == [
        "'a' is cut off: MLflow keeps 6000 of its 6001 characters (kladml-backends-mlflow)"
    ]


def test_changed_param_is_refused_and_named(tracker):
    tracker.start_run("params")
    tracker.log_params({"lr": 0.1})
    with pytest.raises(TrackerError, match=r"refuses runs/log-batch.*lr"):
        tracker.log_params({"lr": 0.2})
    tracker.end_run()


@pytest.mark.parametrize("value", ["text", None, 10**400])
def test_metric_that_is_no_number_is_refused(tracker, value):
    tracker.start_run("numbers")
    with pytest.raises(TrackerError, match="the metric 'loss' is no number"):
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
    with pytest.raises(TrackerError, match=f"the run {run_id} has not ended"):
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
    with pytest.raises(TrackerError, match="there is no file"):
        tracker.log_artifact(tmp_path, "folder")
    tracker.end_run()


def test_address_of_a_run_is_one_of_the_web_interface(server, tracker, client):
    run_id = tracker.start_run("address")
    tracker.end_run()
    address = f"{server.url}/#/experiments/{client.get_run(run_id).info.experiment_id}/runs/{run_id}"
    assert tracker.how_to_view(run_id) == address
    with MLflowTracker(f"{server.url}/") as another:
        assert another.how_to_view(run_id) == address
        assert another.how_to_view("0" * 32) is None


def test_address_may_come_from_the_environment(server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    with MLflowTracker() as tracker:
        tracker.check()


def test_nothing_is_printed_and_the_environment_stays_as_it_was(server, capfd):
    before = dict(os.environ)
    with MLflowTracker(server.url) as tracker:
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
    running = client.get_run(run_id).info
    assert (running.status, running.run_name) == ("RUNNING", "a name")
    assert running.start_time == ended.start_time
    tracker.end_run()
    assert client.get_run(run_id).info.end_time >= ended.end_time


def test_run_that_was_deleted_is_not_resumed(tracker, client):
    run_id = tracker.start_run("deleted run")
    tracker.end_run("KILLED")
    client.delete_run(run_id)
    with pytest.raises(TrackerError, match="refuses runs/update"):
        tracker.resume_run(run_id)
    tracker.start_run("deleted run")  # the refused one is not the tracker's run
    tracker.end_run()


def test_run_is_not_resumed_while_another_goes_on(tracker):
    first = tracker.start_run("busy")
    tracker.end_run()
    second = tracker.start_run("busy")
    with pytest.raises(TrackerError, match=f"the run {second} has not ended"):
        tracker.resume_run(first)
    tracker.end_run()
    assert tracker.get_run(first).status == "FINISHED"
