"""`data/datasets/` and the versions, kept in step both ways."""

from __future__ import annotations

import pytest

from kladml.datasets.folders import DatasetFolders
from kladml.errors import DataError


@pytest.fixture
def folders(store, tmp_path):
    root = tmp_path / "workspace/data/datasets"
    root.mkdir(parents=True)
    return DatasetFolders(store, root)


@pytest.fixture
def place(folders):
    return folders._root / "blobs"


def actions(folders, name="blobs"):
    synced = folders.sync(name)
    return synced.action, synced.version


def test_a_folder_becomes_versions(folders, place, store):
    place.mkdir()
    (place / "a").write_bytes(b"one")
    assert folders.names() == ["blobs"]
    assert actions(folders) == ("added", 1)
    assert actions(folders) == ("kept", 1)
    (place / "a").write_bytes(b"two")
    assert folders.sync("blobs", only_look=True).action == "added"
    assert actions(folders) == ("added", 2)
    assert store.get("blobs@1").fingerprint != store.get("blobs@2").fingerprint


def test_a_data_set_gets_a_folder_that_follows_it(folders, place, store, tree):
    source = tree({"a": b"one", "deep/b": b"two"})
    store.add("blobs", source)
    assert folders.sync("blobs", only_look=True).action == "written"
    assert not place.exists()
    assert actions(folders) == ("written", 1)
    assert (place / "deep/b").read_bytes() == b"two"
    (source / "a").write_bytes(b"three")
    (source / "deep/b").unlink()
    store.add("blobs", source)
    assert actions(folders) == ("written", 2)
    assert sorted(path.name for path in place.rglob("*") if path.is_file()) == ["a"]
    assert actions(folders) == ("kept", 2)


def test_what_was_changed_in_the_folder_is_never_overwritten(folders, place, store, tree):
    source = tree({"a": b"one"})
    first, _ = store.add("blobs", source)
    folders.sync("blobs")
    (place / "a").write_bytes(b"my own")
    (source / "a").write_bytes(b"two")
    store.add("blobs", source)
    assert actions(folders) == ("added", 3)
    assert store.files_of(store.get("blobs@3").files)[0].path.read_bytes() == b"my own"
    assert store.verify(first) == []


def test_old_content_that_comes_back_is_a_version_of_its_own(folders, place):
    place.mkdir()
    for content in (b"one", b"two", b"one"):
        (place / "a").write_bytes(content)
        folders.sync("blobs")
    assert actions(folders) == ("kept", 3)


def test_hidden_files_of_a_folder_are_not_lost(folders, place, store, tree):
    source = tree({"a": b"one"})
    store.add("blobs", source)
    folders.sync("blobs")
    (place / ".git").mkdir()
    (source / "a").write_bytes(b"two")
    store.add("blobs", source)
    with pytest.raises(DataError, match=r"because it also holds .git"):
        folders.sync("blobs")
    assert (place / "a").read_bytes() == b"one"


def test_nothing_there_is_said(folders):
    with pytest.raises(DataError, match="there is no data set 'blobs', and nothing in"):
        folders.sync("blobs")
