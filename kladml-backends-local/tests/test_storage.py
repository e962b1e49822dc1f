"""The storage in folders."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kladml.errors import ObjectNotFoundError, StorageError
from kladml.interfaces import BackendContext
from kladml.testing import StorageContract
from kladml.workspace import Workspace
from kladml_backends_local import LocalStorage
from kladml_backends_local.atomic import TEMPORARY_PREFIX
from kladml_backends_local.settings import LocalStorageSettings

if TYPE_CHECKING:
    from pathlib import Path

UPLOAD = """
import sys
from kladml_backends_local import LocalStorage
LocalStorage(sys.argv[1]).upload_file(sys.argv[2], "runs", "3/model.bin")
"""


class TestLocalStorage(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path):
        return LocalStorage(tmp_path / "data")


@pytest.fixture
def storage(tmp_path):
    return LocalStorage(tmp_path / "data")


@pytest.fixture
def local(tmp_path):
    path = tmp_path / "local.bin"
    path.write_bytes(b"content")
    return path


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


def test_buckets_are_folders_below_the_root(storage, local):
    uri = storage.upload_file(local, "runs", "3/model.bin")
    stored = storage.root / "runs" / "3" / "model.bin"
    assert stored.read_bytes() == b"content"
    assert uri == stored.as_uri()
    assert uri.startswith("file:///")


def test_default_root_is_the_workspaces_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert LocalStorage().root == tmp_path / "data"
    assert Workspace.find().root == tmp_path


def test_settings_are_relative_to_the_workspace(tmp_path):
    context = BackendContext(workspace=tmp_path)
    assert LocalStorage.from_settings(LocalStorageSettings(), context).root == tmp_path / "data"
    absolute = LocalStorageSettings(root=str(tmp_path / "elsewhere"))
    assert LocalStorage.from_settings(absolute, context).root == tmp_path / "elsewhere"
    assert LocalStorage.from_settings(LocalStorageSettings("a/b"), context).root == tmp_path / "a" / "b"


def test_run_files_go_to_the_bucket_runs(storage):
    assert storage.default_bucket == "runs"
    assert repr(storage) == f"LocalStorage({str(storage.root)!r})"


@given(key=st.one_of(st.text(max_size=12), st.lists(st.sampled_from(["..", "a", "", ".", "\\", "x"])).map("/".join)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
def test_no_key_writes_outside_of_its_bucket(storage, local, tmp_path, key):
    before = files_below(tmp_path)
    try:
        storage.upload_file(local, "runs", key)
    except StorageError:
        assert files_below(tmp_path) == before
        return
    assert storage.list_files("runs") == [key]
    assert [path for path in files_below(tmp_path) if path not in before] == [storage.root / "runs" / key]
    storage.delete_file("runs", key)
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("bucket", ["", ".", "..", "a/b", "/root", "a\\b", ".hidden", "a.", "x" * 101, "naïve", "C:"])
def test_malformed_bucket_is_refused_everywhere(storage, local, bucket):
    for use in (
        lambda: storage.upload_file(local, bucket, "key"),
        lambda: storage.download_file(bucket, "key", local),
        lambda: storage.list_files(bucket),
        lambda: storage.exists(bucket, "key"),
        lambda: storage.delete_file(bucket, "key"),
    ):
        with pytest.raises(StorageError, match="bucket"):
            use()
    assert local.read_bytes() == b"content"


@pytest.mark.parametrize("where", ["runs", "runs/link", "runs/3/link"])
def test_link_out_of_the_root_is_neither_written_nor_read_nor_listed(storage, local, tmp_path, where):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    link = storage.root / where
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    key = f"{where}/secret".removeprefix("runs/")
    for use in (
        lambda: storage.upload_file(local, "runs", key),
        lambda: storage.download_file("runs", key, local),
        lambda: storage.exists("runs", key),
        lambda: storage.delete_file("runs", key),
    ):
        with pytest.raises(StorageError, match="symbolic link"):
            use()
    if where == "runs":
        with pytest.raises(StorageError, match="symbolic link"):
            storage.list_files("runs")
    else:
        assert storage.list_files("runs") == storage.list_files("runs", key) == []
    assert (outside / "secret").read_bytes() == b"secret"
    assert local.read_bytes() == b"content"


def test_link_to_a_file_outside_is_not_read(storage, local, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    storage.upload_file(local, "runs", "a")
    (storage.root / "runs" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(StorageError, match="symbolic link"):
        storage.download_file("runs", "link", local)
    assert storage.list_files("runs") == ["a"]


def test_listing_of_a_loop_of_folders_ends(storage, local):
    storage.upload_file(local, "runs", "a/b")
    (storage.root / "runs" / "a" / "loop").symlink_to("..")
    assert storage.list_files("runs") == ["a/b"]


def test_unfinished_file_is_not_listed_and_no_key(storage, local):
    storage.upload_file(local, "runs", "3/model.bin")
    (storage.root / "runs" / "3" / f"{TEMPORARY_PREFIX}1").write_bytes(b"half")
    assert storage.list_files("runs") == ["3/model.bin"]
    assert storage.list_files("runs", f"3/{TEMPORARY_PREFIX}") == []
    for key in (f"3/{TEMPORARY_PREFIX}1", f"{TEMPORARY_PREFIX}folder/model.bin"):
        with pytest.raises(StorageError, match="unfinished"):
            storage.upload_file(local, "runs", key)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of a process's files")
def test_full_disk_leaves_the_old_file_and_says_which(start_python, storage, local, tmp_path):
    storage.upload_file(local, "runs", "3/model.bin")
    large = tmp_path / "large.bin"
    large.write_bytes(b"x" * 3_000_000)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))"
    process = start_python(limit + UPLOAD, storage.root, large)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    last = errors.strip().splitlines()[-1]
    assert "StorageError" in last
    assert str(storage.root / "runs" / "3" / "model.bin") in last
    assert files_below(storage.root) == [storage.root / "runs" / "3" / "model.bin"]
    assert (storage.root / "runs" / "3" / "model.bin").read_bytes() == b"content"


def test_root_that_cannot_be_made_is_said_by_check(blocked, local):
    storage = LocalStorage(blocked)
    with pytest.raises(StorageError, match="cannot be written to") as caught:
        storage.check()
    assert str(blocked) in str(caught.value)
    assert "kladml-backends-local" in str(caught.value)
    with pytest.raises(StorageError, match=str(local)):
        storage.upload_file(local, "runs", "key")
    assert storage.list_files("runs") == []


def test_check_leaves_nothing_behind(storage):
    storage.check()
    assert list(storage.root.iterdir()) == []


def test_key_below_a_file_is_refused_and_both_stay_readable(storage, local):
    storage.upload_file(local, "runs", "a")
    with pytest.raises(StorageError, match="runs/a/b"):
        storage.upload_file(local, "runs", "a/b")
    with pytest.raises(ObjectNotFoundError):
        storage.download_file("runs", "a/b", local)
    assert storage.list_files("runs") == ["a"]


def test_key_above_a_file_is_refused(storage, local):
    storage.upload_file(local, "runs", "a/b")
    with pytest.raises(StorageError, match="runs/a"):
        storage.upload_file(local, "runs", "a")
    assert storage.list_files("runs") == ["a/b"]


def test_name_that_the_file_system_refuses_is_a_storage_error(storage, local):
    long = "x" * 300
    for use in (
        lambda: storage.upload_file(local, "runs", long),
        lambda: storage.download_file("runs", long, local),
        lambda: storage.exists("runs", long),
        lambda: storage.delete_file("runs", long),
    ):
        with pytest.raises(StorageError):
            use()


def test_delete_prunes_empty_folders_up_to_the_bucket(storage, local):
    storage.upload_file(local, "runs", "a/b/c/one")
    storage.upload_file(local, "runs", "a/two")
    storage.delete_file("runs", "a/b/c/one")
    assert [path.name for path in (storage.root / "runs" / "a").iterdir()] == ["two"]
    storage.delete_file("runs", "a/two")
    assert list((storage.root / "runs").iterdir()) == []


def test_delete_of_a_folder_deletes_nothing(storage, local):
    storage.upload_file(local, "runs", "a/b")
    storage.delete_file("runs", "a")
    storage.delete_file("absent", "a")
    assert storage.list_files("runs") == ["a/b"]


def test_upload_survives_a_delete_that_prunes_its_folder(run_python, storage, local):
    """Between making the folder and the file, another process deletes the last file and prunes the folder."""
    prune = f"""
import os, sys
from pathlib import Path

times = []
def prune(event, arguments):
    if event == "open" and "{TEMPORARY_PREFIX}" in str(arguments[0]) and len(times) < 2:
        times.append(arguments[0])
        os.removedirs(Path(arguments[0]).parent)

sys.addaudithook(prune)
"""
    run_python(prune + UPLOAD + "assert len(times) == 2", storage.root, local)
    assert storage.list_files("runs") == ["3/model.bin"]
