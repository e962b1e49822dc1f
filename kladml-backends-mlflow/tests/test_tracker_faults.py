"""Training never waits for a server and never dies from it, and what it recorded arrives once, whatever happens."""

from __future__ import annotations

import base64
import json
import logging
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from mlflow import MlflowClient

from kladml.errors import RefusedRunError, TrackerError
from kladml_backends_mlflow import MLflowTracker

STEPS = 500


@pytest.fixture(autouse=True)
def impatience(monkeypatch):
    """No test needs the seconds that a person would give a server."""
    monkeypatch.setattr(MLflowTracker, "patience", 1.0)
    monkeypatch.setattr("kladml_backends_mlflow.tracker._SHORT_TIMEOUT", 1.0)


@contextmanager
def no_longer_than(seconds):
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < seconds


def record(tracker, first, folder, name):
    """What a training does, of which nothing may take long."""
    with no_longer_than(1.0):
        for step in range(first, first + STEPS):
            tracker.log_metric("loss", 1 / (step + 1), step)
        tracker.log_metrics({"a": 1.0, "b": 2.0}, first)
        tracker.log_params({f"p{first}": first})
        tracker.set_tags({f"t{first}": "x"})
        tracker.set_experiment_tags({f"e{first}": "x"})
        tracker.log_dataset(f"data {first}", "d", source="data/digits", context="training")
        (folder / "file").write_text(name)
        tracker.log_artifact(folder / "file", f"files/{name}")
        tracker.flush()


def assert_complete(url, run_id, firsts, folder):
    """Everything that `record` recorded is on the server, once."""
    client = MlflowClient(url)
    run = client.get_run(run_id)
    points = client.get_metric_history(run_id, "loss")
    steps = [step for first in firsts for step in range(first, first + STEPS)]
    assert sorted((point.step, point.value) for point in points) == [(step, 1 / (step + 1)) for step in steps]
    assert [point.step for point in client.get_metric_history(run_id, "a")] == list(firsts)
    assert run.data.params == {f"p{first}": str(first) for first in firsts}
    assert {f"t{first}" for first in firsts} <= set(run.data.tags)
    assert set(client.get_experiment(run.info.experiment_id).tags) >= {f"e{first}" for first in firsts}
    assert sorted(item.dataset.name for item in run.inputs.dataset_inputs) == sorted(f"data {each}" for each in firsts)
    for item in client.list_artifacts(run_id, "files"):
        with open(client.download_artifacts(run_id, item.path, str(folder))) as file:  # noqa: PTH123
            assert file.read() == item.path.removeprefix("files/")
    assert len(client.list_artifacts(run_id, "files")) == len(firsts)
    return run


def runs_of(url, experiment):
    client = MlflowClient(url)
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def wait_until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_server_killed_in_a_run_that_ends_without_it(doomed_server, open_tracker, tmp_path, caplog):
    caplog.set_level(logging.WARNING, "kladml")
    tracker = open_tracker(doomed_server.url)
    run_id = tracker.start_run("killed")
    record(tracker, 0, tmp_path, "first")
    tracker.get_run(run_id)
    doomed_server.kill()

    record(tracker, STEPS, tmp_path, "second")
    wait_until(lambda: tracker._recording.failure is not None)
    record(tracker, 2 * STEPS, tmp_path, "third")
    with no_longer_than(10.0):
        tracker.end_run()
    [left] = tracker.undelivered()
    assert (left.run_id, left.destination) == (run_id, doomed_server.url)
    assert left.events == 2 * (STEPS + 7) + 1
    assert "cannot be reached" in left.reason
    assert f"{doomed_server.url} cannot be reached" in caplog.text
    wait_until(open_tracker(doomed_server.url).undelivered)  # the last attempt has ended
    with pytest.raises(TrackerError, match="cannot be reached"):
        tracker.sync(run_id)
    with no_longer_than(5.0):  # the next run does not ask again
        tracker.start_run("killed")
        tracker.end_run("FAILED")
    assert tracker.how_to_view(run_id).startswith(doomed_server.url)

    doomed_server.start()
    another = open_tracker(doomed_server.url)
    another.check()
    for run in another.undelivered():
        another.sync(run.run_id)
    assert another.undelivered() == []
    run = assert_complete(doomed_server.url, run_id, [0, STEPS, 2 * STEPS], tmp_path)
    assert run.info.status == "FINISHED"
    assert sorted(run.info.status for run in runs_of(doomed_server.url, "killed")) == ["FAILED", "FINISHED"]


def test_server_that_is_absent_and_comes_in_the_middle_of_a_run(absent_server, open_tracker, tmp_path, caplog):
    caplog.set_level(logging.WARNING, "kladml")
    tracker = open_tracker(absent_server.url)
    with no_longer_than(3.0):
        tracker.check()
        run_id = tracker.start_run("late", "a name")
    record(tracker, 0, tmp_path, "first")
    assert tracker.how_to_view(run_id) == absent_server.url
    with pytest.raises(TrackerError, match="cannot be reached"):
        tracker.get_run(run_id)
    assert len([entry for entry in caplog.records if "cannot be reached" in entry.getMessage()]) == 1

    absent_server.start()
    wait_until(lambda: tracker._recording.failure is None)
    record(tracker, STEPS, tmp_path, "second")
    found = tracker.get_run(run_id)
    assert (found.run_id, found.status, found.experiment_name) == (run_id, "RUNNING", "late")
    assert len(tracker.metric_history(run_id, "loss")) == 2 * STEPS
    tracker.patience = 60.0
    tracker.end_run()

    [run] = runs_of(absent_server.url, "late")
    assert run.info.run_id != run_id
    assert run.info.run_name == "a name"
    assert (
        run.info.start_time <= assert_complete(absent_server.url, run.info.run_id, [0, STEPS], tmp_path).info.end_time
    )
    assert tracker.get_run(run_id).status == "FINISHED"
    another = open_tracker(absent_server.url)  # knows nothing but the tag
    assert another.get_run(run_id).metrics["a"] == 1.0
    assert another.how_to_view(run_id).endswith(f"/runs/{run.info.run_id}")
    another.patience = 60.0
    another.resume_run(run_id)
    record(another, 2 * STEPS, tmp_path, "third")
    another.end_run()
    assert_complete(absent_server.url, run.info.run_id, [0, STEPS, 2 * STEPS], tmp_path)
    assert another.undelivered() == []


def test_hung_server_costs_training_nothing(server, open_tracker, tmp_path):
    tracker = open_tracker(timeout=1.0)
    run_id = tracker.start_run("hung")
    server.send(signal.SIGSTOP)
    try:
        record(tracker, 0, tmp_path, "first")
        wait_until(lambda: tracker._recording.failure is not None)
        assert "timed out" in tracker._recording.failure.problem
        record(tracker, STEPS, tmp_path, "second")
        with no_longer_than(10.0):
            tracker.end_run()
        [left] = tracker.undelivered()
        with no_longer_than(1.0):
            local_id = tracker.start_run("hung")
        with no_longer_than(10.0):
            tracker.end_run()
    finally:
        server.send(signal.SIGCONT)
    assert left.run_id == run_id
    another = open_tracker()
    wait_until(lambda: len(another.undelivered()) == 2)  # attempts that hung have ended
    for run in another.undelivered():
        another.sync(run.run_id)
    assert assert_complete(server.url, run_id, [0, STEPS], tmp_path).info.status == "FINISHED"
    assert len(runs_of(server.url, "hung")) == 2
    assert another.get_run(local_id).status == "FINISHED"


def test_server_that_hangs_when_a_run_begins_costs_one_short_timeout(server, open_tracker):
    MlflowClient(server.url).create_experiment("hung at first")
    tracker = open_tracker()
    server.send(signal.SIGSTOP)
    try:
        with no_longer_than(3.0):
            first = tracker.start_run("hung at first")
        tracker.log_metric("loss", 0.5)
        tracker._is_away = False  # as if this were another process
        tracker._recording._thread._pause = 0.1
    finally:
        server.send(signal.SIGCONT)
    tracker.patience = 60.0
    tracker.end_run()
    [run] = runs_of(server.url, "hung at first")
    assert tracker.get_run(first).metrics == run.data.metrics == {"loss": 0.5}


def test_lost_answer_of_the_beginning_leaves_one_run(server, open_tracker, forwarding):
    lost = []

    def loses(request):
        is_lost = request.path.endswith("runs/create") and not lost
        lost.extend([request] * is_lost)
        return is_lost

    with forwarding(server.url, loses) as proxy:
        tracker = open_tracker(proxy.url)
        tracker.patience = 60.0
        run_id = tracker.start_run("lost")
        tracker.log_metric("loss", 0.5)
        tracker.end_run()
        assert tracker.get_run(run_id).status == "FINISHED"
    [run] = runs_of(server.url, "lost")
    assert (run.data.metrics, run.info.status) == ({"loss": 0.5}, "FINISHED")


def test_server_that_is_back_when_a_run_ends_is_tried_once_more(server, open_tracker, forwarding):
    down = []
    with forwarding(server.url, lambda _: bool(down)) as proxy:
        tracker = open_tracker(proxy.url)
        tracker.patience = 60.0
        tracker.start_run("back at the end")
        down.append("yes")
        tracker.log_metric("loss", 0.5)
        wait_until(lambda: tracker._recording.failure is not None)
        thread = tracker._recording._thread
        thread.failure = replace(thread.failure, since=thread.failure.since - 3600)
        down.clear()
        tracker.end_run()
    assert tracker.undelivered() == []
    [run] = runs_of(server.url, "back at the end")
    assert (run.data.metrics, run.info.status) == ({"loss": 0.5}, "FINISHED")


@pytest.mark.parametrize("status", [401, 403])
def test_run_that_is_denied_is_kept_and_may_go_elsewhere(server, serving, open_tracker, tmp_path, status):
    with serving(status, b"no") as broken:
        tracker = open_tracker(broken.url)
        run_id = tracker.start_run(f"denied {status}")
        record(tracker, 0, tmp_path, "first")
        tracker.end_run()
    [left] = tracker.undelivered()
    assert f"denies access ({status})" in left.reason
    elsewhere = open_tracker()
    wait_until(elsewhere.undelivered)
    with pytest.raises(TrackerError, match="redirect"):
        elsewhere.sync(run_id)
    elsewhere.sync(run_id, redirect=True)
    [run] = runs_of(server.url, f"denied {status}")
    assert assert_complete(server.url, run.info.run_id, [0], tmp_path).info.status == "FINISHED"
    assert elsewhere.undelivered() == []


PROGRAM = """
import sys
from kladml_backends_mlflow import MLflowTracker
tracker = MLflowTracker(sys.argv[1], timeout=60.0, spool=sys.argv[2])
run_id = tracker.start_run("murder")
for step in range(int(sys.argv[3])):
    tracker.log_metric("loss", 1 / (step + 1), step)
print(run_id, flush=True)
sys.stdin.read()
"""


@contextmanager
def process_that_records(url, spool, count):
    """A process that has recorded so much; it is killed, and nothing of it is left."""
    command = [sys.executable, "-c", PROGRAM, url, str(spool), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def test_process_killed_while_the_server_is_away(absent_server, open_tracker, tmp_path):
    with process_that_records(absent_server.url, tmp_path / "spool", 5_000) as run_id:
        pass
    absent_server.start()
    tracker = open_tracker(absent_server.url)
    assert [run.run_id for run in tracker.undelivered()] == [run_id]
    assert tracker.sync(run_id) == 5_000
    assert tracker.get_run(run_id).status == "KILLED"
    assert sorted(tracker.metric_history(run_id, "loss")) == [(step, 1 / (step + 1)) for step in range(5_000)]


def test_process_killed_while_it_delivers(server, open_tracker, tmp_path):
    client = MlflowClient(server.url)
    with process_that_records(server.url, tmp_path / "spool", 20_000) as run_id:
        wait_until(lambda: client.get_run(run_id).data.metrics)
    tracker = open_tracker()
    [left] = tracker.undelivered()
    assert 0 < left.events < 20_000
    tracker.sync(run_id)
    assert tracker.get_run(run_id).status == "KILLED"
    history = [(point.step, point.value) for point in client.get_metric_history(run_id, "loss")]
    assert sorted(history) == [(step, 1 / (step + 1)) for step in range(20_000)]


def test_run_goes_on_without_the_server_that_has_it(doomed_server, open_tracker, tmp_path):
    tracker = open_tracker(doomed_server.url)
    tracker.patience = 60.0
    run_id = tracker.start_run("resumed")
    record(tracker, 0, tmp_path, "first")
    tracker.end_run("FAILED")
    doomed_server.kill()
    another = open_tracker(doomed_server.url)
    another.resume_run(run_id)
    record(another, STEPS, tmp_path, "second")
    another.end_run()
    doomed_server.start()
    tracker.sync(run_id)
    assert assert_complete(doomed_server.url, run_id, [0, STEPS], tmp_path).info.status == "FINISHED"
    assert tracker.undelivered() == []


def test_run_that_is_deleted_while_it_goes_on_waits_to_be_restored(server, open_tracker, tmp_path):
    tracker = open_tracker()
    run_id = tracker.start_run("deleted in the middle")
    MlflowClient(server.url).delete_run(run_id)
    record(tracker, 0, tmp_path, "first")
    tracker.end_run()
    [left] = tracker.undelivered()
    assert "was deleted" in left.reason
    wait_until(open_tracker().undelivered)
    with pytest.raises(RefusedRunError, match="mlflow runs restore"):
        tracker.sync(run_id)
    MlflowClient(server.url).restore_run(run_id)
    tracker.sync(run_id)
    assert_complete(server.url, run_id, [0], tmp_path)


def test_check_of_a_server_that_is_away_is_a_warning(nobody, hung_server, serving, open_tracker, caplog):
    caplog.set_level(logging.WARNING, "kladml")
    with serving(503) as busy:
        for uri, reason in ((nobody, "refused"), (hung_server, "timed out"), (busy.url, "answers 503")):
            caplog.clear()
            with no_longer_than(3.0):
                open_tracker(uri).check()
            [entry] = caplog.records
            assert uri in entry.getMessage()
            assert reason in entry.getMessage()


@pytest.mark.parametrize("status", [401, 403])
def test_denied_access_says_which_variables_to_set(status, serving, open_tracker):
    with serving(status, b"You are not authenticated") as server:
        tracker = open_tracker(server.url)
        for call in (tracker.check, lambda: tracker.get_run("a")):
            with pytest.raises(TrackerError, match=rf"denies access \({status}\).*MLFLOW_TRACKING_USERNAME"):
                call()


def test_credentials_come_from_mlflows_own_variables(monkeypatch, serving, open_tracker):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
    with serving(403) as server:
        tracker = open_tracker(server.url)
        with pytest.raises(TrackerError) as caught:
            tracker.check()
        sent = server.requests[0].headers["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent) == b"ada:hunter2"
    assert "hunter2" not in f"{caught.value} {tracker!r} {vars(tracker)}"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>a blog</html>"),
        (404, b"<html>nothing here</html>"),
        (200, b"[1]"),
        (500, b"oops"),
        (404, b'{"detail": "Not Found"}'),
    ],
)
def test_something_else_at_the_address_is_told_apart(status, body, serving, open_tracker):
    with (
        serving(status, body) as server,
        pytest.raises(
            TrackerError, match=rf"answers {status} at {server.url} is no MLflow.*tracker\.mlflow\.tracking_uri"
        ),
    ):
        open_tracker(server.url).check()


def test_refusal_keeps_the_servers_reason(serving, open_tracker):
    body = json.dumps({"error_code": "INTERNAL_ERROR", "message": "the database\nis full"}).encode()
    with (
        serving(500, body) as server,
        pytest.raises(TrackerError, match="refuses runs/get: the database is full"),
    ):
        open_tracker(server.url).get_run("a")


def test_without_an_address_both_ways_to_give_it_are_named():
    with pytest.raises(TrackerError, match=r"tracker\.mlflow\.tracking_uri or .* MLFLOW_TRACKING_URI"):
        MLflowTracker()


@pytest.mark.parametrize(
    "uri",
    ["sqlite:///mlflow.db", "mlruns", "databricks", "http://", "http://127.0.0.1:port", "https://ada:hunter/2@mlflow"],
)
def test_address_that_is_no_servers_is_refused(uri):
    with pytest.raises(TrackerError, match=r"no http:// or https:// address.*tracker\.mlflow\.tracking_uri") as caught:
        MLflowTracker(uri)
    assert "hunter" not in str(caught.value)


@pytest.mark.parametrize("uri", ["http://ada:hunter2@127.0.0.1:5000", "https://:hunter2@mlflow.example.com"])
def test_password_in_the_address_is_refused_and_not_shown(uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackerError, match=r"has a user or password in it.*MLFLOW_TRACKING_PASSWORD") as caught:
        MLflowTracker()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_timeout_must_be_positive(timeout):
    with pytest.raises(TrackerError, match=r"tracker\.mlflow\.timeout"):
        MLflowTracker("http://127.0.0.1:5000", timeout=timeout)
