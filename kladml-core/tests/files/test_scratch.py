"""Folders for what is needed for a moment."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from kladml.files import scratch
from kladml.files.scratch import SCRATCH, scratch_folder

_HOLDS = """
import sys
from pathlib import Path
from kladml.files.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "weights").write_text("secret")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def state(tmp_path):
    return tmp_path / ".kladml"


@pytest.fixture
def other(state):
    """Another process with a folder of its own, and that folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process, Path(process.stdout.readline().strip())
    process.kill()
    process.communicate()


def test_it_is_empty_in_the_workspace_and_goes_with_what_is_in_it(state):
    with pytest.raises(KeyError), scratch_folder(state) as folder, scratch_folder(state) as second:  # noqa: PT012
        assert folder.is_relative_to(state / SCRATCH)
        assert folder != second
        assert list(folder.iterdir()) == []
        (folder / "sub").mkdir()
        (folder / "sub/file").write_text("x")
        raise KeyError
    assert list((state / SCRATCH).iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_nobody_else_can_read_it(state):
    with scratch_folder(state) as folder:
        assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_without_a_workspace_it_is_where_the_system_has_such_folders():
    with scratch_folder(None) as folder:
        assert folder.is_relative_to(tempfile.gettempdir())
    assert not folder.exists()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_workspace_that_may_not_be_written_to_is_read_all_the_same(state, monkeypatch, code):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(scratch, "write_note", refuse)
    with scratch_folder(state) as folder:
        assert not folder.is_relative_to(state)
    assert list((state / SCRATCH).iterdir()) == []


def test_a_full_disk_is_an_error_and_leaves_nothing(state, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(scratch, "write_note", refuse)
    with pytest.raises(OSError, match="No space left"), scratch_folder(state):
        pass
    assert list((state / SCRATCH).iterdir()) == []


def test_what_a_killed_process_left_goes_and_what_another_one_has_stays(state, other):
    process, theirs = other
    with scratch_folder(state):
        assert (theirs / "weights").read_text() == "secret"
    process.kill()
    process.wait()
    assert theirs.exists()
    with scratch_folder(state) as folder:
        assert list((state / SCRATCH).iterdir()) == [folder.parent]


def test_what_nobody_is_known_to_have_stays_for_a_week(state):
    young, old = (state / SCRATCH / name for name in ("young", "old"))
    for folder in (young, old):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    with scratch_folder(state):
        pass
    assert list((state / SCRATCH).iterdir()) == [young]
