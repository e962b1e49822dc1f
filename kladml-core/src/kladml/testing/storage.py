"""The contract of storages."""

from __future__ import annotations

import re
import urllib.request
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kladml.errors import CapabilityError, ObjectNotFoundError, StorageError
from kladml.interfaces.telling import download_telling, upload_telling
from kladml.testing.comparison import difference
from kladml.testing.storage_keys import StorageKeysContract

if TYPE_CHECKING:
    from kladml.interfaces import StorageInterface
    from kladml.testing.storage_keys import Put, Read

_EVERY_BYTE = bytes(range(256))


class StorageContract(StorageKeysContract):
    """The rules for a storage. A subclass defines the fixture `storage`.

    A bucket may already hold other files: each case keeps to a prefix of its own. Fixtures that may be
    overridden: `bucket`, `other_bucket` (two buckets that can be written), `absent_bucket` (one that does not
    exist), `many` (how many small files a long listing has) and `large` (bytes in a large file).
    """

    @pytest.fixture
    def many(self) -> int:
        """Number of files in a long listing; more than 1,000, where services start a second page."""
        return 1_100

    @pytest.fixture
    def large(self) -> int:
        """Number of bytes in a large file; more than the 8 MiB at which clients start multipart uploads."""
        return 9 * 2**20

    # Files, there and back

    @pytest.mark.parametrize("size", [0, 1, 300_000])
    def test_round_trip_keeps_every_byte(self, put: Put, read: Read, prefix: str, size: int) -> None:
        """A file comes back as it was, whatever its bytes and also when it is empty."""
        content = (_EVERY_BYTE * (size // 256 + 1))[:size]
        put(f"{prefix}model.bin", content)
        assert difference(read(f"{prefix}model.bin"), content) is None

    def test_large_file_comes_back_whole(self, put: Put, read: Read, prefix: str, large: int) -> None:
        """Weights are large: a transfer in several parts puts them together in order, up to the last byte."""
        content = b"".join(block.to_bytes(4, "big") * 1024 for block in range(large // 4096 + 1))[:large]
        put(f"{prefix}model.bin", content)
        assert difference(read(f"{prefix}model.bin"), content) is None

    def test_whoever_waits_is_told_of_every_byte(
        self, storage: StorageInterface, bucket: str, prefix: str, local_dir: Path, large: int
    ) -> None:
        """Where `upload_file` and `download_file` take `tell`, they tell it of all bytes, neither more nor less."""
        (local_dir / "in.bin").write_bytes(b"x" * large)
        up: list[int] = []
        down: list[int] = []
        upload_telling(storage, local_dir / "in.bin", bucket, f"{prefix}model.bin", up.append)
        download_telling(storage, bucket, f"{prefix}model.bin", local_dir / "out.bin", down.append)
        assert (sum(up), sum(down)) == (large, large)

    def test_upload_returns_a_uri(self, put: Put, prefix: str) -> None:
        """`upload_file` returns a URI with a scheme; a run's summary shows it to a person."""
        uri = put(f"{prefix}model.bin")
        assert isinstance(uri, str)
        assert re.match(r"[a-z][a-z0-9+.-]+:", uri)

    def test_download_returns_the_local_path(
        self, storage: StorageInterface, put: Put, bucket: str, prefix: str, local_dir: Path
    ) -> None:
        """`download_file` returns, as text, the path that it was given."""
        put(f"{prefix}model.bin")
        target = local_dir / "model.bin"
        assert storage.download_file(bucket, f"{prefix}model.bin", target) == str(target)

    @pytest.mark.parametrize("kind", [str, Path])
    def test_local_paths_may_be_text_or_path(
        self, storage: StorageInterface, bucket: str, prefix: str, local_dir: Path, kind: type[str | Path]
    ) -> None:
        """Local paths are given as text or as `pathlib.Path`."""
        (local_dir / "in.bin").write_bytes(b"content")
        storage.upload_file(kind(local_dir / "in.bin"), bucket, f"{prefix}model.bin")
        storage.download_file(bucket, f"{prefix}model.bin", kind(local_dir / "out.bin"))
        assert (local_dir / "out.bin").read_bytes() == b"content"

    def test_upload_replaces_what_was_there(self, put: Put, read: Read, prefix: str) -> None:
        """The last upload wins as a whole; nothing of a longer file before it is left at the end."""
        put(f"{prefix}model.bin", b"a long first version")
        put(f"{prefix}model.bin", b"second")
        assert read(f"{prefix}model.bin") == b"second"

    def test_stored_file_is_a_copy(
        self, storage: StorageInterface, read: Read, bucket: str, prefix: str, local_dir: Path
    ) -> None:
        """Upload leaves the local file alone, and later changes to either copy do not reach the stored one.

        A storage that moves or hard-links would lose a checkpoint when its folder is cleaned up.
        """
        local = local_dir / "in.bin"
        local.write_bytes(b"content")
        storage.upload_file(local, bucket, f"{prefix}model.bin")
        assert local.read_bytes() == b"content"
        local.write_bytes(b"changed")
        storage.download_file(bucket, f"{prefix}model.bin", local_dir / "out.bin")
        (local_dir / "out.bin").write_bytes(b"changed")
        assert read(f"{prefix}model.bin") == b"content"

    def test_buckets_are_separate(
        self, storage: StorageInterface, put: Put, read: Read, prefix: str, other_bucket: str
    ) -> None:
        """One key in two buckets is two files."""
        put(f"{prefix}model.bin", b"one")
        put(f"{prefix}model.bin", b"two", other_bucket)
        assert read(f"{prefix}model.bin") == b"one"
        assert read(f"{prefix}model.bin", other_bucket) == b"two"
        assert storage.list_files(other_bucket, prefix) == [f"{prefix}model.bin"]

    def test_download_makes_parent_folders_and_replaces(
        self, storage: StorageInterface, put: Put, bucket: str, prefix: str, local_dir: Path
    ) -> None:
        """Missing parents of the local path are made; an existing local file is replaced as a whole."""
        put(f"{prefix}model.bin", b"new")
        target = local_dir / "a" / "b" / "model.bin"
        storage.download_file(bucket, f"{prefix}model.bin", target)
        target.write_bytes(b"an older, longer file")
        storage.download_file(bucket, f"{prefix}model.bin", target)
        assert target.read_bytes() == b"new"
        assert list(target.parent.iterdir()) == [target]

    # Faults

    def test_missing_key_leaves_nothing_behind(
        self, storage: StorageInterface, put: Put, bucket: str, prefix: str, local_dir: Path
    ) -> None:
        """An absent key raises `ObjectNotFoundError`, and no file, not even an empty one, is at the local path."""
        put(f"{prefix}runs/model.bin")
        target = local_dir / "out" / "model.bin"
        for key in ("absent.bin", "runs/absent.bin", "runs/model", "runs", "runs/model.bin/more"):
            with pytest.raises(ObjectNotFoundError):
                storage.download_file(bucket, f"{prefix}{key}", target)
        assert [path for path in (local_dir / "out").rglob("*") if path.is_file()] == []

    def test_missing_key_keeps_an_existing_local_file(
        self, storage: StorageInterface, put: Put, bucket: str, prefix: str, local_dir: Path
    ) -> None:
        """A download that fails does not touch the file that is there: it may be the last good copy."""
        put(f"{prefix}model.bin")
        target = local_dir / "model.bin"
        target.write_bytes(b"mine")
        with pytest.raises(ObjectNotFoundError):
            storage.download_file(bucket, f"{prefix}absent.bin", target)
        assert target.read_bytes() == b"mine"

    def test_missing_bucket_is_not_found(
        self, storage: StorageInterface, absent_bucket: str, prefix: str, local_dir: Path
    ) -> None:
        """Downloading from a bucket that does not exist raises `ObjectNotFoundError`, too."""
        with pytest.raises(ObjectNotFoundError):
            storage.download_file(absent_bucket, f"{prefix}model.bin", local_dir / "model.bin")
        assert list(local_dir.iterdir()) == []

    @pytest.mark.parametrize("what", ["absent", "folder"])
    def test_upload_of_no_file_keeps_the_stored_one(
        self, storage: StorageInterface, put: Put, read: Read, bucket: str, prefix: str, local_dir: Path, what: str
    ) -> None:
        """Uploading an absent file or a folder raises `StorageError`, and what was stored before is still there."""
        put(f"{prefix}model.bin", b"first")
        (local_dir / "folder").mkdir()
        with pytest.raises(StorageError):
            storage.upload_file(local_dir / what, bucket, f"{prefix}model.bin")
        assert read(f"{prefix}model.bin") == b"first"

    def test_download_onto_a_folder_is_refused(
        self, storage: StorageInterface, put: Put, bucket: str, prefix: str, local_dir: Path
    ) -> None:
        """A local path that cannot be written raises `StorageError`; the folder and its files stay."""
        put(f"{prefix}model.bin")
        folder = local_dir / "folder"
        folder.mkdir()
        (folder / "mine.txt").write_text("mine", encoding="utf-8")
        with pytest.raises(StorageError):
            storage.download_file(bucket, f"{prefix}model.bin", folder)
        assert [path for path in local_dir.rglob("*") if path.is_file()] == [folder / "mine.txt"]

    # Listings

    def test_listing_takes_the_prefix_as_text(
        self, storage: StorageInterface, put: Put, bucket: str, prefix: str
    ) -> None:
        """A prefix is the start of a key, not a folder: `runs/1` also matches `runs/10`."""
        for key in ("runs/1/model", "runs/10/model", "runs/2/model"):
            put(f"{prefix}{key}")
        assert storage.list_files(bucket, f"{prefix}runs/1") == [f"{prefix}runs/1/model", f"{prefix}runs/10/model"]
        assert storage.list_files(bucket, f"{prefix}runs/1/") == [f"{prefix}runs/1/model"]
        assert storage.list_files(bucket, f"{prefix}runs/1/model") == [f"{prefix}runs/1/model"]

    def test_listing_is_sorted_by_key(self, storage: StorageInterface, put: Put, bucket: str, prefix: str) -> None:
        """Keys come in ascending order of their characters, not in the order of folders or of uploads."""
        names = ["b/x", "a/x", "a-x", "a.x", "Z", "é", "a/b/x", "c10", "c9"]
        for name in names:
            put(f"{prefix}{name}")
        assert storage.list_files(bucket, prefix) == sorted(f"{prefix}{name}" for name in names)

    def test_listing_of_everything(self, storage: StorageInterface, put: Put, bucket: str, prefix: str) -> None:
        """Without a prefix, all keys of the bucket are listed, and `iter_files` yields the same ones."""
        put(f"{prefix}a")
        put(f"{prefix}folder/b")
        keys = storage.list_files(bucket)
        assert isinstance(keys, list)
        assert {f"{prefix}a", f"{prefix}folder/b"} <= set(keys)
        assert keys == sorted(set(keys))
        assert list(storage.iter_files(bucket)) == keys

    def test_listing_of_nothing_is_empty(self, storage: StorageInterface, put: Put, bucket: str, prefix: str) -> None:
        """A prefix that no key starts with gives an empty list, not an error."""
        put(f"{prefix}a")
        assert storage.list_files(bucket, f"{prefix}absent") == []

    def test_listing_follows_every_page(
        self, storage: StorageInterface, bucket: str, prefix: str, many: int, local_dir: Path
    ) -> None:
        """All keys are listed, however many there are; services hand them out 1,000 at a time."""
        local = local_dir / "small"
        local.write_bytes(b".")
        keys = [f"{prefix}{number:05d}" for number in range(many)]
        for key in keys:
            storage.upload_file(local, bucket, key)
        assert difference(storage.list_files(bucket, prefix), keys) is None

    def test_exists_means_the_whole_key(self, storage: StorageInterface, put: Put, bucket: str, prefix: str) -> None:
        """`exists` is true for a key and false for the start of one."""
        put(f"{prefix}runs/10")
        assert storage.exists(bucket, f"{prefix}runs/10") is True
        assert storage.exists(bucket, f"{prefix}runs/1") is False
        assert storage.exists(bucket, f"{prefix}runs") is False

    # Folders

    def test_folder_round_trip(self, storage: StorageInterface, bucket: str, prefix: str, local_dir: Path) -> None:
        """A folder goes up and comes down with its tree; URIs come in the order of the keys.

        ```
        checkpoint/           <prefix>checkpoint/
        ├── a-b               ├── a-b
        ├── a/c.bin           ├── a/c.bin
        └── manifest.json     └── manifest.json
        ```
        """
        source = local_dir / "checkpoint"
        tree = {"a-b": b"1", "a/c.bin": b"", "manifest.json": b"{}"}
        for name, content in tree.items():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(content)
        uris = storage.upload_directory(source, bucket, f"{prefix}checkpoint")
        assert len(uris) == len(tree)
        assert storage.list_files(bucket, prefix) == [f"{prefix}checkpoint/{name}" for name in tree]
        paths = storage.download_directory(bucket, f"{prefix}checkpoint", local_dir / "copy")
        assert sorted(paths) == sorted(str(local_dir / "copy" / name) for name in tree)
        assert {name: (local_dir / "copy" / name).read_bytes() for name in tree} == tree

    # Optional capabilities

    def test_delete(self, storage: StorageInterface, put: Put, bucket: str, prefix: str) -> None:
        """`delete_file` deletes one key and no other, and an absent key is no error; undeclared, it says so."""
        put(f"{prefix}a")
        put(f"{prefix}ab")
        if "delete" not in storage.capabilities:
            with pytest.raises(CapabilityError, match="delete"):
                storage.delete_file(bucket, f"{prefix}a")
            return
        storage.delete_file(bucket, f"{prefix}a")
        storage.delete_file(bucket, f"{prefix}a")
        assert storage.list_files(bucket, prefix) == [f"{prefix}ab"]

    def test_presign(self, storage: StorageInterface, put: Put, bucket: str, prefix: str) -> None:
        """`presigned_url` gives a link that opens without credentials; undeclared, it says so."""
        key = f"{prefix}{uuid.uuid4().hex}.bin"
        put(key, b"content")
        if "presign" not in storage.capabilities:
            with pytest.raises(CapabilityError, match="presign"):
                storage.presigned_url(bucket, key)
            return
        with urllib.request.urlopen(storage.presigned_url(bucket, key)) as answer:  # noqa: S310 - the storage's own link
            assert answer.read() == b"content"
