"""The local tracker with everything around it failing: processes, disks, files, locks, and other people's hands.

`nox -s tracker_faults` does in numbers what the first tests here do a few times.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import logging
import mmap
import multiprocessing
import os
import random
import secrets
import shutil
import sqlite3
import subprocess
import sys
import time
import warnings
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from kladml.errors import TrackerError
from kladml.spool import background, segments
from kladml.spool.folder import SpoolFolder
from kladml.spool.recording import Recording
from kladml_backends_local import LocalTracker, direct_sink

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals, forks and mounts are those of Unix")

SEGMENT = 64 << 10


@pytest.fixture(scope="module")
def lab():
    """The module beside this file, which no import finds."""
    spec = importlib.util.spec_from_file_location("tracker_lab", Path(__file__).with_name("tracker_lab.py"))
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def template(lab, tmp_path_factory):
    """A database that MLflow made."""
    return lab.new_database(tmp_path_factory.mktemp("made") / "state")


@pytest.fixture
def database(lab, template, tmp_path):
    """A database of the test's own."""
    return lab.new_database(tmp_path / "state", template)


@pytest.fixture
def tracker(database, monkeypatch):
    """A tracker with little patience and small segments."""
    monkeypatch.setitem(Recording.__init__.__kwdefaults__, "segment_bytes", SEGMENT)
    monkeypatch.setattr(LocalTracker, "patience", 2.0)
    monkeypatch.setattr(direct_sink, "_BUSY_SECONDS", 0.1)
    monkeypatch.setattr(background, "_FIRST_PAUSE", 0.1)
    with LocalTracker(database) as tracker:
        yield tracker


@pytest.fixture
def chance():
    """Random numbers, others in every run; a failing test prints their seed, and KLADML_TEST_SEED repeats them."""
    seed = int(os.environ.get("KLADML_TEST_SEED") or secrets.randbelow(2**31))
    print(f"\nKLADML_TEST_SEED={seed}")  # noqa: T201 - pytest shows it where the test fails
    return random.Random(seed)  # noqa: S311 - moments and bytes, no secrets


@pytest.fixture
def client(database):
    """MLflow's own client on the same database."""
    with opened_client(database) as client:
        yield client


@contextmanager
def opened_client(database):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{database.as_posix()}")
    yield client
    client._tracking_client.store.engine.dispose()


@pytest.fixture
def mount():
    """Mount over a folder until the test ends; skipped where that is not permitted."""
    mounted = []

    def mount(*arguments, over):
        result = subprocess.run(["mount", *arguments, str(over)], capture_output=True, text=True, check=False)
        if result.returncode:
            pytest.skip(f"mount is not permitted: {result.stderr.strip()}")
        mounted.append(over)

    if not shutil.which("mount"):
        pytest.skip("there is no mount")
    yield mount
    for folder in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def log(tracker, steps):
    for step in steps:
        tracker.log_metric("loss", step / 4, step)


def history(database, run_id):
    """The steps of the metric in the database, as nobody but SQLite reads it, and the status of the run."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = connection.execute("SELECT step, value FROM metrics WHERE run_uuid = ? ORDER BY rowid", (run_id,))
        steps = [step for step, value in rows if value == step / 4]
        return steps, *(connection.execute("SELECT status FROM runs WHERE run_uuid = ?", (run_id,)).fetchone() or ())


def waiting(spool):
    return [path for path in spool.rglob("*") if path.is_file()]


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def warned(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(("processes", "rounds"), [(1, 3), (8, 1)])
def test_nothing_acknowledged_is_lost_by_kills(lab, template, tmp_path, chance, processes, rounds):
    total = lab.Tally()
    for number in range(rounds):
        database = lab.new_database(tmp_path / str(number), template)
        total += lab.kill_round(database, processes, chance, longest=0.3)
    assert (total.lost, total.wrong) == (0, [])
    assert total.kills >= processes * rounds


def test_mlflow_reads_what_a_killed_process_recorded(lab, database, tmp_path):
    board = lab.Board(tmp_path / "board", 1)
    process = lab.start("record", database, tmp_path / "board", 0, 0.001, lab.SEGMENTS[0])
    until(lambda: board.read(0)[1]["ten"] > 9)
    process.kill()
    assert lab.output(process) == (-9, "")
    assert lab.output(lab.start("recover", database)) == (0, "")
    run_id, counts = board.read(0)
    status, metrics, points = lab.read_by_mlflow(database, run_id)
    assert status == "KILLED"
    assert counts["one"] - 1 <= round(metrics["one"] * 7) <= counts["one"]
    assert counts["ten"] <= points <= counts["ten"] + 1
    board.close()


def test_eight_processes_open_a_missing_database(lab, tmp_path):
    assert lab.open_missing(tmp_path) == []


@pytest.fixture(scope="module")
def killed(lab, template, tmp_path_factory):
    """The database of a run that was killed, of which everything waits in several segments."""
    database = lab.new_database(tmp_path_factory.mktemp("killed") / "state", template)
    assert lab.output(lab.start("wait", database, 16 << 10, 1_500)) == (-9, "")
    assert len(lab.segments(database)) > 3
    return database


def test_damage_is_said_once_and_costs_what_followed_in_its_segment(lab, killed, tmp_path, chance):
    for number in range(12):
        assert lab.damaged_round(killed, tmp_path / str(number), lab.any_damage(killed, chance)) == []


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("flip", [0, 1])
def test_damage_at_the_edges_of_records_shows_too(lab, killed, tmp_path, place, flip):
    (_, _), (_, _), (offset, _), *_ = lab.ends(lab.segments(killed)[1])
    assert lab.damaged_round(killed, tmp_path / "copy", lab.Damage(1, offset + place - 2, flip)) == []


def test_a_record_that_a_kill_left_half_written_is_no_damage(lab, killed, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(killed.parent, folder)
    database = folder / killed.name
    last = lab.segments(database)[-1]
    *_, (before, _), (end, _) = lab.ends(last)
    content = bytearray(last.read_bytes())
    content[before + 9 : end] = bytes(end - before - 9)
    last.write_bytes(content)
    assert lab.output(lab.start("recover", database)) == (0, "")
    assert waiting(folder / "spool") == []


def test_a_segment_is_seen_when_it_has_begun_and_not_before(tracker, caplog, monkeypatch):
    reserve = segments._reserve

    def slowly(descriptor, size):
        reserve(descriptor, size)
        time.sleep(0.6)  # longer than the reader waits

    monkeypatch.setattr(segments, "_reserve", slowly)
    run_id = tracker.start_run("digits")
    log(tracker, range(4_000))
    tracker.end_run()
    assert history(tracker.database, run_id) == ([*range(4_000)], "FINISHED")
    assert warned(caplog) == []


def test_a_folder_that_no_run_had_yet_is_removed_when_it_is_old(tracker):
    spool = tracker.database.parent / "spool" / "local"
    for name in ("old", "new"):
        (spool / name).mkdir(parents=True)
        (spool / name / "run.lock").touch()
    os.utime(spool / "old", (1, 1))
    tracker.check()
    assert [path.name for path in spool.iterdir()] == ["new"]


def test_a_delivered_folder_is_gone_at_once(tracker, monkeypatch, lab):
    """A process that dies while it removes a folder leaves no run that another would mark as killed."""
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    run_id = tracker.start_run("digits")
    tracker.end_run()
    monkeypatch.undo()
    assert len(waiting(tracker.database.parent / "spool")) > 1
    assert lab.output(lab.start("recover", tracker.database)) == (0, "")
    assert history(tracker.database, run_id) == ([], "FINISHED")
    assert waiting(tracker.database.parent / "spool") == []


@pytest.fixture
def disk(mount, tracker, template, tmp_path):
    """A disk of 40 MB with the tracker's database on it; calling it leaves no room or gives it back."""
    mount("-t", "tmpfs", "-o", "size=40m", "tmpfs", over=tracker.database.parent)
    shutil.copyfile(template, tracker.database)
    filling = tracker.database.with_name("filling")

    def fill(is_full):
        if not is_full:
            filling.unlink()
            return
        descriptor = os.open(filling, os.O_WRONLY | os.O_CREAT)
        with contextlib.suppress(OSError):
            while os.write(descriptor, bytes(4096)):
                pass
        os.close(descriptor)

    return fill


@pytest.mark.parametrize("is_full_at_first", [True, False])
def test_full_disk_costs_nothing_when_there_is_space_again(disk, tracker, caplog, is_full_at_first, tmp_path):
    if is_full_at_first:
        disk(True)
    run_id = tracker.start_run("digits")
    if not is_full_at_first:
        log(tracker, range(1_000))
        disk(True)
    log(tracker, range(1_000, 10_000))
    with pytest.raises(TrackerError, match=r"No space|disk|it is not in"):
        tracker.log_artifact(__file__, "test.py")
    until(lambda: len(warned(caplog)) == 2)
    disk(False)
    log(tracker, range(10_000, 12_000))
    tracker.end_run()
    first = 1_000 if is_full_at_first else 0
    assert history(tracker.database, run_id) == ([*range(first, 12_000)], "FINISHED")
    assert tracker.undelivered() == []
    assert [("takes no more records" in text, "the run goes on" in text) for text in sorted(warned(caplog))] == [
        (True, False),
        (False, True),
    ]


def test_full_disk_for_ever_says_how_much_is_lost_and_how_much_waits(disk, tracker, caplog):
    run_id = tracker.start_run("digits")
    log(tracker, range(1_000))
    until(lambda: len(tracker.metric_history(run_id, "loss")) == 1_000)
    disk(True)
    log(tracker, range(1_000, 30_000))
    before = time.monotonic()
    tracker.end_run()
    assert time.monotonic() - before < tracker.patience + 2
    (waits,) = tracker.undelivered()
    (lost,) = [int(text.split()[0]) for text in warned(caplog) if text.endswith("found no place and are lost")]
    assert 1_000 + waits.events + lost == 30_000 + 1  # the end of the run
    disk(False)
    assert tracker.sync(run_id) == waits.events
    steps, status = history(tracker.database, run_id)
    assert (steps, status) == ([*range(len(steps))], "FINISHED")
    assert len(steps) == 1_000 + waits.events
    assert len(warned(caplog)) == 4  # the spool, the database, memory, and the end


def test_full_disk_that_has_space_at_the_end_keeps_for_sync_what_was_in_memory(disk, tracker, monkeypatch, caplog):
    run_id = tracker.start_run("digits")
    disk(True)
    log(tracker, range(5_000))
    with closing(sqlite3.connect(tracker.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        disk(False)
        tracker.end_run()
        (waits,) = tracker.undelivered()
        assert waits.events == 5_001
        other.execute("ROLLBACK")
    assert tracker.sync(run_id) == 5_001
    assert history(tracker.database, run_id) == ([*range(5_000)], "FINISHED")
    assert not any("lost" in text and "killed" not in text for text in warned(caplog))


def test_folder_that_becomes_read_only_loses_nothing(tracker, mount, caplog):
    run_id = tracker.start_run("digits")
    log(tracker, range(1_000))
    folder = tracker.database.parent
    mount("--bind", str(folder), over=folder)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
    log(tracker, range(1_000, 10_000))
    with pytest.raises(TrackerError, match="Read-only"):
        tracker.log_artifact(__file__, "test.py")
    tracker.end_run()
    assert history(tracker.database, run_id) == ([*range(10_000)], "FINISHED")
    (text,) = warned(caplog)
    assert "takes no more records (Read-only file system)" in text


def test_database_that_is_locked_for_long_is_delivered_to_later(tracker, caplog):
    run_id = tracker.start_run("digits")
    with closing(sqlite3.connect(tracker.database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        log(tracker, range(3_000))
        tracker.end_run()
        assert [run.events for run in tracker.undelivered()] == [3_001]
        other.execute("ROLLBACK")
    (text,) = warned(caplog)
    assert "database is locked" in text
    assert tracker.sync(run_id) == 3_001
    assert history(tracker.database, run_id) == ([*range(3_000)], "FINISHED")


def test_run_begins_and_ends_while_the_database_is_locked(tracker):
    with closing(sqlite3.connect(tracker.database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        run_id = tracker.start_run("digits")
        log(tracker, range(100))
        tracker.end_run()
        other.execute("ROLLBACK")
    tracker.start_run("digits")  # the next run delivers it
    assert history(tracker.database, run_id) == ([*range(100)], "FINISHED")


def test_database_that_is_deleted_is_made_again(tracker, caplog):
    run_id = tracker.start_run("digits")
    log(tracker, range(1_000))
    assert len(tracker.metric_history(run_id, "loss")) == 1_000
    tracker.database.unlink()
    log(tracker, range(1_000, 3_000))
    tracker.patience = 30
    tracker.end_run()
    assert history(tracker.database, run_id) == ([*range(1_000, 3_000)], "FINISHED")
    (text,) = warned(caplog)
    assert f"there is no run '{run_id}'" in text


def test_database_that_is_replaced_gets_the_run(tracker, template, caplog):
    run_id = tracker.start_run("digits")
    log(tracker, range(1_000))
    assert len(tracker.metric_history(run_id, "loss")) == 1_000
    shutil.copyfile(template, tracker.database.with_name("other"))
    tracker.database.with_name("other").replace(tracker.database)
    for ending in ("-wal", "-shm"):
        tracker.database.with_name(f"mlflow.db{ending}").unlink(missing_ok=True)
    log(tracker, range(1_000, 3_000))
    tracker.end_run()
    assert history(tracker.database, run_id) == ([*range(1_000, 3_000)], "FINISHED")
    assert len(warned(caplog)) == 1


def test_folder_that_is_deleted_ends_nothing(tracker, caplog):
    tracker.start_run("digits")
    log(tracker, range(1_000))
    shutil.rmtree(tracker.database.parent)
    log(tracker, range(1_000, 9_000))
    tracker.patience = 30
    tracker.end_run()
    assert len(warned(caplog)) <= 3


def test_database_that_is_damaged_takes_nothing_and_what_is_recorded_waits(tracker, template, caplog):
    run_id = tracker.start_run("digits")
    log(tracker, range(1_000))
    tracker.patience = 30
    assert len(tracker.metric_history(run_id, "loss")) == 1_000
    tracker.patience = 0.5
    with closing(sqlite3.connect(tracker.database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with tracker.database.open("r+b") as file:
        file.write(b"garbage!" * 100_000)
    log(tracker, range(1_000, 2_000))
    tracker.end_run()
    assert [run.events for run in tracker.undelivered()] == [1_001]
    assert len(warned(caplog)) == 1
    shutil.copyfile(template, tracker.database)
    for ending in ("-wal", "-shm"):
        tracker.database.with_name(f"mlflow.db{ending}").unlink(missing_ok=True)
    assert tracker.sync(run_id) == 1_001
    assert history(tracker.database, run_id) == ([*range(1_000, 2_000)], "FINISHED")


def test_database_whose_pages_are_damaged_leads_to_the_way_out(tracker):
    run_id = tracker.start_run("digits")
    log(tracker, range(1_000))
    tracker.patience = 30
    tracker.end_run()
    with closing(sqlite3.connect(tracker.database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    tracker.close()
    whole = tracker.database.read_bytes()
    with tracker.database.open("r+b") as file:  # the tables are still known, and their rows are not
        file.seek(4096 * 30)
        file.write(b"garbage!" * ((len(whole) - 4096 * 30) // 8))
    advice = f"move {tracker.database} away, and a new one is made"
    with pytest.raises(TrackerError, match="malformed") as caught:
        tracker.metric_history(run_id, "loss")
    assert advice in str(caught.value)
    with LocalTracker(tracker.database) as another, pytest.raises(TrackerError, match="malformed") as caught:
        another.check()
    assert advice in str(caught.value)
    tracker.database.rename(tracker.database.with_name("damaged.db"))
    with LocalTracker(tracker.database) as another:
        another.check()
        another.start_run("digits")


def test_log_of_a_deleted_database_does_not_get_into_the_new_one(lab, database, tmp_path):
    board = lab.Board(tmp_path / "board", 1)
    process = lab.start("record", database, tmp_path / "board", 0, 0.001, lab.SEGMENTS[0])
    until(lambda: board.read(0)[1]["one"] > 600)
    process.kill()
    lab.output(process)
    board.close()
    assert database.with_name("mlflow.db-wal").stat().st_size > 0
    database.unlink()
    shutil.rmtree(database.parent / "spool")
    assert lab.output(lab.start("open", database, 1)) == (0, "")
    assert lab.whole(database) == []


def test_run_that_is_deleted_in_mlflow_waits_until_it_is_restored(tracker, client, caplog):
    run_id = tracker.start_run("digits")
    log(tracker, range(100))
    tracker.metric_history(run_id, "loss")
    client.delete_run(run_id)
    log(tracker, range(100, 200))
    tracker.end_run()
    (text,) = warned(caplog)
    assert f"the run '{run_id}' was deleted in MLflow" in text
    (waits,) = tracker.undelivered()
    assert (waits.run_id, waits.events) == (run_id, 101)
    with pytest.raises(TrackerError, match="mlflow runs restore"):
        tracker.sync(run_id)
    client.restore_run(run_id)
    assert tracker.sync(run_id) == 101
    assert history(tracker.database, run_id) == ([*range(200)], "FINISHED")
    assert tracker.undelivered() == []


def test_experiment_that_is_deleted_in_mlflow_keeps_its_run_waiting(tracker, client, caplog):
    run_id = tracker.start_run("digits")
    log(tracker, range(100))
    tracker.metric_history(run_id, "loss")
    experiment_id = client.get_experiment_by_name("digits").experiment_id
    client.delete_experiment(experiment_id)
    log(tracker, range(100, 200))
    tracker.end_run()
    assert len(warned(caplog)) == 1
    assert [run.events for run in tracker.undelivered()] == [101]
    client.restore_experiment(experiment_id)
    assert tracker.sync(run_id) == 101
    assert history(tracker.database, run_id) == ([*range(200)], "FINISHED")


def in_worker(tracker, results):
    """What a worker of a data loader may do, and what it may not."""
    try:
        tracker.log_metric("loss", 1.0, 1)
    except TrackerError as error:
        results.put(str(error))
    tracker.close()
    results.put("done")


def collect(results, count):
    return [results.get(timeout=30) for _ in range(count)]


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_forked_workers_disturb_nothing(tracker):
    run_id = tracker.start_run("digits")
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    for begin in range(0, 5_000, 1_000):
        workers = [context.Process(target=in_worker, args=(tracker, results)) for _ in range(2)]
        log(tracker, range(begin, begin + 500))
        for worker in workers:
            worker.start()
        log(tracker, range(begin + 500, begin + 1_000))
        answers = collect(results, 4)
        assert answers.count("done") == 2
        assert sum("forked" in answer for answer in answers) == 2
        for worker in workers:
            worker.join(30)
            assert worker.exitcode == 0
    tracker.end_run()
    assert history(tracker.database, run_id) == ([*range(5_000)], "FINISHED")


def test_spawned_workers_disturb_nothing(tracker):
    run_id = tracker.start_run("digits")
    log(tracker, range(500))
    workers = [multiprocessing.get_context("spawn").Process(target=time.sleep, args=(0,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    log(tracker, range(500, 1_000))
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    tracker.end_run()
    assert history(tracker.database, run_id) == ([*range(1_000)], "FINISHED")


FORKING = """
import gc, os, sys, warnings
from kladml_backends_local import LocalTracker
warnings.simplefilter("ignore")
tracker = LocalTracker(sys.argv[1])
run_id = tracker.start_run("digits")
step = 0
children = []
for turn in range(40):
    for _ in range(250):
        tracker.log_metric("loss", step / 4, step)
        step += 1
    child = os.fork()
    if not child:
        del tracker
        gc.collect()
        sys.exit(0)  # all of the interpreter is taken down, and what it has open with it
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 40
tracker.end_run()
print(run_id)
"""


def test_processes_that_inherit_the_connection_and_exit_leave_the_database_valid(database, run_python):
    run_id = run_python(FORKING, database).strip()
    assert history(database, run_id) == ([*range(10_000)], "FINISHED")


FORKED_TRACKERS = """
import os, sys, warnings
from kladml_backends_local import LocalTracker
warnings.simplefilter("ignore")
tracker = LocalTracker(sys.argv[1])
tracker.start_run("parent")
step = 0
children = []
for turn in range(8):
    for _ in range(3_000):
        tracker.log_metric("loss", step / 4, step)
        step += 1
    child = os.fork()
    if not child:
        with LocalTracker(sys.argv[1]) as other:
            other.start_run("child")
            for step in range(1_000):
                other.log_metric("loss", step / 4, step)
            other.end_run()
            left = other.undelivered()
        os._exit(len(left))
    children.append(child)
    if len(children) > 2:
        assert os.waitpid(children.pop(0), 0)[1] == 0
assert [os.waitpid(child, 0)[1] for child in children] == [0] * len(children)
tracker.end_run()
"""


def test_forked_processes_with_trackers_of_their_own(database, run_python):
    """A connection that is inherited would have SQLite take the parent's locks for the child's own."""
    run_python(FORKED_TRACKERS, database)
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        query = """
        SELECT e.name, r.status, count(*) FROM metrics JOIN runs AS r USING (run_uuid)
        JOIN experiments AS e USING (experiment_id) GROUP BY 1, 2
        """
        assert connection.execute(query).fetchall() == [("child", "FINISHED", 8_000), ("parent", "FINISHED", 24_000)]


class NoMap:
    """Stands for `mmap.mmap` where a file system maps nothing."""

    def __new__(cls, *_, **__):
        raise OSError(errno.ENODEV, "No such device")


def test_file_system_that_maps_nothing(tracker, monkeypatch, caplog):
    monkeypatch.setattr(mmap, "mmap", NoMap)
    run_id = tracker.start_run("digits")
    log(tracker, range(10_000))
    assert len(waiting(SpoolFolder(tracker._spool / run_id).path)) > 3
    tracker.end_run()
    assert history(tracker.database, run_id) == ([*range(10_000)], "FINISHED")
    assert warned(caplog) == []


def test_file_system_that_maps_nothing_and_is_gone(tracker, monkeypatch, caplog):
    monkeypatch.setattr(mmap, "mmap", NoMap)
    run_id = tracker.start_run("digits")
    log(tracker, range(1_000))

    def gone(*_):
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(os, "pwrite", gone)
    log(tracker, range(1_000, 10_000))
    tracker.log_metrics({"a": 1.0, "b": 2.0}, 1)
    tracker.end_run()
    steps, status = history(tracker.database, run_id)
    assert ([step for step in steps if step != 1 or steps.index(step) == 1][:10_000], status) == (
        [*range(10_000)],
        "FINISHED",
    )
    (text,) = warned(caplog)
    assert "Stale file handle" in text


UNMAPPED = """
import mmap, os, signal, sys
class NoMap:
    def __new__(cls, *_, **__):
        raise OSError(19, "No such device")
mmap.mmap = NoMap
from kladml_backends_local import LocalTracker
tracker = LocalTracker(sys.argv[1])
run_id = tracker.start_run("digits")
for step in range(3_000):
    tracker.log_metric("loss", step / 4, step)
print(run_id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_on_a_file_system_that_maps_nothing(database, start_python, lab):
    process = start_python(UNMAPPED, database)
    output, errors = process.communicate(timeout=60)
    assert errors == ""
    assert lab.output(lab.start("recover", database)) == (0, "")
    assert history(database, output.strip()) == ([*range(3_000)], "KILLED")


def test_file_system_without_locks_still_records(tracker, monkeypatch, caplog):
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    run_id = tracker.start_run("digits")
    log(tracker, range(1_000))
    assert len(tracker.metric_history(run_id, "loss")) == 1_000
    tracker.end_run()
    assert history(tracker.database, run_id) == ([*range(1_000)], "FINISHED")


HOLDING = """
import sys
from kladml_backends_local import LocalTracker
tracker = LocalTracker(sys.argv[1])
tracker.resume_run(sys.argv[2])
print("resumed", flush=True)
sys.stdin.readline()
"""


def test_two_processes_do_not_resume_one_run(tracker, start_python, lab):
    run_id = tracker.start_run("digits")
    log(tracker, range(100))
    tracker.end_run()
    process = start_python(HOLDING, tracker.database, run_id)
    assert process.stdout.readline() == "resumed\n"
    with pytest.raises(TrackerError, match=rf"run '{run_id}' is being recorded by process {process.pid} on .*, since"):
        tracker.resume_run(run_id)
    process.kill()
    process.wait()
    tracker.resume_run(run_id)
    log(tracker, range(100, 200))
    tracker.end_run()
    assert history(tracker.database, run_id) == ([*range(200)], "FINISHED")


def test_a_run_whose_note_could_not_be_written_is_still_this_processs(tracker, monkeypatch):
    """A full disk takes no note of who has the lock: the same process must not take its own run for a dead one's."""
    from kladml.files import lock

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lock, "write_note", full)
    run_id = tracker.start_run("digits")
    log(tracker, range(100))
    assert tracker.get_run(run_id).status == "RUNNING"
    log(tracker, range(100, 200))
    tracker.end_run()
    assert history(tracker.database, run_id) == ([*range(200)], "FINISHED")


CALLS = [
    ("log_params", {"lr": 0.001, "layers": 3, "text": "naïve\n"}),
    ("log_points", [("loss", 0.5, 1_000, 0), ("loss", float("nan"), 1_001, 1), ("acc", float("inf"), 1_001, 1)]),
    ("log_points", [("loss", 0.5, 1_000, 0), ("loss", 0.25, 1_002, 1), ("acc", float("-inf"), 1_002, 2)]),
    ("log_points", [("loss", 0.125, 1_003, 0), ("tie", 0.0, 1_000, 0), ("tie", float("nan"), 1_000, 0)]),
    ("log_points", [("minus", -0.0, 1_000, -3), ("val/a b:c", -1.5, 1_003, 3)]),
    ("log_metric", "live", 1.5, 7),
    ("log_metric", "live", 2.5, 3),
    ("log_metric", "live", 0.5, 7),
    ("log_metrics", {"live": float("nan"), "other": 2}, 9),
    ("log_metric", "plain", 3),
    ("set_tags", {"note": "x", "kladml.address": "a/b"}),
    ("set_tags", {"note": "y"}),
    ("set_experiment_tags", {"kladml.project": "p", "kladml.family": "f"}),
    ("log_dataset", "digits", "d1", "data/digits", "training"),
    ("log_dataset", "digits", "d1", "data/digits", "training"),
    ("log_dataset", "more", "d2", "data/more", "evaluation"),
    ("log_artifact", "plots/loss.png"),
    ("end_run", "FAILED"),
    ("resume_run",),
    ("log_params", {"lr": 0.001, "late": None}),
    ("log_points", [("loss", 9.0, 2_000, 4), ("loss", float("nan"), 2_001, 7)]),
    ("set_tags", {"mlflow.runName": "second try"}),
    ("set_experiment_tags", {"kladml.family": "g"}),
    ("log_artifact", "model.bin"),
    ("end_run", "FINISHED"),
]


class ByMlflow:
    """The same calls with MLflow's own client."""

    def __init__(self, client, artifacts, tags):
        self.client = client
        self.experiment_id = client.create_experiment("digits", artifact_location=(artifacts / "1").as_uri())
        self.run_id = client.create_run(self.experiment_id, run_name="first try", tags=tags).info.run_id

    def log_params(self, params):
        for key, value in params.items():
            self.client.log_param(self.run_id, key, value)

    def log_points(self, points):
        for key, value, at, step in points:
            self.client.log_metric(self.run_id, key, value, timestamp=at, step=step)

    def log_metric(self, key, value, step=None):
        self.client.log_metric(self.run_id, key, value, step=step)

    def log_metrics(self, metrics, step):
        for key, value in metrics.items():
            self.log_metric(key, value, step)

    def set_tags(self, tags):
        for key, value in tags.items():
            self.client.set_tag(self.run_id, key, value)

    def set_experiment_tags(self, tags):
        for key, value in tags.items():
            self.client.set_experiment_tag(self.experiment_id, key, value)

    def log_dataset(self, name, digest, source, context):
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(name, digest, "local", json.dumps({"uri": source}))
        self.client.log_inputs(self.run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])

    def log_artifact(self, local, name):
        folder, _, file = name.rpartition("/")
        renamed = local.with_name(file)
        shutil.copyfile(local, renamed)
        self.client.log_artifact(self.run_id, str(renamed), folder or None)

    def end_run(self, status):
        self.client.set_terminated(self.run_id, status)

    def resume_run(self):
        self.client.update_run(self.run_id, "RUNNING")


def make_calls(by, local, between=lambda _: None):
    for number, (method, *arguments) in enumerate(CALLS):
        between(number)
        if method == "log_artifact":
            arguments.insert(0, local)
        getattr(by, method)(*arguments)
        time.sleep(0.002)  # what is recorded in the same millisecond has no order


def files(folder):
    """Every artifact of the one run, by its name."""
    (run,) = folder.glob("artifacts/1/*")
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def by_mlflow(lab, template, tmp_path_factory):
    """What MLflow itself makes of the calls."""
    folder = tmp_path_factory.mktemp("mlflow")
    database = lab.new_database(folder / "state", template)
    local = folder / "local"
    local.write_bytes(b"weights")
    from kladml.spool.runs import new_run

    run = new_run("", "digits", "first try", "")
    tags = {"mlflow.user": run.user, "mlflow.source.name": run.source, "mlflow.source.type": "LOCAL"}
    with opened_client(database) as client:
        make_calls(ByMlflow(client, database.parent / "artifacts", tags), local)
    return lab.content(database), files(database.parent)


class ByTracker:
    """The calls on a tracker that resumes its own run."""

    def __init__(self, tracker):
        self.tracker = tracker
        self.run_id = tracker.start_run("digits", "first try")

    def __getattr__(self, name):
        return getattr(self.tracker, name)

    def resume_run(self):
        self.tracker.resume_run(self.run_id)


@pytest.mark.parametrize("way", ["direct", "by MLflow", *range(1, len(CALLS), 6)])
def test_database_is_the_one_that_mlflow_writes_from_the_same_calls(
    lab, tracker, by_mlflow, tmp_path, monkeypatch, caplog, way
):
    local = tmp_path / "local"
    local.write_bytes(b"weights")
    tracker.patience = 30
    if way == "by MLflow":
        monkeypatch.setattr(direct_sink, "unknown_shape", lambda _: "runs is another one")

    def alter(number):
        if number == way:
            with closing(sqlite3.connect(tracker.database)) as connection, connection:
                connection.execute("ALTER TABLE runs ADD COLUMN later INTEGER")

    make_calls(ByTracker(tracker), local, between=alter)
    found = lab.content(tracker.database)
    if isinstance(way, int):
        found["runs"] = [row.replace('"later": null, ', "") for row in found["runs"]]
    expected, kept = by_mlflow
    assert {name: (found[name], rows) for name, rows in expected.items() if found[name] != rows} == {}
    assert files(tracker.database.parent) == kept
    # Two recordings, as the run is resumed: each says it, if the tables are others then.
    assert len(warned(caplog)) == (0 if way == "direct" else 2 if way == "by MLflow" or way < 18 else 1)


COMPLETE = """
import os, sys, time
before = time.process_time()
from kladml_backends_local import LocalTracker
imported = time.process_time()
with LocalTracker(sys.argv[1]) as tracker:
    tracker.check()
    run_id = tracker.start_run("digits", "try")
    tracker.log_params({"lr": 0.001})
    for step in range(1_000):
        tracker.log_metric("loss", 1 / (step + 1), step)
        tracker.log_metrics({"a": step, "b": 2.0}, step)
    tracker.set_tags({"note": "x"})
    tracker.set_experiment_tags({"kladml.project": "p"})
    tracker.log_dataset("digits", "d1", source="data/digits", context="training")
    tracker.log_artifact(sys.argv[2], "plots/x.png")
    tracker.flush()
    tracker.end_run()
    run = tracker.get_run(run_id)
    assert run.metrics["a"] == 999
    assert len(tracker.metric_history(run_id, "loss")) == 1_000
    assert [found.run_id for found in tracker.search_runs("digits", where="metrics.a > 9")] == [run_id]
    assert tracker.undelivered() == []
ended = time.process_time()
heavy = {"mlflow", "sqlalchemy", "alembic", "filelock", "torch", "numpy"} & set(sys.modules)
print(sorted(heavy), round(1_000 * (imported - before)), round(1_000 * (ended - imported)))
"""


def test_a_complete_run_imports_neither_mlflow_nor_sqlalchemy(database, run_python, tmp_path):
    (tmp_path / "local").write_bytes(b"x")
    assert run_python(COMPLETE, database, tmp_path / "local").startswith("[] ")
