"""Moving files to and from storages that tell how far they are, and those that do not."""

from __future__ import annotations

import pytest

from kladml.errors import StorageError
from kladml.interfaces.telling import download_telling, upload_telling
from kladml.testing.fakes import MemoryStorage


class Telling(MemoryStorage):
    """Tells of halves."""

    def upload_file(self, local_path, bucket, key, tell=None):
        uri = super().upload_file(local_path, bucket, key)
        return self._told(uri, self.files[bucket, key], tell)

    def download_file(self, bucket, key, local_path, tell=None):
        path = super().download_file(bucket, key, local_path)
        return self._told(path, self.files[bucket, key], tell)

    def _told(self, result, content, tell):
        if tell is not None:
            tell(len(content) // 2)
            tell(len(content) - len(content) // 2)
        return result


class Overriding(Telling):
    """Knows nothing of telling, as classes that were written before."""

    def upload_file(self, local_path, bucket, key):
        return super().upload_file(local_path, bucket, f"other/{key}")


@pytest.mark.parametrize(("storage", "told"), [(MemoryStorage(), [5]), (Telling(), [2, 3])])
def test_a_storage_that_can_tells_on_the_way_and_others_at_the_end(storage, told, tmp_path):
    (tmp_path / "in").write_bytes(b"abcde")
    up, down = [], []
    assert upload_telling(storage, tmp_path / "in", "b", "k", up.append) == "memory://b/k"
    assert download_telling(storage, "b", "k", tmp_path / "out", down.append) == str(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"abcde"
    assert (up, down) == (told, told)


def test_a_subclass_that_overrides_without_telling_is_asked_all_the_same(tmp_path):
    (tmp_path / "in").write_bytes(b"abcde")
    storage, told = Overriding(), []
    upload_telling(storage, tmp_path / "in", "b", "k", told.append)
    assert list(storage.files) == [("b", "other/k")]
    assert told == [5]


def test_what_fails_is_not_told(tmp_path):
    told = []
    with pytest.raises(StorageError):
        download_telling(MemoryStorage(), "b", "absent", tmp_path / "out", told.append)
    with pytest.raises(StorageError):
        upload_telling(MemoryStorage(), tmp_path / "absent", "b", "k", told.append)
    assert told == []
