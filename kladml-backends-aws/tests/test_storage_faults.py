"""Faults end in a clear error after a bounded number of attempts, and nothing half-done is left."""

from __future__ import annotations

import threading
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from kladml.errors import ObjectNotFoundError, StorageError
from kladml_backends_aws import S3Storage

ATTEMPTS = 3
FIRST_PAGE = b"""<?xml version="1.0"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>ml</Name><IsTruncated>true</IsTruncated>
<NextContinuationToken>more</NextContinuationToken><Contents><Key>runs/1</Key></Contents></ListBucketResult>"""


class Answers(BaseHTTPRequestHandler):
    """Answers like a server in trouble, and notes every request."""

    def answer(self, status, headers, body=b""):
        self.server.requests.append(f"{self.command} {self.path}")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@contextmanager
def serving(handler):
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.requests = []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class BreaksOff(Answers):
    """Promises a thousand bytes and sends a hundred."""

    def do_GET(self):
        self.answer(200, {"Content-Length": "1000", "ETag": '"1"'}, b"x" * 100)
        self.close_connection = True

    do_HEAD = do_GET  # noqa: N815 - http.server's own names


class Busy(Answers):
    def do_GET(self):
        self.answer(503, {"Content-Length": "0"})

    do_HEAD = do_PUT = do_GET  # noqa: N815 - http.server's own names


class Denies(Answers):
    def do_GET(self):
        self.answer(403, {"Content-Length": "0"})

    do_HEAD = do_PUT = do_GET  # noqa: N815 - http.server's own names


class EndsAfterOnePage(Answers):
    def do_GET(self):
        if "continuation-token" in self.path:
            self.server.requests.append(self.path)
            self.connection.close()
        else:
            self.answer(200, {"Content-Length": str(len(FIRST_PAGE))}, FIRST_PAGE)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "in.bin"
    path.write_bytes(b"content")
    return path


def test_interrupted_download_leaves_nothing(tmp_path):
    with serving(BreaksOff) as server, S3Storage("ml", endpoint_url=server.url) as storage:
        with pytest.raises(StorageError, match=r"download 'model' from bucket 'ml'.*broke off"):
            storage.download_file("ml", "model", tmp_path / "out" / "model.bin")
        assert list((tmp_path / "out").iterdir()) == []
        assert server.requests.count("GET /ml/model") == ATTEMPTS


def test_interrupted_download_keeps_the_file_that_was_there(tmp_path):
    target = tmp_path / "model.bin"
    target.write_bytes(b"the last good one")
    with (
        serving(BreaksOff) as server,
        S3Storage("ml", endpoint_url=server.url) as storage,
        pytest.raises(StorageError),
    ):
        storage.download_file("ml", "model", target)
    assert target.read_bytes() == b"the last good one"
    assert list(tmp_path.iterdir()) == [target]


def test_busy_server_is_asked_a_bounded_number_of_times(file):
    with serving(Busy) as server, S3Storage("ml", endpoint_url=server.url) as storage:
        with pytest.raises(StorageError, match="503"):
            storage.upload_file(file, "ml", "model")
        assert len(server.requests) == ATTEMPTS


def test_listing_that_breaks_off_is_an_error_and_no_short_list():
    with serving(EndsAfterOnePage) as server, S3Storage("ml", endpoint_url=server.url) as storage:
        found = storage.iter_files("ml")
        assert next(found) == "runs/1"
        with pytest.raises(StorageError, match="cannot list '' in bucket 'ml'"):
            next(found)
        assert len(server.requests) == 1 + ATTEMPTS
        with pytest.raises(StorageError):
            storage.list_files("ml")


def test_denied_calls_say_so(file, tmp_path):
    with serving(Denies) as server, S3Storage("ml", endpoint_url=server.url) as storage:
        calls = [
            storage.check,
            lambda: storage.upload_file(file, "ml", "model"),
            lambda: storage.download_file("ml", "model", tmp_path / "out.bin"),
            lambda: storage.list_files("ml"),
            lambda: storage.exists("ml", "model"),
        ]
        for call in calls:
            with pytest.raises(StorageError, match=r"denies access \(403\) \(kladml-backends-aws\); check"):
                call()
    assert not (tmp_path / "out.bin").exists()


def test_credentials_that_the_server_does_not_know_are_refused(doomed_server, new_bucket):
    bucket = new_bucket(doomed_server)
    # From the next call on, moto checks access keys, and this one it never gave out.
    address = f"{doomed_server.url}/moto-api/reset-auth"
    with urllib.request.urlopen(urllib.request.Request(address, b"0", {"Content-Type": "text/plain"})):
        pass
    with S3Storage(bucket, endpoint_url=doomed_server.url) as storage:
        with pytest.raises(StorageError, match="denies access"):
            storage.check()
        with pytest.raises(StorageError, match=r"does not accept the credentials \(InvalidAccessKeyId\)"):
            storage.list_files(bucket)


def test_killed_server_is_an_error_of_every_call(doomed_server, new_bucket, file, tmp_path):
    bucket = new_bucket(doomed_server)
    with S3Storage(bucket, endpoint_url=doomed_server.url) as storage:
        storage.check()
        storage.upload_file(file, bucket, "model")
        doomed_server.kill()
        calls = [
            storage.check,
            lambda: storage.upload_file(file, bucket, "model"),
            lambda: storage.download_file(bucket, "model", tmp_path / "out" / "model"),
            lambda: storage.list_files(bucket),
            lambda: storage.exists(bucket, "model"),
            lambda: storage.delete_file(bucket, "model"),
        ]
        for call in calls:
            with pytest.raises(StorageError, match=f"{doomed_server.url} cannot be reached"):
                call()
    assert list((tmp_path / "out").iterdir()) == []


def test_check_accepts_the_bucket_and_refuses_a_missing_one(server, storage):
    storage.check()
    with (
        S3Storage("no-such-bucket", endpoint_url=server.url) as wrong,
        pytest.raises(ObjectNotFoundError, match=r"use bucket 'no-such-bucket'.*check .*storage\.s3\.bucket"),
    ):
        wrong.check()


def test_check_without_credentials_says_where_to_put_them(server, bucket, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with (
        S3Storage(bucket, endpoint_url=server.url) as storage,
        pytest.raises(StorageError, match=r"no usable AWS credentials.*AWS_ACCESS_KEY_ID"),
    ):
        storage.check()


def test_unknown_profile_is_refused():
    with pytest.raises(StorageError, match=r"no-such-profile.*storage\.s3\.profile"):
        S3Storage("ml", profile="no-such-profile")


@pytest.mark.parametrize("endpoint", ["http:/broken", "no address"])
def test_malformed_endpoint_is_refused(endpoint):
    with pytest.raises(StorageError, match="Invalid endpoint"):
        S3Storage("ml", endpoint_url=endpoint)


def test_password_in_the_endpoint_is_refused_and_not_shown():
    with pytest.raises(StorageError, match=r"storage\.s3\.endpoint_url") as caught:
        S3Storage("ml", endpoint_url="http://minio:hunter2@127.0.0.1:9000")
    assert "hunter2" not in str(caught.value)
