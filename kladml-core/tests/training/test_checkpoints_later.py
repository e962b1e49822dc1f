"""Saving while training goes on: what comes of it, what fails, and that nothing hangs."""

from __future__ import annotations

import errno
import logging
import subprocess
import sys
import textwrap
import threading

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kladml.errors import CheckpointError
from kladml.training.checkpointing import store as checkpoints
from kladml.training.checkpointing.store import Checkpoint, CheckpointStore, SavedCheckpoint


def checkpoint(number):
    tensor = torch.full((3,), float(number))
    return Checkpoint({"weight": tensor}, {"0.momentum": tensor}, {"number": number})


def number_of(path):
    found = checkpoints.load(path)
    number = found.state["number"]
    assert found.model["weight"].tolist() == found.optimizer["0.momentum"].tolist() == [number] * 3
    return number


def writers():
    return [thread for thread in threading.enumerate() if thread.name == "kladml-checkpoint-writer"]


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "checkpoints")


@pytest.fixture
def gate(monkeypatch):
    """Hold the writer's thread up until the event is set."""
    event = threading.Event()
    run = threading.Thread.run

    def held(thread):
        if thread.name == "kladml-checkpoint-writer":
            assert event.wait(60)
        run(thread)

    monkeypatch.setattr(threading.Thread, "run", held)
    yield event
    event.set()


def run(program, *arguments):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


# What comes of it


def test_a_save_returns_before_it_is_written_and_holds_what_was_there_when_it_was_called(store, gate):
    content = checkpoint(1)
    store.save_later(content, 1, is_best=True)
    content.model["weight"].fill_(9)
    content.optimizer["0.momentum"].fill_(9)
    content.state["number"] = 9

    assert (store.finished(), store.latest()) == ([], None)
    gate.set()
    store.wait()

    path = store.folder / "step-00000001"
    assert store.finished() == [SavedCheckpoint(path, 1, is_best=True)]
    assert store.finished() == []
    assert number_of(path) == 1
    assert store.best() == store.latest() == path
    assert store.failures == []


def test_a_save_waits_for_the_one_before_it(store, gate):
    store.save_later(checkpoint(1), 1)
    done = threading.Event()

    def save_again():
        store.save_later(checkpoint(2), 2)
        done.set()

    thread = threading.Thread(target=save_again)
    thread.start()
    assert not done.wait(0.1)
    gate.set()
    thread.join()
    store.wait()

    assert [(saved.step, number_of(saved.path)) for saved in store.finished()] == [(1, 1), (2, 2)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=8))
def test_saves_of_both_kinds_end_in_the_order_of_their_calls(tmp_path_factory, saves):
    store = CheckpointStore(tmp_path_factory.mktemp("store"), keep_last=10)
    begun, told = [], []
    for number, (later, is_best, asks) in enumerate(saves):
        if later:
            store.save_later(checkpoint(number), number, is_best=is_best)
            begun.append((number, is_best))
        else:
            store.save(checkpoint(number), number, is_best=is_best)
        told += store.finished() if asks else []
    store.close()

    told += store.finished()
    assert [(saved.step, saved.is_best) for saved in told] == begun
    assert [number_of(path) for path in store.all()] == list(range(len(saves)))
    best = [number for number, (_, is_best, _) in enumerate(saves) if is_best]
    assert (store.best() and number_of(store.best())) == (best[-1] if best else None)
    assert writers() == []


def test_a_store_can_be_used_after_it_was_closed(store):
    store.save_later(checkpoint(1), 1)
    store.close()
    store.save_later(checkpoint(2), 2)
    store.wait()

    assert number_of(store.latest()) == 2


def test_no_thread_is_left_between_saves(store):
    store.save_later(checkpoint(1), 1)
    store.wait()

    assert writers() == []


# What fails


def test_content_that_cannot_be_kept_is_refused_at_once(store):
    store.save_later(checkpoint(1), 1)
    for content in (Checkpoint({"state": {}}, {}, {}), Checkpoint({}, {}, {"function": print})):
        with pytest.raises(CheckpointError, match=r"step 2 cannot be written.*keep tensors and plain values"):
            store.save_later(content, 2)

    store.close()
    assert number_of(store.latest()) == 1
    assert store.failures == []


@pytest.mark.parametrize("call", ["write_file", "fsync_folder", "Manifest"])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EROFS, "Read-only file system")]
)
def test_a_failure_at_any_stage_is_one_warning_and_the_next_save_tries_again(store, monkeypatch, caplog, call, error):
    store.save_later(checkpoint(1), 1, is_best=True)
    store.wait()
    good = store.latest()

    def fail(*arguments, **named):
        raise error

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, logger="kladml"):
        patch.setattr(checkpoints, call, fail) if call != "Manifest" else patch.setattr(
            checkpoints.Manifest, "of", fail
        )
        store.save_later(checkpoint(2), 2, is_best=True)
        store.wait()

    (message,) = caplog.messages
    for part in (str(store.folder), "step 2", error.strerror, str(good), "training goes on", "tries again"):
        assert part in message
    assert [failure.__cause__ for failure in store.failures] == [error]
    assert [saved.step for saved in store.finished()] == [1]
    assert number_of(good) == 1
    assert not list(store.folder.glob(".tmp-*"))
    assert store.best() == good

    store.save_later(checkpoint(3), 3)
    store.wait()
    assert number_of(store.latest()) == 3
    assert len(store.failures) == 1


def test_a_best_checkpoint_is_the_best_one_even_if_the_pointer_to_it_cannot_be_written(store, caplog):
    store.save(checkpoint(1), 1, is_best=True)
    (store.folder / "best.json").unlink()
    (store.folder / "best.json").mkdir()

    with caplog.at_level(logging.WARNING, logger="kladml"):
        store.save_later(checkpoint(2), 2, is_best=True)
        store.wait()

    assert "best.json does not name step-00000002, which is the best checkpoint" in caplog.text
    assert [(saved.step, saved.is_best) for saved in store.finished()] == [(2, True)]
    assert store.failures == []
    assert number_of(store.best()) == number_of(store.latest()) == 2


@pytest.mark.parametrize(
    ("place", "name", "error"),
    [
        (torch, "empty", RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")),
        (threading.Thread, "start", RuntimeError("can't start new thread")),
    ],
    ids=["memory", "thread"],
)
def test_memory_or_threads_that_run_out_are_a_failure_like_a_full_disk(store, monkeypatch, caplog, place, name, error):
    store.save(checkpoint(1), 1)

    def fail(*arguments, **named):
        raise error

    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, logger="kladml"):
        patch.setattr(place, name, fail)
        store.save_later(Checkpoint({"weight": torch.ones(1000)}, {}, {}), 2)

    assert f"{error}; free some memory" in caplog.text
    assert len(store.failures) == 1
    store.save_later(checkpoint(3), 3)
    store.close()
    assert number_of(store.latest()) == 3


FULL_DISK = """
import logging, sys
from pathlib import Path
import torch
from kladml.training.checkpointing.store import Checkpoint, CheckpointStore

logging.basicConfig(format="%(message)s", stream=sys.stdout)
store = CheckpointStore(Path(sys.argv[1]), keep_last=1)
small, large = torch.full((3,), 5.0), torch.zeros(500_000)
store.save_later(Checkpoint({"weight": small}, {}, {}), 1, is_best=True)
store.wait()
LIMIT
for step, content in enumerate((
    Checkpoint({"weight": large}, {}, {}),
    Checkpoint({}, {"0.momentum": large}, {}),
    Checkpoint({}, {}, {"text": "x" * 2_000_000}),
    Checkpoint({}, {}, {}, [bytes(2_000_000)]),
), start=2):
    store.save_later(content, step, is_best=True)
store.wait()
print(len(store.failures), "failures", [saved.step for saved in store.finished()])
print(sorted(path.name for path in store.folder.iterdir()))
store.save_later(Checkpoint({"weight": small + 1}, {}, {}), 9)
store.wait()
print([saved.step for saved in store.finished()], store.latest().name)
"""


def assert_full_disk(done):
    *warnings, summary, left, end = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert len(warnings) == 4, done.stdout
    for step, warning in enumerate(warnings, start=2):
        assert f"step {step} cannot be written" in warning
        assert "free some space" in warning
        assert "the last good one is" in warning
        assert "step-00000001; training goes on" in warning
    assert summary == "4 failures [1]"
    assert left == "['best.json', 'step-00000001']"
    assert end == "[9] step-00000009"


def test_files_that_must_not_grow_leave_the_checkpoint_before_whole(tmp_path):
    pytest.importorskip("resource", reason="a limit of the size of files stands for a full disk")
    limit = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
"""
    assert_full_disk(run(FULL_DISK.replace("LIMIT", limit), tmp_path))


def test_a_full_disk_leaves_the_checkpoint_before_whole(tmp_path):
    """On a file system of one megabyte, in a mount namespace of its own."""
    if (
        sys.platform != "linux"
        or subprocess.run(["unshare", "-Urm", "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("no file system can be mounted here")
    mount = ["unshare", "-Urm", "sh", "-c", 'mount -t tmpfs -o size=1m none "$0" && exec "$@"', str(tmp_path)]
    program = FULL_DISK.replace("LIMIT", "")

    done = subprocess.run(
        [*mount, sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False
    )

    if "mount:" in done.stderr:
        pytest.skip("no file system can be mounted here")
    assert_full_disk(done)


# Nothing hangs, and nothing that was begun is lost without need


PROGRAM = """
import os, sys, threading, time
from pathlib import Path
import torch
from kladml.training.checkpointing import store as checkpoints
from kladml.training.checkpointing import format as checkpoint_format
from kladml.training.checkpointing.store import Checkpoint, CheckpointStore

slow = threading.Event()
write_file = checkpoints.write_file

def slowly(path, parts):
    slow.wait(0.3)
    return write_file(path, parts)

checkpoints.write_file = slowly
store = CheckpointStore(Path(sys.argv[1]))
store.save_later(Checkpoint({"weight": torch.ones(3)}, {}, {"number": 1}), 1)
"""


@pytest.mark.parametrize(
    ("end", "status"), [("", 0), ("sys.exit(3)", 3), ("raise ValueError", 1), ("raise KeyboardInterrupt", 130)]
)
def test_an_interpreter_that_ends_in_order_finishes_what_was_begun(tmp_path, end, status):
    done = run(PROGRAM + end, tmp_path)

    assert done.returncode in (status, -2 if status == 130 else status), done.stderr
    assert checkpoints.load(CheckpointStore(tmp_path).latest()).state == {"number": 1}


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
def test_processes_that_are_forked_meanwhile_end_and_change_nothing(tmp_path):
    """Also when they go through Python's own end, where threads are joined and files are closed."""
    done = run(
        PROGRAM
        + textwrap.dedent(
            """
            import multiprocessing, warnings
            warnings.simplefilter("ignore", DeprecationWarning)
            context = multiprocessing.get_context("fork")

            class Data(torch.utils.data.Dataset):
                def __len__(self):
                    return 8
                def __getitem__(self, index):
                    return index

            children = [context.Process(target=lambda: None) for _ in range(4)]
            for child in children:
                child.start()
            child = os.fork()
            if child == 0:
                store.wait()
                sys.exit(5)
            loader = torch.utils.data.DataLoader(Data(), num_workers=2, multiprocessing_context="fork")
            assert len(list(loader)) == 8
            assert threading.active_count() > 1, "the save has ended before the processes did"
            for process in children:
                process.join(60)
                assert process.exitcode == 0
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
            store.wait()
            assert store.failures == []
            print([saved.step for saved in store.finished()], sorted(path.name for path in store.folder.iterdir()))
            """
        ),
        tmp_path,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "[1] ['step-00000001']\n"
    assert checkpoints.load(CheckpointStore(tmp_path).latest()).state == {"number": 1}
