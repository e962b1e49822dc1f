"""`kladml watch` on runs of the past and on one that goes on in another process."""

from __future__ import annotations

import json
import signal
import socket
import time
from math import inf

import pytest

from kladml.interfaces import ExperimentAddress, Listener, PublisherInterface
from kladml.runner.record import RunRecord
from kladml_backends_local import LocalTracker
from kladml_backends_local.catalog import SqlCatalog
from kladml_cli.run_events import ToldEvents, events_of

BACKENDS = {"storage": "local", "tracker": "local", "publisher": "console", "catalog": "sql"}


@pytest.fixture
def recorded(workspace):
    """A run as a training leaves it, which had two epochs of three steps."""
    state = workspace / ".kladml"
    with LocalTracker(state / "mlflow.db") as tracker, SqlCatalog(state / "catalog.db") as catalog:

        def record(status="FINISHED", error=None):
            run_id = tracker.start_run("default/default/digits")
            address = catalog.add_run(ExperimentAddress("default", "default", "digits"), run_id, BACKENDS)
            for epoch in (1, 2):
                for step in range(3 * epoch - 2, 3 * epoch + 1):
                    tracker.log_metrics({"loss_step": 1 / step, "lr_step": 0.5}, step)
                    time.sleep(0.002)  # what is recorded in the same millisecond has no order
                tracker.log_metrics({"loss": 1 / epoch, "lr": 0.5, "val_loss": 2 / epoch}, epoch)
                time.sleep(0.002)
            tracker.log_metrics({"eval_loss": 0.25}, None)
            tracker.end_run("FINISHED" if status == "RUNNING" else status)
            if status != "RUNNING":
                catalog.end_run(address, status, {"eval_loss": 0.25})
            run = RunRecord(str(address), run_id, status, error=error, backends=BACKENDS)
            run.write(state / "runs" / address.path)
            return address

        yield record


def words(output):
    return [" ".join(line.split()[1:]) for line in output.splitlines()]


def test_run_of_the_past_is_told_with_its_last_lines(kladml, recorded):
    recorded()
    outcome = kladml("watch", "@1", "--past", "4")
    assert (outcome.status, outcome.errors) == (0, "")
    assert words(outcome.output) == [
        "default/default/digits@1 FINISHED",
        "step 5 loss 0.2000 lr 0.5000",
        "step 6 loss 0.1667 lr 0.5000",
        "epoch 2 loss 0.5000 lr 0.5000 val_loss 1.0000",
        "eval_loss 0.2500",
        outcome_line(outcome.output),
    ]
    assert outcome_line(outcome.output).startswith("FINISHED in ")


def outcome_line(output):
    return words(output)[-1]


def test_json_has_an_object_a_line(kladml, recorded):
    recorded()
    lines = [json.loads(line) for line in kladml("watch", "digits@1", "--json", "--past", "100").output.splitlines()]
    steps = ["step"] * 3
    events = ["run_started", *steps, "epoch_ended", *steps, "epoch_ended", "metrics", "run_ended"]
    assert [line["event"] for line in lines] == events
    assert lines[4]["metrics"] == {"loss": 1.0, "lr": 0.5, "val_loss": 2.0}
    assert (lines[-1]["status"], lines[-1]["metrics"]) == ("FINISHED", {"eval_loss": 0.25})


def test_failed_run_ends_with_its_error(kladml, recorded):
    recorded("FAILED", error="NonFiniteError: the loss is nan")
    outcome = kladml("watch", "@-1")
    assert outcome.status == 7
    assert "FAILED in" in outcome.output
    assert outcome.errors == (
        "Error: run default/default/digits@1 is FAILED: NonFiniteError: the loss is nan; "
        "see 'kladml runs show default/default/digits@1'\n"
    )


def test_run_whose_process_is_no_more_is_lost(kladml, recorded, workspace, start_kladml):
    address = recorded("RUNNING")
    process = start_kladml("version")
    process.wait()
    note = {"pid": process.pid, "host": socket.gethostname(), "since": "2026-01-01"}
    (workspace / ".kladml" / "runs" / address.path / "holder.json").write_text(json.dumps(note))
    outcome = kladml("watch", "@1")
    assert outcome.status == 7
    assert f"LOST: its process {process.pid} is no more" in outcome.errors
    assert "'kladml train --resume default/default/" in outcome.errors


def test_unknown_run_is_an_error(kladml, recorded):
    recorded()
    outcome = kladml("watch", "@9")
    assert outcome.status == 3
    assert "the nearest is default/default/digits@1" in outcome.errors


def test_run_of_another_process_is_followed_to_its_end(workspace, start_kladml):
    training = start_kladml(
        "train", "--model", "model.py:MeanModel", "--data", "model.py:data", "--set", "model.args.sleep=10",
        "--experiment", "digits", "--publisher", "none",
    )  # fmt: skip
    assert "training" in training.stdout.readline()
    watching = start_kladml("watch", "@1", "--interval", "0.1")
    assert "digits@1  RUNNING" in watching.stdout.readline()
    lines = watching.stdout.read().splitlines()
    assert (watching.wait(120), watching.stderr.read()) == (0, "")
    assert "mean 1.5000" in lines[0]
    assert "FINISHED in" in lines[-1]
    assert training.wait(120) == 0


def test_interrupt_stops_watching_and_nothing_else(recorded, start_kladml, workspace):
    recorded("RUNNING")
    watching = start_kladml("watch", "@1")
    assert "RUNNING" in watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    assert watching.stderr.read().strip() == "Interrupted: the run default/default/digits@1 goes on"
    assert watching.wait(60) == 130


class Spoken(Listener):
    """Says what it was given, then nothing."""

    def __init__(self, messages):
        self.messages = messages

    def next(self, timeout):
        return self.messages.pop(0) if self.messages else None

    def close(self):
        self.messages = None


class Speaking(PublisherInterface):
    capabilities = frozenset({"listen"})
    heard = ()

    def publish(self, channel, message):
        pass

    def listen(self, channel):
        assert channel == "kladml:default/default/digits@1"
        return Spoken([*self.heard])


def test_publisher_that_can_be_listened_to_is_heard(kladml, recorded, monkeypatch, install):
    recorded("RUNNING")
    messages = [
        {"event": "step", "time": 1.0, "epoch": 2, "step": 6, "loss": 0.5, "lr": 0.5},  # the tracker had it
        {"event": "step", "time": 1.0, "epoch": 3, "step": 7, "loss": "NaN", "lr": 0.5},
        {"event": "checkpoint_saved", "time": 1.0, "step": 7, "path": "x", "is_best": True},
        {"event": "unheard_of", "time": 1.0},
        # Anybody may publish on a channel.
        {"event": "step", "time": 1.0, "step": 8},
        {"event": "validated", "time": "soon", "step": 8, "metrics": {"loss": 1.0}},
        {"event": "epoch_ended", "time": 1.0, "epoch": 3, "metrics": [1.0]},
        {"event": "checkpoint_saved", "time": 1e300, "step": 8, "is_best": True},
        {"event": ["step"], "time": 1.0, "step": 8},
        {"event": "run_ended", "time": 1.0},
        {"event": "epoch_ended", "time": 1.0, "epoch": 3, "step": 9, "metrics": {"loss": inf}},
        {"event": "run_ended", "time": 1.0, "status": "FINISHED", "metrics": {}, "artifacts": {}, "seconds": 61.0},
    ]
    source = "from kladml.plugins import hookimpl\n@hookimpl\ndef kladml_register_publisher():\n    return PUBLISHER\n"
    install("speaking", {("publisher", "speaking"): "speaking_plugin"}, {"speaking_plugin": source})
    monkeypatch.setattr(Speaking, "heard", messages)
    import speaking_plugin

    speaking_plugin.PUBLISHER = Speaking
    outcome = kladml("watch", "@1", "--past", "0", "--set", "publisher.use=speaking")
    assert (outcome.status, outcome.errors) == (0, "")
    assert words(outcome.output)[1:] == [
        "step 7 loss nan lr 0.5000",
        "step 7 checkpoint saved, the best so far",
        "epoch 3 loss inf",
        "FINISHED in 1 min 01 s",
    ]


def test_publisher_that_is_away_is_only_reported(kladml, recorded, monkeypatch):
    address = recorded("RUNNING")
    with SqlCatalog() as catalog:
        from kladml_cli import run_following

        def end(seconds):
            catalog.end_run(address, "FINISHED", {})

        monkeypatch.setattr(run_following.time, "sleep", end)
        outcome = kladml("watch", "@1", "--set", "publisher.use=nowhere")
    assert outcome.status == 0
    assert "publisher nowhere cannot be listened to" in outcome.errors


def test_values_recorded_together_are_one_event():
    points = [("loss", 1.0, 1000, 1), ("a_step", 1.0, 900, 5), ("lr", 0.5, 1000, 1), ("mine", 3.0, 950, 0)]
    assert events_of(points) == [
        {"event": "validated", "time": 0.9, "step": 5, "metrics": {"a": 1.0}},
        {"event": "metrics", "time": 0.95, "step": 0, "metrics": {"mine": 3.0}},
        {"event": "epoch_ended", "time": 1.0, "epoch": 1, "metrics": {"loss": 1.0, "lr": 0.5}},
    ]


def test_event_that_was_told_is_not_told_again():
    told = ToldEvents()
    step = {"event": "step", "step": 3}
    assert [told.is_new(step), told.is_new(step), told.is_new({"event": "step", "step": 4})] == [True, False, True]
    assert all(told.is_new({"event": "checkpoint_saved", "step": 1}) for _ in range(2))
