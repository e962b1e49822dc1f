"""Moving versions through a storage."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager

import pytest

from kladml.datasets import DatasetReference, DatasetStore
from kladml.datasets.transfer import DatasetTransfer
from kladml.errors import DataError, StorageError
from kladml.files.scratch import SCRATCH
from kladml.testing.fakes import MemoryStorage


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.fixture
def transfer(store, storage):
    return DatasetTransfer(store, storage, "team")


@pytest.fixture
def elsewhere(tmp_path, storage):
    """The data sets of another machine with the same storage."""
    return DatasetTransfer(DatasetStore(tmp_path / "elsewhere"), storage, "team")


def reference(text):
    return DatasetReference.parse(text)


def test_only_what_is_missing_is_moved(transfer, elsewhere, store, tree):
    folder = tree({"a": b"one", "b": b"two", "c": b"one"})
    first, _ = store.add("blobs", folder)
    assert transfer.push(first) == 2
    assert transfer.push(first) == 0
    pulled, count = elsewhere.pull(reference("blobs"))
    assert (pulled, count) == (first, 2)
    (folder / "b").write_bytes(b"three")
    second, _ = store.add("blobs", folder)
    assert transfer.push(second) == 1
    assert transfer.versions("blobs") == [1, 2]
    assert elsewhere.pull(reference("blobs")) == (second, 1)
    assert elsewhere.pull(reference("blobs@1")) == (first, 0)
    assert elsewhere._store.verify(second) == []


def test_what_is_damaged_here_is_replaced(transfer, store, tree):
    version, _ = store.add("blobs", tree({"a": b"one", "b": b"two"}))
    transfer.push(version)
    path = store.objects.path(version.files[0].digest)
    path.chmod(0o644)
    path.write_bytes(b"six")
    with pytest.raises(DataError, match="is not what was added"):
        transfer.push(version)
    assert transfer.pull(reference("blobs@1")) == (version, 1)
    assert store.verify(version) == []


def test_a_content_that_is_damaged_there_never_counts(transfer, elsewhere, store, storage, tree, tmp_path):
    version, _ = store.add("blobs", tree({"a": b"one", "b": b"two"}))
    transfer.push(version)
    key = next(key for key in storage.list_files("team", "datasets/objects/") if version.files[1].digest[2:] in key)
    (tmp_path / "other").write_bytes(b"TWO")
    storage.upload_file(tmp_path / "other", "team", key)
    for said in ("the content of b in the storage is not what it was: it has 3 bytes", "it is not there"):
        with pytest.raises(DataError, match=said):
            elsewhere.pull(reference("blobs"))
        assert elsewhere._store.names() == []
        assert sorted(elsewhere._store.objects.digests()) == []
        storage.delete_file("team", key)


def test_two_versions_of_one_number_are_told_apart(transfer, elsewhere, store, tree):
    version, _ = store.add("blobs", tree({"a": b"one"}))
    transfer.push(version)
    other, _ = elsewhere._store.add("blobs", tree({"a": b"another"}, "other"))
    for move in (lambda: elsewhere.push(other), lambda: elsewhere.pull(reference("blobs@1"))):
        with pytest.raises(DataError, match=r"blobs@1 of this workspace .* is another one than that of the storage"):
            move()


def test_versions_that_differ_in_the_target_alone_are_told_apart(transfer, elsewhere, store, csv):
    data = csv("x,y,z", "1,2,3")
    transfer.push(store.add("rows", data, target="y")[0])
    other, _ = elsewhere._store.add("rows", data, target="z")
    for move in (lambda: elsewhere.push(other), lambda: elsewhere.pull(reference("rows@1"))):
        with pytest.raises(DataError, match=r"with the target z\) is another one than .* \(with the target y\)"):
            move()
    assert elsewhere._store.get("rows@1") == other


def test_a_version_that_is_not_there_is_said(transfer, elsewhere, store, tree):
    with pytest.raises(DataError, match="the storage has no version of 'blobs'"):
        elsewhere.pull(reference("blobs"))
    transfer.push(store.add("blobs", tree({"a": b"one"}))[0])
    with pytest.raises(DataError, match="the storage has no blobs@2; there is 1"):
        elsewhere.pull(reference("blobs@2"))


def test_a_removed_version_comes_back(transfer, store, tree):
    version, _ = store.add("blobs", tree({"a": b"one"}))
    transfer.push(version)
    store.remove(reference("blobs@1"))
    assert transfer.pull(reference("blobs@1")) == (version, 1)
    assert store.get("blobs") == version


def test_what_moves_is_told_and_nothing_is_written_outside(transfer, elsewhere, store, tree, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    version, _ = store.add("blobs", tree({"a": b"one", "b": b"three"}))
    told = []

    @contextmanager
    def progress(label, total):
        told.append((label, total, moved := []))
        yield moved.append

    transfer.push(version, progress)
    elsewhere.pull(reference("blobs"), progress)
    assert [(label, total, sum(moved)) for label, total, moved in told] == [
        ("pushing blobs@1", 8, 8),
        ("pulling blobs@1", 8, 8),
    ]
    for side in (transfer, elsewhere):
        assert [*(side._store.state / SCRATCH).iterdir()] == []


def test_a_storage_that_fails_midway_leaves_no_version(transfer, elsewhere, store, storage, tree, monkeypatch):
    version, _ = store.add("blobs", tree({"a": b"one", "b": b"two"}))
    upload, calls = storage.upload_file, []

    def failing(path, bucket, key):
        calls.append(key)
        if len(calls) == 2:
            problem = "the line is cut"
            raise StorageError(problem)
        return upload(path, bucket, key)

    monkeypatch.setattr(storage, "upload_file", failing)
    with pytest.raises(StorageError, match="cut"):
        transfer.push(version)
    assert transfer.versions("blobs") == []
    monkeypatch.undo()
    assert transfer.push(version) == 1
    assert elsewhere.pull(reference("blobs"))[0] == version
