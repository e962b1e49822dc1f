"""A store of data sets and the catalog that numbers its versions."""

from __future__ import annotations

import pytest

from kladml.datasets import DatasetReference, DatasetStore
from kladml.datasets.catalog_sync import sync_catalog
from kladml.datasets.folders import DatasetFolders
from kladml.datasets.transfer import DatasetTransfer
from kladml.errors import CatalogError, DataError
from kladml.interfaces import CatalogInterface
from kladml.testing.fakes import MemoryCatalog, MemoryStorage
from kladml.testing.faults import failing


@pytest.fixture
def catalog():
    return MemoryCatalog()


@pytest.fixture
def store(tmp_path, catalog):
    return DatasetStore(tmp_path / "workspace/.kladml", catalog)


@pytest.fixture
def other(tmp_path, catalog):
    """Another workspace with the same catalog."""
    return DatasetStore(tmp_path / "other/.kladml", catalog)


def files_in(store):
    return [path for path in store.state.rglob("*") if path.is_file() and path.parent.name != ".lock"]


def known(catalog, name="blobs"):
    return [version.number for version in catalog.list_datasets(name)]


def synced(store, name="blobs", **options):
    return [(row.action, row.version) for row in sync_catalog(store, name, **options)]


def test_two_workspaces_never_give_a_number_to_two_contents(store, other, tree):
    for number in range(1, 5):
        here, there = tree({"a": b"%d" % number}, "here"), tree({"a": b"%d" % -number}, "there")
        assert store.add("blobs", here)[0].version == 2 * number - 1
        assert other.add("blobs", there)[0].version == 2 * number
    assert other.add("blobs", here)[0].version == 9, "an older content becomes the latest version once more"
    assert store.add("blobs", there)[0].version == 8, "a version of others that is newer than one's own is the same"


def test_catalog_without_the_capability_changes_nothing(tmp_path, tree):
    class Plain(MemoryCatalog):
        capabilities = frozenset({"resume", "organise"})
        add_dataset = CatalogInterface.add_dataset
        note_dataset = CatalogInterface.note_dataset
        list_datasets = CatalogInterface.list_datasets
        remove_dataset = CatalogInterface.remove_dataset

    for catalog in (Plain(), None):
        store = DatasetStore(tmp_path / str(catalog is None), catalog)
        assert store.add("blobs", tree({"a": b"one"}))[0].version == 1
        assert store.add("blobs", tree({"a": b"two"}))[0].version == 2
        store.remove(DatasetReference("blobs", 2))
        assert not store.shared.available
        assert synced(store) == []


@pytest.mark.parametrize("method", ["check", "add_dataset"])
def test_catalog_that_is_away_keeps_anything_from_being_kept(store, catalog, tree, method):
    folder = tree({"a": b"one", "b": b"two"})
    with failing(catalog, method, CatalogError("the server is gone")), pytest.raises(CatalogError, match="gone"):
        store.add("blobs", folder)
    assert files_in(store) == []
    assert store.names() == []
    assert store.add("blobs", folder)[0].version == 1


def test_version_that_cannot_be_kept_is_not_in_the_catalog(store, catalog, tree):
    folder = tree({"a": b"one"})
    with failing(store, "_write", OSError(28, "No space left on device")), pytest.raises(DataError, match="No space"):
        store.add("blobs", folder)
    assert (known(catalog), files_in(store)) == ([], [store.state / "datasets/blobs/.1.seals"])
    assert store.add("blobs", folder)[0].version == 2
    assert known(catalog) == [2]


def test_number_of_a_killed_process_goes_to_the_same_content(store, other, catalog, tree, caplog):
    """It was killed between the catalog and the manifest: the catalog knows a version that nobody has."""
    folder = tree({"a": b"one"})
    with (
        failing(store, "_write", KeyboardInterrupt()),
        failing(catalog, "remove_dataset", CatalogError("the server is gone")),
        pytest.raises(KeyboardInterrupt),
    ):
        store.add("blobs", folder)
    assert "the catalog still knows blobs@1, which was not kept" in caplog.text
    assert known(catalog) == [1]
    assert synced(store) == [("elsewhere", 1)]
    assert other.add("blobs", tree({"a": b"two"}, "another"))[0].version == 2
    assert store.add("blobs", folder)[0].version == 1


def test_removing_that_is_interrupted_is_mended_by_a_sync(store, catalog, tree):
    version, _ = store.add("blobs", tree({"a": b"one"}))
    with failing(store, "_write", OSError(28, "No space left on device")), pytest.raises(OSError, match="No space"):
        store.remove(version.reference)
    assert known(catalog) == []
    assert store.get("blobs@1") == version
    assert synced(store, only_look=True) == [("noted", 1)]
    assert known(catalog) == []
    assert synced(store) == [("noted", 1)]
    assert known(catalog) == [1]
    assert synced(store) == []
    store.remove(version.reference)
    assert (known(catalog), synced(store)) == ([], [])


def test_what_others_removed_is_known_again_while_somebody_has_it(store, other, catalog, tree):
    folder = tree({"a": b"one"})
    version, _ = store.add("blobs", folder)
    other.add("blobs", folder)
    store.remove(version.reference)
    assert known(catalog) == []
    assert synced(other) == [("noted", 1)]
    assert synced(store) == [], "what was removed here on purpose is not offered again"


def test_adding_again_tells_the_catalog(tmp_path, store, catalog, tree):
    folder = tree({"a": b"one"})
    version, _ = DatasetStore(store.state).add("blobs", folder)
    assert store.add("blobs", folder) == (version, False)
    assert known(catalog) == [1]


def test_another_content_of_a_number_is_left_alone(store, other, catalog, tree):
    store.add("blobs", tree({"a": b"one"}))
    alone = DatasetStore(other.state)
    mine, _ = alone.add("blobs", tree({"a": b"two"}))
    assert synced(other) == [("failed", 1)]
    with pytest.raises(DataError, match="is another one than that of the catalog"):
        other.add("blobs", tree({"a": b"two"}))
    other.remove(mine.reference)
    assert known(catalog) == [1]


def test_pushing_and_pulling_say_where_a_version_is(store, other, catalog, tree):
    storage = MemoryStorage()
    here, there = (DatasetTransfer(each, storage, "team", "s3") for each in (store, other))
    version, _ = store.add("blobs", tree({"a": b"one"}))
    with failing(storage, "upload_file", OSError("no")), pytest.raises(OSError, match="no"):
        here.push(version)
    assert catalog.get_dataset("blobs", 1).storage is None
    here.push(version)
    assert catalog.get_dataset("blobs", 1).storage == "s3/team"
    store.remove(version.reference)
    assert known(catalog) == [1], "others can pull it still"
    assert there.pull(DatasetReference("blobs"))[0] == version
    assert there.push(version) == 0
    other.remove(version.reference, everywhere=True)
    assert known(catalog) == []
    there.pull(DatasetReference("blobs"))
    assert catalog.get_dataset("blobs", 1).storage == "s3/team"


def test_pulling_what_the_catalog_knows_as_something_else_is_refused(store, other, tree):
    storage = MemoryStorage()
    alone = DatasetStore(other.state.parent / "alone")
    DatasetTransfer(alone, storage, "team").push(alone.add("blobs", tree({"a": b"two"}))[0])
    store.add("blobs", tree({"a": b"one"}))
    with pytest.raises(DataError, match="is another one than that of the catalog"):
        DatasetTransfer(other, storage, "team").pull(DatasetReference("blobs"))
    assert (other.names(), files_in(other)) == ([], [])


def test_folder_gets_the_number_of_the_catalog(store, other, tree, tmp_path):
    other.add("blobs", tree({"a": b"one"}))
    folder = tmp_path / "data/blobs"
    folder.mkdir(parents=True)
    (folder / "a").write_bytes(b"two")
    folders = DatasetFolders(store, tmp_path / "data")
    assert folders.sync("blobs", only_look=True).version == 2
    assert folders.sync("blobs").version == 2
    assert folders.sync("blobs").action == "kept"
