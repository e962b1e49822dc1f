"""A tracker on a spool, with a store of the tests' own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from spooled_store import ListSink, StoreTracker

from kladml.errors import TrackerError
from kladml.spool.events import Artifact, DatasetInput, ExperimentTags, Params, Status, Tags
from kladml.spool.folder import SpoolFolder
from kladml.testing import TrackerContract


class TestSpooledTracker(TrackerContract):
    @pytest.fixture
    def tracker(self, tmp_path):
        with StoreTracker(tmp_path) as tracker:
            yield tracker

    @pytest.fixture
    def reopen(self, tmp_path):
        return lambda: StoreTracker(tmp_path)


@pytest.fixture
def tracker(tmp_path, sink):
    """A tracker whose sink keeps everything in lists."""
    with StoreTracker(tmp_path, sink=sink) as tracker:
        yield tracker
        sink.trouble = lambda: None


@pytest.fixture
def failing(sink):
    """A server that is down."""
    tried = []

    def fail():
        tried.append(True)
        raise TrackerError("no server")

    sink.trouble = fail
    return tried


def test_everything_reaches_the_sink_as_it_was_recorded(tracker, sink, tmp_path):
    (tmp_path / "model.bin").write_bytes(b"weights")
    run_id = tracker.start_run("digits", "first")
    tracker.log_params({"lr": 1e-3, "layers": [1, 2]})
    tracker.set_tags({"note": "naïve"})
    tracker.set_experiment_tags({"project": "digits"})
    tracker.log_dataset("mnist", "0123456789", source="/data/mnist", context="training")
    tracker.log_points([("loss", 0.5, 1_000, 1)])
    tracker.log_artifact(tmp_path / "model.bin", "weights/model.bin")
    tracker.end_run("FAILED")
    (run,) = sink.begun
    assert (run.run_id, run.experiment_name, run.run_name, run.destination) == (run_id, "digits", "first", "store")
    *events, artifact, status = sink.events
    assert events == [
        Params({"lr": "0.001", "layers": "[1, 2]"}),
        Tags({"note": "naïve"}),
        ExperimentTags({"project": "digits"}),
        DatasetInput("mnist", "0123456789", "local", json.dumps({"uri": "/data/mnist"}), context="training"),
    ]
    assert (type(artifact), artifact.name, status.status) == (Artifact, "weights/model.bin", "FAILED")
    assert sink.points == [("loss", 0.5, 1_000, 1)]


def test_calls_outside_of_a_run_say_so(tracker):
    for call in (
        lambda: tracker.log_metric("loss", 1.0),
        lambda: tracker.log_metrics({"loss": 1.0}),
        lambda: tracker.log_params({"a": 1}),
        lambda: tracker.set_tags({"a": "b"}),
        tracker.end_run,
    ):
        with pytest.raises(TrackerError, match=r"no run is going on \(store-tracker\); call start_run first"):
            call()
    tracker.flush()


def test_one_run_at_a_time(tracker, run):
    run_id = tracker.start_run("digits")
    for begin in (lambda: tracker.start_run("digits"), lambda: tracker.resume_run(run.run_id)):
        with pytest.raises(TrackerError, match=f"run '{run_id}' is still going on"):
            begin()


@pytest.mark.parametrize("run_id", ["", "x", "../../escaped", "A" * 32, "0" * 31, "0" * 33])
def test_malformed_identifier_makes_no_folder(tracker, tmp_path, run_id):
    with pytest.raises(TrackerError, match="is no identifier of a run"):
        tracker.resume_run(run_id)
    assert list(tmp_path.rglob("*")) == []
    tracker.start_run("digits")


@pytest.mark.parametrize("name", ["", "x" * 501])
def test_malformed_experiment_makes_no_folder(tracker, tmp_path, name):
    with pytest.raises(TrackerError, match="is no name of an experiment"):
        tracker.start_run(name)
    assert list(tmp_path.rglob("*")) == []


def test_changed_parameter_is_an_error_and_the_others_of_the_call_are_not_recorded(tracker, sink):
    tracker.start_run("digits")
    tracker.log_params({"a": 1})
    tracker.log_params({"a": "1"})
    with pytest.raises(TrackerError, match="the parameter 'a' was recorded as '1', and cannot become '2'"):
        tracker.log_params({"b": 1, "a": 2})
    tracker.end_run()
    tracker.start_run("digits")
    tracker.log_params({"a": 2})  # of another run
    tracker.end_run()
    params = [event.values for event in sink.events if isinstance(event, Params)]
    assert params == [{"a": "1"}, {"a": "1"}, {"a": "2"}]


@pytest.mark.parametrize("call", ["log_params", "log_metrics", "set_tags", "set_experiment_tags"])
def test_malformed_name_is_an_error_at_the_call(tracker, call):
    tracker.start_run("digits")
    with pytest.raises(TrackerError, match=r"'a\*b' cannot be recorded.*\(store-tracker\)"):
        getattr(tracker, call)({"a*b": "1"} if call != "log_metrics" else {"a*b": 1.0})


def test_long_texts_are_cut_and_that_is_said(tracker, sink, said):
    tracker.start_run("digits")
    tracker.log_params({"long": "x" * 7_000, "short": "x"})
    tracker.set_tags({"note": "y" * 9_000})
    tracker.end_run()
    values = sink.events[0].values | sink.events[1].values
    assert {key: len(value) for key, value in values.items()} == {"long": 6_000, "short": 1, "note": 8_000}
    assert len(said()) == 2


def test_unknown_status_is_refused_and_the_run_goes_on(tracker, sink):
    tracker.start_run("digits")
    with pytest.raises(TrackerError, match="'DONE' is no status of a run"):
        tracker.end_run("DONE")
    tracker.log_metric("loss", 0.5)
    tracker.end_run()
    assert len(sink.points) == 1


def test_closed_tracker_goes_on_with_the_next_record(tracker, sink):
    run_id = tracker.start_run("digits")
    tracker.log_params({"a": 1})
    tracker.log_metric("loss", 0.5, 1)
    tracker.close()
    assert [point[3] for point in sink.points] == [1]
    tracker.close()
    with pytest.raises(TrackerError, match=f"run '{run_id}' is still going on"):
        tracker.start_run("digits")
    tracker.log_metric("loss", 0.5, 2)
    with pytest.raises(TrackerError, match="cannot become"):
        tracker.log_params({"a": 2})
    tracker.end_run()
    assert [point[3] for point in sink.points] == [1, 2]
    assert [event.status for event in sink.events if isinstance(event, Status)] == ["RUNNING", "FINISHED"]
    assert {run.run_id for run in sink.begun} == {run_id}


def test_run_that_was_closed_may_end_or_be_resumed_elsewhere(tmp_path):
    first = StoreTracker(tmp_path)
    run_id = first.start_run("digits")
    first.log_metric("loss", 0.5, 1)
    first.close()
    with StoreTracker(tmp_path) as second:
        assert second.get_run(run_id).status == "KILLED"  # nobody has it
        second.resume_run(run_id)
        second.log_metric("loss", 0.25, 2)
        with pytest.raises(TrackerError, match="is being recorded by process"):
            first.log_metric("loss", 0.5, 3)
        second.end_run()
        assert second.metric_history(run_id, "loss") == [(1, 0.5), (2, 0.25)]
    first.end_run("FAILED")
    assert first.get_run(run_id).status == "FAILED"


def test_server_that_is_down_stops_nothing_and_is_told(tmp_path, sink, failing, said):
    tracker = StoreTracker(tmp_path, sink=sink)
    tracker.patience = 0.1
    run_id = tracker.start_run("digits", "first")
    for step in range(500):
        tracker.log_metric("loss", 0.5, step)
        tracker.flush()
    assert len(failing) < 5
    tracker.end_run()
    (left,) = tracker.undelivered()
    assert (left.run_id, left.experiment_name, left.run_name) == (run_id, "digits", "first")
    assert (left.events, left.destination, left.reason) == (501, "store", "no server")
    assert left.since is not None
    assert len(said()) == 1
    (again,) = StoreTracker(tmp_path, sink=ListSink()).undelivered()  # of which another process knows less
    assert (again.events, again.reason) == (501, None)


def test_sync_delivers_and_leaves_nothing(tmp_path, sink, failing):
    tracker = StoreTracker(tmp_path, sink=sink)
    tracker.patience = 0.1
    (tmp_path / "model.bin").write_bytes(b"weights")
    run_id = tracker.start_run("digits")
    tracker.log_metric("loss", 0.5, 1)
    tracker.log_artifact(tmp_path / "model.bin", "model.bin")
    tracker.end_run("FAILED")
    (tmp_path / "model.bin").unlink()
    other = StoreTracker(tmp_path)
    told = []
    assert other.sync(run_id, told.append) == 3
    assert sum(told) == 3
    assert (other.undelivered(), tracker.undelivered()) == ([], [])
    assert (other.get_run(run_id).status, other.metric_history(run_id, "loss")) == ("FAILED", [(1, 0.5)])
    assert (tmp_path / "store" / run_id / "model.bin").read_bytes() == b"weights"
    with pytest.raises(TrackerError, match="nothing waits of run"):
        other.sync(run_id)


def test_sync_with_a_server_that_is_down_keeps_everything(tmp_path, sink, failing):
    tracker = StoreTracker(tmp_path, sink=sink)
    tracker.patience = 0.1
    run_id = tracker.start_run("digits")
    tracker.end_run()
    for _ in range(2):
        with pytest.raises(TrackerError, match="no server"):
            tracker.sync(run_id)
    sink.trouble = lambda: None
    assert tracker.sync(run_id) == 1
    assert sink.events[-1].status == "FINISHED"


def test_run_of_another_destination_waits_until_it_is_redirected(tmp_path, sink, failing):
    tracker = StoreTracker(tmp_path, sink=sink)
    tracker.patience = 0.1
    run_id = tracker.start_run("digits")
    tracker.end_run()
    other = StoreTracker(tmp_path, destination="elsewhere")
    other.recover()
    assert [run.destination for run in other.undelivered()] == ["store"]
    with pytest.raises(TrackerError, match="was recorded for store, and this tracker is elsewhere"):
        other.sync(run_id)
    assert other.sync(run_id, redirect=True) == 1
    assert other.get_run(run_id).status == "FINISHED"


def test_running_run_is_not_undelivered(tracker, failing):
    tracker.start_run("digits")
    tracker.log_metric("loss", 0.5)
    assert tracker.undelivered() == []


def test_damage_is_told_and_what_is_before_it_is_delivered_by_sync(tmp_path, sink, failing, said):
    tracker = StoreTracker(tmp_path, sink=sink)
    tracker.patience = 0.1
    run_id = tracker.start_run("digits")
    for step in range(100):
        tracker.log_metric("loss", 0.5, step)
    tracker.end_run()
    path = SpoolFolder(tmp_path / "spool" / run_id).path / "00000001.seg"
    content = bytearray(path.read_bytes())
    content[3000] ^= 1
    path.write_bytes(content)
    other = StoreTracker(tmp_path)
    (left,) = other.undelivered()
    assert other.sync(run_id) == left.events
    history = other.metric_history(run_id, "loss")
    assert [step for step, _ in history] == list(range(left.events))
    assert 70 < left.events < 90
    assert len([line for line in said() if "is damaged from byte" in line]) == 1
    assert other.get_run(run_id).status == "KILLED"  # its end was behind the damage


_HOLDS = """
import sys
from spooled_store import StoreTracker
tracker = StoreTracker(sys.argv[1])
print(tracker.start_run("digits"), flush=True)
tracker.log_metric("loss", 0.5, 1)
sys.stdin.read()
tracker.end_run()
"""


def test_two_processes_do_not_record_one_run(start_program, tmp_path):
    program = start_program(_HOLDS, tmp_path)
    run_id = program.stdout.readline().strip()
    with StoreTracker(tmp_path) as tracker:
        with pytest.raises(TrackerError, match=f"run '{run_id}' is being recorded by process {program.pid} on "):
            tracker.resume_run(run_id)
        assert tracker.undelivered() == []
        assert tracker.get_run(run_id).status == "RUNNING"
        program.communicate(timeout=60)
        assert program.returncode == 0
        tracker.resume_run(run_id)
        tracker.end_run()
        assert tracker.metric_history(run_id, "loss") == [(1, 0.5)]


@pytest.mark.parametrize("moment", ["write", "remove"])
def test_killed_while_the_end_is_delivered(run_program, tmp_path, moment):
    """Killed when the store has the end and the spool does not know, or before the folder is removed."""
    program = """
import os, signal, sys
from spooled_store import StoreSink, StoreTracker
from kladml.spool.events import Status
from kladml.spool.folder import SpoolFolder

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[2] == "remove":
    SpoolFolder.remove = die
else:
    write = StoreSink.write
    def written(self, run, batch):
        write(self, run, batch)
        if any(isinstance(event, Status) for event in batch.events):
            die()
    StoreSink.write = written
tracker = StoreTracker(sys.argv[1])
print(tracker.start_run("digits"), flush=True)
tracker.log_metric("loss", 0.5, 1)
tracker.end_run()
"""
    run_id = run_program(program, tmp_path, moment, code=-signal.SIGKILL).strip()
    assert (tmp_path / "spool" / run_id).exists()
    tracker = StoreTracker(tmp_path)
    assert tracker.get_run(run_id).status == "FINISHED"
    assert tracker.metric_history(run_id, "loss") == [(1, 0.5)]
    assert list((tmp_path / "spool").iterdir()) == []


_FORKS = """
import multiprocessing, os, sys
from spooled_store import StoreTracker
from kladml.errors import TrackerError

tracker = StoreTracker(sys.argv[1])
run_id = tracker.start_run("digits")

def work(step):
    try:
        tracker.log_metric("loss", 9.0, step)
    except TrackerError as error:
        answer = str(error)
    tracker.flush()
    tracker.close()
    return answer

with multiprocessing.get_context("fork").Pool(3) as pool:
    jobs = pool.map_async(work, range(30))
    for step in range(2000):
        tracker.log_metric("loss", 0.5, step)
    answers = jobs.get(120)
child = os.fork()
if child == 0:
    with tracker:
        sys.exit(0)  # as a script that forks and ends: exit handlers run
os.waitpid(child, 0)
tracker.log_metric("loss", 0.5, 2000)
tracker.end_run()
assert [step for step, _ in tracker.metric_history(run_id, "loss")] == list(range(2001))
assert {value for _, value in tracker.metric_history(run_id, "loss")} == {0.5}
assert tracker.get_run(run_id).status == "FINISHED"
print(*sorted(set(answers)), sep="\\n")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_workers_are_told_and_do_not_disturb(run_program, tmp_path):
    answers = run_program(_FORKS, tmp_path).splitlines()
    # One who closed the tracker finds no run.
    assert any("to which the run belongs; record metrics in the main process" in answer for answer in answers)
    assert list((tmp_path / "spool").iterdir()) == []


def test_importing_costs_no_heavy_module():
    heavy = ("torch", "numpy", "mlflow", "sqlalchemy", "structlog", "accelerate", "omegaconf", "sqlite3")
    program = f"import sys, kladml.spool.tracker; print([name for name in {heavy} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == "[]"


def test_folder_of_a_run_has_what_it_was_begun_with(tracker, sink, failing, tmp_path):
    run_id = tracker.start_run("digits")
    found = SpoolFolder(tmp_path / "spool" / run_id).read_run()
    assert found == replace(tracker._recording.run, remote_id=None)
    assert found.run_name == f"digits-{run_id[:8]}"
