"""Copying the files of a run to another storage."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime

import pytest

from kladml.errors import StorageError
from kladml.files.scratch import SCRATCH
from kladml.history.copying import Place, bytes_to_copy, copy_files, files_of
from kladml.history.pages import RunPage
from kladml.interfaces import CatalogRun, RunAddress
from kladml.runner.record import RunRecord
from kladml.testing.fakes import MemoryStorage

ADDRESS = "shop/nets/digits@1"
CONTENT = {"model/model.safetensors": b"weights", "config.yaml": b"a: 1"}


@pytest.fixture
def state(tmp_path, monkeypatch):
    """A workspace's folder, without which nothing may be written."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    return tmp_path / ".kladml"


@pytest.fixture
def page(tmp_path):
    address, now = RunAddress.parse(ADDRESS), datetime.now(UTC)
    folder = tmp_path / "run"
    for name, content in CONTENT.items():
        file = folder / "artifacts" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    run = CatalogRun(address, "1", "FINISHED", now, now, {}, {})
    return RunPage(run, RunRecord(ADDRESS, "1", "FINISHED", now.isoformat()), folder)


def place():
    return Place("memory", MemoryStorage(), "bucket")


def test_from_the_folder_to_a_storage_and_on_to_another_one(page, state):
    first, second = place(), place()
    moved = []
    copied = copy_files(page, None, first, moved.append, state)
    assert sorted(copied.sha256) == [f"shop/nets/digits/1/{name}" for name in sorted(CONTENT)]
    assert sum(moved) == bytes_to_copy(page, None) == 2 * sum(map(len, CONTENT.values()))
    assert sorted(files_of(page, first)) == sorted(CONTENT)
    moved.clear()
    copy_files(page, first, second, moved.append, state)
    assert second.storage.files == first.storage.files
    assert sum(moved) == 3 * sum(map(len, CONTENT.values()))
    assert bytes_to_copy(page, first) is None
    assert list((state / SCRATCH).iterdir()) == []


def test_what_is_there_already_is_only_read(page, state):
    target, moved = place(), []
    copy_files(page, None, target, state=state)
    again = copy_files(page, None, target, moved.append, state)
    assert len(again.already_there) == len(CONTENT)
    assert sum(moved) == bytes_to_copy(page, None)


def test_another_file_there_stays_and_nothing_is_left_behind(page, state):
    target = place()
    target.storage.files["bucket", "shop/nets/digits/1/config.yaml"] = b"b: 2"
    with pytest.raises(StorageError, match="is another file"):
        copy_files(page, None, target, state=state)
    assert target.storage.files["bucket", "shop/nets/digits/1/config.yaml"] == b"b: 2"
    assert list((state / SCRATCH).iterdir()) == []
