"""The part of the storage contract about keys: odd ones are kept, hostile ones never leave the bucket."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

import pytest

from kladml.errors import StorageError
from kladml.testing.backend import BackendContract

if TYPE_CHECKING:
    from pathlib import Path

    from kladml.interfaces import StorageInterface

Put = Callable[..., str]
"""`put(key, content=b"x", bucket=bucket)` stores bytes and returns the URI."""
Read = Callable[..., bytes]
"""`read(key, bucket=bucket)` returns the stored bytes."""

ODD_NAMES = (
    "with space.bin",
    "modèle-模型-🚀.bin",
    "a+b%20c&d=e#f.bin",
    "deep/er/and/deeper/still/model.bin",
    ".hidden",
    "-starts-with-a-dash",
    "name." + "x" * 150,
)


class StorageKeysContract(BackendContract):
    """The fixtures of the storage contract and its rules for keys; subclass `StorageContract` instead."""

    kind: ClassVar[str] = "storage"
    optional: ClassVar[Mapping[str, tuple[str, ...]]] = {"delete": ("delete_file",), "presign": ("presigned_url",)}

    @pytest.fixture
    def storage(self) -> StorageInterface:
        """The storage under test: a new object for each case, which the fixture may close afterwards."""
        raise NotImplementedError(self._missing("storage"))

    @pytest.fixture
    def backend(self, storage: StorageInterface) -> StorageInterface:
        """The storage, for the rules of all kinds."""
        return storage

    @pytest.fixture
    def bucket(self) -> str:
        """A bucket that can be written; override it where buckets must be made first."""
        return "kladml-contract"

    @pytest.fixture
    def other_bucket(self, bucket: str) -> str:
        """Another bucket that can be written."""
        return f"{bucket}-other"

    @pytest.fixture
    def absent_bucket(self, bucket: str) -> str:
        """A bucket that does not exist."""
        return f"{bucket}-absent"

    @pytest.fixture
    def prefix(self) -> str:
        """How the keys of one case start, so that cases do not meet in a bucket that outlives them."""
        return f"contract/{uuid.uuid4().hex}/"

    @pytest.fixture
    def local_dir(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """An empty folder of this machine; not `tmp_path`, in which a storage under test may keep its files."""
        return tmp_path_factory.mktemp("local")

    @pytest.fixture
    def put(self, storage: StorageInterface, bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Put:
        """Store bytes under a key."""

        def put(key: str, content: bytes = b"x", into: str = bucket) -> str:
            local = tmp_path_factory.getbasetemp() / uuid.uuid4().hex
            local.write_bytes(content)
            uri = storage.upload_file(local, into, key)
            local.unlink(missing_ok=True)
            return uri

        return put

    @pytest.fixture
    def read(self, storage: StorageInterface, bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Read:
        """Read the bytes under a key."""

        def read(key: str, source: str = bucket) -> bytes:
            local = tmp_path_factory.getbasetemp() / uuid.uuid4().hex
            storage.download_file(source, key, local)
            content = local.read_bytes()
            local.unlink()
            return content

        return read

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_odd_keys_are_kept_as_they_are(
        self, storage: StorageInterface, put: Put, read: Read, bucket: str, prefix: str, name: str
    ) -> None:
        """Spaces, other scripts, escapes of URLs and long names come back as they were given."""
        put(f"{prefix}{name}", b"content")
        assert storage.list_files(bucket, prefix) == [f"{prefix}{name}"]
        assert read(f"{prefix}{name}") == b"content"

    def test_key_below_another_key(
        self, storage: StorageInterface, put: Put, read: Read, bucket: str, prefix: str
    ) -> None:
        """Where `a` is a file, `a/b` is stored beside it or refused with `StorageError`; `a` is never lost."""
        put(f"{prefix}a", b"first")
        try:
            put(f"{prefix}a/b", b"second")
        except StorageError:
            assert storage.list_files(bucket, prefix) == [f"{prefix}a"]
        else:
            assert read(f"{prefix}a/b") == b"second"
            assert storage.list_files(bucket, prefix) == [f"{prefix}a", f"{prefix}a/b"]
        assert read(f"{prefix}a") == b"first"

    @pytest.mark.parametrize("shape", ["", "/", ".", "..", "a//b", "a/./b", "a/../b", "a/", "a\0b"])
    def test_malformed_key_is_refused_or_kept(
        self, storage: StorageInterface, put: Put, read: Read, bucket: str, prefix: str, shape: str
    ) -> None:
        """A key that is no relative POSIX path is refused with `StorageError`, or kept exactly as it is.

        A storage that tidies it up instead (`a/../b` to `b`) would overwrite another file.
        """
        key = f"{prefix}{shape}" if shape else ""
        put(f"{prefix}b", b"mine")
        put(f"{prefix}a/b", b"mine")
        try:
            put(key, b"hostile")
        except StorageError:
            pass
        else:
            assert key in storage.list_files(bucket)
            assert read(key) == b"hostile"
        assert read(f"{prefix}b") == b"mine"
        assert read(f"{prefix}a/b") == b"mine"

    @pytest.mark.parametrize("climb", ["../{other}/", "a/../../{other}/", "/../{other}/", "./../{other}/"])
    def test_key_does_not_climb_into_another_bucket(
        self,
        storage: StorageInterface,
        put: Put,
        read: Read,
        bucket: str,
        other_bucket: str,
        prefix: str,
        climb: str,
    ) -> None:
        """`..` reaches no other bucket, neither to read, nor to list, nor to write there."""
        put(f"{prefix}theirs", b"theirs", other_bucket)
        up = climb.format(other=other_bucket)
        with pytest.raises(StorageError):
            read(f"{up}{prefix}theirs")
        assert self._listed(storage, bucket, up) == []
        for name in ("theirs", "new"):
            try:
                put(f"{up}{prefix}{name}", b"hostile")
            except StorageError:
                continue
            assert read(f"{up}{prefix}{name}") == b"hostile"
        assert storage.list_files(other_bucket, prefix) == [f"{prefix}theirs"]
        assert read(f"{prefix}theirs", other_bucket) == b"theirs"

    def test_absolute_key_does_not_reach_the_disk(
        self, storage: StorageInterface, put: Put, read: Read, bucket: str, local_dir: Path
    ) -> None:
        """An absolute path as a key neither reads, nor lists, nor writes that file of this machine."""
        mine = local_dir / "mine.txt"
        mine.write_bytes(b"mine")
        with pytest.raises(StorageError):
            read(mine.as_posix())
        assert self._listed(storage, bucket, local_dir.as_posix()) == []
        for target in (mine, local_dir / "new" / "file.txt"):
            try:
                put(target.as_posix(), b"hostile")
            except StorageError:
                continue
            assert read(target.as_posix()) == b"hostile"
        assert mine.read_bytes() == b"mine"
        assert list(local_dir.iterdir()) == [mine]

    def test_bucket_does_not_climb_into_another_bucket(
        self, storage: StorageInterface, put: Put, read: Read, other_bucket: str, prefix: str
    ) -> None:
        """The name of a bucket is no path: `x/../other` is refused with `StorageError`, or is not `other`."""
        put(f"{prefix}theirs", b"theirs", other_bucket)
        hostile = f"x/../{other_bucket}"
        with pytest.raises(StorageError):
            read(f"{prefix}theirs", hostile)
        assert self._listed(storage, hostile, prefix) == []
        try:
            put(f"{prefix}theirs", b"hostile", hostile)
        except StorageError:
            pass
        else:
            assert read(f"{prefix}theirs", hostile) == b"hostile"
        assert read(f"{prefix}theirs", other_bucket) == b"theirs"

    @staticmethod
    def _listed(storage: StorageInterface, bucket: str, prefix: str) -> list[str]:
        try:
            return storage.list_files(bucket, prefix)
        except StorageError:
            return []
