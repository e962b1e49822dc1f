"""One process at a time has a folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from kladml.files.lock import HOLDER, LOCK, FolderLock, HeldError
from kladml.files.whole import written_whole

_HOLDS = """
import sys, time
from pathlib import Path
from kladml.files.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.take()
print("has it", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "a" / "run"


@pytest.fixture
def other(folder):
    """Another process, which has the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "has it\n"
    yield process
    process.kill()
    process.communicate()


def test_folder_is_made_and_taken_again_and_again(folder):
    for _ in range(3):
        lock = FolderLock(folder)
        lock.take()
        assert json.loads((folder / HOLDER).read_text())["pid"] == os.getpid()
        lock.let_go()
        lock.let_go()
        assert [path.name for path in folder.iterdir()] == [LOCK]


def test_one_object_of_a_process_has_it(folder, monkeypatch):
    first, second = FolderLock(folder), FolderLock(folder)
    first.take()
    for lock in (first, second):
        with pytest.raises(HeldError, match=f"process {os.getpid()} on "):
            lock.take()
    second.let_go()
    monkeypatch.chdir(folder.parent)
    with pytest.raises(HeldError):
        FolderLock(type(folder)("run")).take()
    first.let_go()
    second.take()
    second.let_go()


def test_of_many_threads_one_has_it(folder):
    """The operating system would give it to each of them."""
    for _ in range(30):
        ready, taken = threading.Barrier(6), []

        def work(ready=ready, taken=taken):
            lock = FolderLock(folder)
            ready.wait()
            try:
                lock.take()
            except HeldError:
                return
            taken.append(lock)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(taken) == 1
        taken[0].let_go()


def test_other_process_is_named_and_its_death_frees_the_folder(folder, other):
    with pytest.raises(HeldError, match=rf"process {other.pid} on .*, since 20\d\d-"):
        FolderLock(folder).take()
    other.send_signal(signal.SIGKILL)
    other.wait()
    lock = FolderLock(folder)
    lock.take()
    lock.let_go()


@pytest.mark.parametrize("note", ["", "[]", "{", '{"pid": 1}', "null"])
def test_note_that_says_nothing_does_not_matter(folder, other, note):
    (folder / HOLDER).write_text(note)
    with pytest.raises(HeldError, match="process"):
        FolderLock(folder).take()


def test_refused_one_does_not_free_it(folder, other, tmp_path):
    for _ in range(2):
        lock = FolderLock(folder)
        with pytest.raises(HeldError):
            lock.take()
        lock.let_go()


def test_lock_of_a_removed_folder_is_none(folder):
    """Whoever removes a folder has its lock; the next one takes that of the new folder."""
    first = FolderLock(folder)
    first.take()
    folder.rename(folder.with_name("removed"))
    second = FolderLock(folder)
    first.let_go()
    second.take()
    assert (folder / HOLDER).exists()
    second.let_go()


def test_folder_that_cannot_be_made_is_an_error_of_the_system(tmp_path):
    (tmp_path / "file").touch()
    lock = FolderLock(tmp_path / "file" / "run")
    for _ in range(2):
        with pytest.raises(OSError, match="file"):
            lock.take()
    lock.let_go()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_process_neither_has_nor_frees_it(folder):
    lock = FolderLock(folder)
    lock.take()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            FolderLock(folder).take()
        except HeldError:
            code = 0
        lock.let_go()
        os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert (folder / HOLDER).exists()
    check = (
        "import sys; from pathlib import Path; from kladml.files.lock import *; FolderLock(Path(sys.argv[1])).take()"
    )
    answer = subprocess.run([sys.executable, "-c", check, str(folder)], check=False, capture_output=True, text=True)
    assert "HeldError" in answer.stderr
    lock.let_go()


def test_written_file_takes_its_place_whole(tmp_path):
    file = tmp_path / "file"
    with written_whole(file) as temporary:
        temporary.write_text("first")
        assert not file.exists()

    def fail():
        with written_whole(file) as temporary:
            temporary.write_text("second")
            raise ValueError("odd")

    with pytest.raises(ValueError, match="odd"):
        fail()
    assert file.read_text() == "first"
    assert list(tmp_path.iterdir()) == [file]
