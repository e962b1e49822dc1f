from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote, unquote

import pytest

from kladml.errors import ObjectNotFoundError, StorageError
from kladml.interfaces import StorageInterface
from kladml.testing import StorageContract
from kladml.testing.fakes import MemoryStorage


class MinimalStorage(StorageInterface):
    """The three abstract methods and nothing more; any key is a key."""

    def __init__(self):
        self.files = {}

    def upload_file(self, local_path, bucket, key):
        try:
            self.files[bucket, key] = Path(local_path).read_bytes()
        except OSError as error:
            raise StorageError(str(error)) from error
        return f"minimal:{bucket}/{key}"

    def download_file(self, bucket, key, local_path):
        if (bucket, key) not in self.files:
            raise ObjectNotFoundError(key)
        try:
            Path(local_path).parent.mkdir(parents=True, exist_ok=True)
            Path(local_path).write_bytes(self.files[bucket, key])
        except OSError as error:
            raise StorageError(str(error)) from error
        return str(local_path)

    def list_files(self, bucket, prefix=""):
        return sorted(key for found, key in self.files if found == bucket and key.startswith(prefix))


class LinkingStorage(MemoryStorage):
    """Files in memory with links that a server on this machine opens."""

    capabilities = frozenset({"delete", "presign"})

    def presigned_url(self, bucket, key, expires_in=3600):
        return f"{self.url}/{quote(bucket)}/{quote(key)}"


class TestLinkingStorage(StorageContract):
    @pytest.fixture
    def storage(self):
        storage = LinkingStorage()

        class Files(BaseHTTPRequestHandler):
            def do_GET(self):
                bucket, _, key = unquote(self.path[1:]).partition("/")
                self.send_response(200)
                self.end_headers()
                self.wfile.write(storage.files[bucket, key])

            def log_message(self, *arguments): ...

        with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
            storage.url = f"http://127.0.0.1:{server.server_port}"
            thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            yield storage
            server.shutdown()
            thread.join()


class TestMemoryStorage(StorageContract):
    @pytest.fixture
    def storage(self):
        return MemoryStorage()


class TestMinimalStorage(StorageContract):
    @pytest.fixture
    def storage(self):
        return MinimalStorage()


CONTRACT = """
import os
import shutil
from pathlib import Path, PurePosixPath

import pytest

from kladml.errors import ObjectNotFoundError, StorageError
from kladml.interfaces import StorageInterface
from kladml.testing import StorageContract
from kladml.testing.fakes import MemoryStorage
{broken}

class TestBroken(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path):
        return Broken()
"""


def broken(source):
    return CONTRACT.format(broken=source)


def test_contract_itself_fails_nothing(failing_cases):
    assert failing_cases(broken("class Broken(MemoryStorage): pass")) == set()


def test_storage_that_forgets_the_second_page(failing_cases):
    source = """
class Broken(MemoryStorage):
    def list_files(self, bucket, prefix=""):
        return super().list_files(bucket, prefix)[:1000]
"""
    assert failing_cases(broken(source)) == {"test_listing_follows_every_page"}


def test_storage_that_lists_in_the_order_of_folders(failing_cases):
    source = """
class Broken(MemoryStorage):
    def list_files(self, bucket, prefix=""):
        return sorted(super().list_files(bucket, prefix), key=lambda key: PurePosixPath(key).parts)
"""
    assert failing_cases(broken(source)) == {"test_listing_is_sorted_by_key", "test_folder_round_trip"}


def test_storage_that_takes_a_prefix_for_a_folder(failing_cases):
    source = """
class Broken(MemoryStorage):
    def list_files(self, bucket, prefix=""):
        start = prefix.rstrip("/") + "/" if prefix else ""
        return [key for key in super().list_files(bucket) if key.startswith(start)]
"""
    assert failing_cases(broken(source)) == {"test_listing_takes_the_prefix_as_text", "test_exists_means_the_whole_key"}


def test_storage_that_leaves_a_partial_download_behind(failing_cases):
    source = """
class Broken(MemoryStorage):
    def download_file(self, bucket, key, local_path):
        Path(local_path).parent.mkdir(parents=True, exist_ok=True)
        if not Path(local_path).is_dir():
            Path(local_path).write_bytes(b"")
        return super().download_file(bucket, key, local_path)
"""
    assert failing_cases(broken(source)) == {
        "test_missing_key_leaves_nothing_behind",
        "test_missing_key_keeps_an_existing_local_file",
        "test_missing_bucket_is_not_found",
    }


def test_storage_that_leaves_a_temporary_file_behind(failing_cases):
    source = """
class Broken(MemoryStorage):
    def download_file(self, bucket, key, local_path):
        Path(local_path).parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(str(local_path) + ".part")
        temporary.touch()
        path = super().download_file(bucket, key, local_path)
        temporary.unlink()
        return path
"""
    assert failing_cases(broken(source)) == {
        "test_missing_key_leaves_nothing_behind",
        "test_missing_bucket_is_not_found",
        "test_download_onto_a_folder_is_refused",
    }


def test_storage_that_moves_the_local_file(failing_cases):
    source = """
class Broken(MemoryStorage):
    def upload_file(self, local_path, bucket, key):
        uri = super().upload_file(local_path, bucket, key)
        os.remove(local_path)
        return uri
"""
    assert failing_cases(broken(source)) == {"test_stored_file_is_a_copy", "test_listing_follows_every_page"}


def test_storage_that_loses_the_stored_file_when_an_upload_fails(failing_cases):
    source = """
class Broken(MemoryStorage):
    def upload_file(self, local_path, bucket, key):
        self.files.pop((bucket, key), None)
        return super().upload_file(local_path, bucket, key)
"""
    assert failing_cases(broken(source)) == {"test_upload_of_no_file_keeps_the_stored_one"}


def test_storage_that_reads_files_as_text(failing_cases):
    source = """
class Broken(MemoryStorage):
    def upload_file(self, local_path, bucket, key):
        uri = super().upload_file(local_path, bucket, key)
        self.files[bucket, key] = self.files[bucket, key].replace(b"\\r", b"")
        return uri
"""
    cases = {"test_round_trip_keeps_every_byte", "test_large_file_comes_back_whole"}
    assert failing_cases(broken(source)) == cases


def test_storage_that_tidies_keys_up(failing_cases):
    source = """
class Broken(MemoryStorage):
    def upload_file(self, local_path, bucket, key):
        return super().upload_file(local_path, bucket, os.path.normpath(key).lstrip("/"))
"""
    assert failing_cases(broken(source)) == {
        "test_malformed_key_is_refused_or_kept",
        "test_key_does_not_climb_into_another_bucket",
        "test_absolute_key_does_not_reach_the_disk",
    }


def test_storage_on_a_disk_that_trusts_its_keys(failing_cases):
    source = """
class Disk(StorageInterface):
    def __init__(self, root):
        self.root = root

    def upload_file(self, local_path, bucket, key):
        target = Path(self.root, bucket, key)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(local_path, target)
        except (OSError, ValueError) as error:
            raise StorageError(str(error)) from error
        return target.resolve().as_uri()

    def download_file(self, bucket, key, local_path):
        try:
            Path(local_path).parent.mkdir(parents=True, exist_ok=True)
            source = Path(self.root, bucket, key)
            if not source.is_file():
                raise ObjectNotFoundError(key)
            shutil.copyfile(source, local_path)
        except (OSError, ValueError) as error:
            raise StorageError(str(error)) from error
        return str(local_path)

    def list_files(self, bucket, prefix=""):
        folder = Path(self.root, bucket)
        keys = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        return sorted(key for key in keys if key.startswith(prefix))


class TestDisk(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path):
        return Disk(tmp_path)
"""
    assert failing_cases(broken(source).partition("class TestBroken")[0]) == {
        "test_malformed_key_is_refused_or_kept",
        "test_key_does_not_climb_into_another_bucket",
        "test_absolute_key_does_not_reach_the_disk",
        "test_bucket_does_not_climb_into_another_bucket",
    }


def test_storage_that_forgets_to_declare_what_it_can(failing_cases):
    source = """
class Broken(MemoryStorage):
    capabilities = frozenset({"delte"})
"""
    cases = {"test_capabilities_are_declared_where_they_are_implemented", "test_delete"}
    assert failing_cases(broken(source)) == cases


def test_storage_that_declares_what_it_cannot(failing_cases):
    source = """
class Broken(MemoryStorage):
    capabilities = frozenset({"delete", "presign"})
"""
    cases = {"test_capabilities_are_declared_where_they_are_implemented", "test_presign"}
    assert failing_cases(broken(source)) == cases


def test_storage_whose_links_open_another_file(failing_cases):
    source = """
class Broken(MemoryStorage):
    capabilities = frozenset({"delete", "presign"})

    def presigned_url(self, bucket, key, expires_in=3600):
        return "data:,another"
"""
    assert failing_cases(broken(source)) == {"test_presign"}


def test_storage_of_another_api_version(failing_cases):
    assert failing_cases(broken("class Broken(MemoryStorage): api_version = 99")) == {"test_api_version_is_accepted"}


def test_storage_that_cannot_be_closed_twice(failing_cases):
    source = """
class Broken(MemoryStorage):
    def close(self):
        del self.files
"""
    assert failing_cases(broken(source)) == {"test_closing_twice_is_harmless"}
