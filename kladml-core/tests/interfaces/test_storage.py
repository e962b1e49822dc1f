from pathlib import Path

import pytest

from kladml.errors import CapabilityError, ObjectNotFoundError, StorageError
from kladml.interfaces import StorageInterface


class MinimalStorage(StorageInterface):
    """The three abstract methods and nothing more; it takes any key, as an object store does."""

    def __init__(self):
        self.files = {}

    def upload_file(self, local_path, bucket, key):
        self.files[bucket, key] = Path(local_path).read_bytes()
        return f"minimal:{bucket}/{key}"

    def download_file(self, bucket, key, local_path):
        if (bucket, key) not in self.files:
            raise ObjectNotFoundError(key)
        Path(local_path).parent.mkdir(parents=True, exist_ok=True)
        Path(local_path).write_bytes(self.files[bucket, key])
        return str(local_path)

    def list_files(self, bucket, prefix=""):
        return sorted(key for found, key in self.files if found == bucket and key.startswith(prefix))


@pytest.fixture
def storage():
    storage = MinimalStorage()
    storage.files = {("ml", key): key.encode() for key in ("runs/1/a", "runs/1/b/c", "runs/10/a", "top")}
    return storage


def files_below(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_interface_has_exactly_these_abstract_methods():
    assert StorageInterface.__abstractmethods__ == {"upload_file", "download_file", "list_files"}


def test_iteration_gives_what_the_list_gives(storage):
    assert list(storage.iter_files("ml", "runs/1/")) == ["runs/1/a", "runs/1/b/c"]
    assert list(storage.iter_files("ml")) == storage.list_files("ml")


def test_key_exists_as_a_whole_only(storage):
    assert storage.exists("ml", "runs/1/a")
    assert not storage.exists("ml", "runs/1")
    assert not storage.exists("ml", "runs/1/")
    assert not storage.exists("other", "runs/1/a")


def test_default_bucket_is_the_instances_own_if_it_has_one(storage):
    assert storage.default_bucket == "kladml"
    storage.bucket = "b"
    assert storage.default_bucket == "b"
    storage.bucket_name = "a"
    assert storage.default_bucket == "a"
    storage.bucket_name, storage.bucket = "", None
    assert storage.default_bucket == "kladml"


@pytest.mark.parametrize(("prefix", "start"), [("runs/3", "runs/3/"), ("runs/3/", "runs/3/"), ("", ""), ("/", "")])
def test_folder_goes_up_under_its_prefix_in_the_order_of_keys(tmp_path, prefix, start):
    for name in ("b/c", "b-d", "a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "empty").mkdir()
    storage = MinimalStorage()
    uris = storage.upload_directory(str(tmp_path), "ml", prefix)
    assert uris == [f"minimal:ml/{start}{name}" for name in ("a", "b-d", "b/c")]
    assert storage.files["ml", f"{start}b/c"] == b"b/c"


@pytest.mark.parametrize("name", ["absent", "file"])
def test_what_is_no_folder_does_not_go_up(tmp_path, name):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=r"there is no folder .* to upload; check the path"):
        MinimalStorage().upload_directory(tmp_path / name, "ml", "runs")


@pytest.mark.parametrize("prefix", ["runs/1", "runs/1/"])
def test_folder_comes_down_and_a_longer_name_does_not(storage, tmp_path, prefix):
    paths = storage.download_directory("ml", prefix, tmp_path / "copy")
    assert paths == [str(tmp_path / "copy" / name) for name in ("a", "b/c")]
    assert files_below(tmp_path) == {"copy/a": b"runs/1/a", "copy/b/c": b"runs/1/b/c"}


def test_whole_bucket_comes_down(storage, tmp_path):
    storage.download_directory("ml", "", str(tmp_path))
    assert files_below(tmp_path) == {key: content for (_, key), content in storage.files.items()}


def test_markers_of_folders_are_left_out(storage, tmp_path):
    storage.files["ml", "runs/1/"] = storage.files["ml", "runs/1/b/"] = b""
    storage.download_directory("ml", "runs/1", tmp_path)
    assert files_below(tmp_path) == {"a": b"runs/1/a", "b/c": b"runs/1/b/c"}


def test_prefix_that_nothing_has_brings_nothing(storage, tmp_path):
    assert storage.download_directory("ml", "runs/2", tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../escaped", "z/../../escaped", "/escaped", "z\\..\\..\\escaped", "..", "z/.."])
def test_key_that_would_leave_the_folder_is_refused_before_anything_is_copied(storage, tmp_path, name):
    storage.files["ml", f"runs/1/{name}"] = b"hostile"
    with pytest.raises(StorageError, match=r"would leave the folder .*rename or delete the object"):
        storage.download_directory("ml", "runs/1", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_optional_capabilities_say_that_they_are_missing(storage):
    with pytest.raises(CapabilityError, match=r"MinimalStorage cannot delete 'ml/top': it does not offer .*'delete'"):
        storage.delete_file("ml", "top")
    with pytest.raises(CapabilityError, match=r"cannot make a link to 'ml/top' that lasts 60 s: .*'presign'"):
        storage.presigned_url("ml", "top", expires_in=60)
