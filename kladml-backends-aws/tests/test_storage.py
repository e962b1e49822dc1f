"""What S3Storage does beyond the contract of storages, against moto's server."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import closing

import boto3
import pytest

from kladml.errors import ObjectNotFoundError, StorageError
from kladml.testing import StorageContract
from kladml_backends_aws import S3Storage


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "in.bin"
    path.write_bytes(b"content")
    return path


class TestS3Storage(StorageContract):
    @pytest.fixture
    def bucket(self, server, new_bucket):
        return new_bucket(server)

    @pytest.fixture
    def other_bucket(self, server, new_bucket):
        return new_bucket(server)

    @pytest.fixture
    def storage(self, server, bucket):
        with S3Storage(bucket, endpoint_url=server.url) as storage:
            yield storage


class TestS3StorageWithPrefix(TestS3Storage):
    @pytest.fixture
    def storage(self, server, bucket):
        with S3Storage(bucket, endpoint_url=server.url, prefix="team/vision") as storage:
            yield storage

    @pytest.fixture
    def many(self):
        return 3  # TestS3Storage follows the pages


def test_uri_names_bucket_and_key(storage, bucket, file):
    assert storage.upload_file(file, bucket, "runs/3/model") == f"s3://{bucket}/runs/3/model"


def test_prefix_separates_users_of_one_bucket(server, bucket, file):
    with (
        S3Storage(bucket, prefix="a", endpoint_url=server.url) as one,
        S3Storage(bucket, prefix="a/b/", endpoint_url=server.url) as two,
    ):
        assert one.upload_file(file, bucket, "x") == f"s3://{bucket}/a/x"
        assert two.upload_file(file, bucket, "x") == f"s3://{bucket}/a/b/x"
        assert two.list_files(bucket) == ["x"]
        assert one.list_files(bucket) == ["b/x", "x"]


@pytest.mark.parametrize("prefix", ["/a", "../a", "a//b", "a/../b", "//"])
def test_malformed_prefix_is_refused(prefix):
    with pytest.raises(StorageError, match=r"storage\.s3\.prefix"):
        S3Storage("ml", prefix=prefix)


def test_name_that_is_no_text_is_refused(storage, bucket, file):
    with pytest.raises(StorageError, match="is no key"):
        storage.upload_file(file, bucket, os.fsdecode(b"caf\xe9") if sys.platform == "linux" else "caf\udce9")


def test_folder_markers_are_not_listed(server, storage, bucket, file):
    with closing(boto3.client("s3", endpoint_url=server.url)) as client:
        client.put_object(Bucket=bucket, Key="runs/")
    storage.upload_file(file, bucket, "runs/model")
    assert storage.list_files(bucket) == ["runs/model"]


def test_listing_a_missing_bucket_says_so(storage):
    with pytest.raises(ObjectNotFoundError, match=r"'no-such-bucket'.*no such bucket.*kladml-backends-aws"):
        storage.list_files("no-such-bucket")


def test_nothing_exists_in_a_missing_bucket(storage):
    assert storage.exists("no-such-bucket", "model") is False


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_downloaded_file_has_the_usual_permissions(storage, bucket, file, tmp_path):
    storage.upload_file(file, bucket, "model")
    storage.download_file(bucket, "model", tmp_path / "out.bin")
    # As of any file that this user makes; a temporary file's 0600 would lock colleagues out.
    assert stat.S_IMODE((tmp_path / "out.bin").stat().st_mode) == stat.S_IMODE(file.stat().st_mode)


def test_download_below_a_file_is_refused(storage, bucket, file):
    storage.upload_file(file, bucket, "model")
    with pytest.raises(StorageError, match="cannot download 'model'"):
        storage.download_file(bucket, "model", file / "out.bin")


@pytest.mark.parametrize("seconds", [0, -1, 604_801])
def test_link_must_last_between_a_second_and_a_week(storage, bucket, seconds):
    with pytest.raises(StorageError, match=f"cannot last {seconds} s"):
        storage.presigned_url(bucket, "model", expires_in=seconds)


def test_storage_without_bucket_has_the_common_default(server):
    with S3Storage(endpoint_url=server.url) as storage:
        assert storage.default_bucket == "kladml"


def test_address_may_come_from_the_environment(server, bucket, file, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    with S3Storage(bucket) as storage:
        storage.upload_file(file, bucket, "model")
        assert storage.list_files(bucket) == ["model"]
