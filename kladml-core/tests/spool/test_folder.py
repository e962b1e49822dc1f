"""The folder of a run."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kladml.interfaces import RUN_STATUSES
from kladml.spool.folder import POSITION, RUN, Position, SpoolFolder, spooled_runs
from kladml.spool.segments import SegmentPool


def test_run_comes_back(folder, run):
    changed = replace(run, experiment_name="naïve 模型", goes_on=True, remote_id="7")
    assert folder.read_run() == run
    folder.write_run(changed)
    assert folder.read_run() == changed
    assert [path.name for path in folder.path.iterdir()] == [RUN]


def test_run_of_a_later_version_is_read(folder, run):
    content = json.loads((folder.path / RUN).read_text())
    (folder.path / RUN).write_text(json.dumps(content | {"colour": "red"}))
    assert folder.read_run() == run


def test_folder_without_a_run_is_nobodys(tmp_path, said):
    assert SpoolFolder(tmp_path / "absent").read_run() is None
    assert said() == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b"null"])
def test_unreadable_run_is_said_and_left(folder, said, content):
    (folder.path / RUN).write_bytes(content)
    assert folder.read_run() is None
    assert "what was recorded beside it stays there" in said()[0]
    assert spooled_runs(folder.path.parent) == []
    assert folder.path.exists()


@given(segment=st.integers(1, 2**40), offset=st.integers(0, 2**40), status=st.sampled_from(["", *RUN_STATUSES]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_delivered_comes_back(folder, segment, offset, status):
    folder.save_delivered(Position(segment, offset), status)
    delivered = folder.delivered()
    assert (delivered.position, delivered.status) == (Position(segment, offset), status)
    assert delivered.at_ms > 1_700_000_000_000


def test_each_damage_of_the_position_means_that_nothing_is_known_to_be_delivered(folder):
    """Delivering twice changes nothing, and delivering too little loses records."""
    folder.save_delivered(Position(3, 100), "FINISHED")
    SegmentPool(folder.path, 4096).make(2).close()
    whole = (folder.path / POSITION).read_bytes()
    for content in [whole[:size] for size in range(len(whole))] + [
        whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :] for place in range(len(whole))
    ]:
        (folder.path / POSITION).write_bytes(content)
        assert (folder.delivered().position, folder.delivered().status) == (Position(2), "")
    (folder.path / POSITION).unlink()
    assert folder.delivered().position == Position(2)


def test_position_that_cannot_be_written_ends_nothing(tmp_path):
    (tmp_path / "file").touch()
    SpoolFolder(tmp_path / "file").save_delivered(Position(), "")


def test_sync_brings_later_segments_to_the_disk(folder, monkeypatch):
    pool = SegmentPool(folder.path, 4096)
    for number in (1, 2, 3):
        pool.make(number).close()
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(fsync(descriptor)))
    folder.sync(2)
    assert len(synced) == 2


def test_runs_are_those_with_a_run_in_them_the_oldest_first(tmp_path, run):
    for number, started in ((1, 300), (2, 100), (3, 200)):
        run_id = f"{number:032x}"
        SpoolFolder(tmp_path / run_id).write_run(replace(run, run_id=run_id, started_ms=started))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert [int(folder.path.name, 16) for folder in spooled_runs(tmp_path)] == [2, 3, 1]
    assert spooled_runs(tmp_path / "absent") == []


def test_removed_folder_is_gone_at_once(folder, run, monkeypatch):
    """A process that dies in the middle of removing it leaves no run without its position, which looks killed."""
    import shutil

    (folder.path / "files").mkdir()
    (folder.path / "files" / "a").touch()
    rmtree = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    folder.remove()
    assert not folder.path.exists()
    assert spooled_runs(folder.path.parent) == []
    monkeypatch.setattr(shutil, "rmtree", rmtree)


def test_removing_twice_is_harmless(folder):
    folder.remove()
    folder.remove()
    assert list(folder.path.parent.iterdir()) == []
