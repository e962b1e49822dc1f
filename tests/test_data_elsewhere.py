"""Versions of data sets go to an S3 server and come back, whoever is killed on the way, and from two places at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import closing, contextmanager

import boto3
import pytest

from servers import proxy_before, s3_server

BUCKET = "team-data"
FILES = 12
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": os.environ.get("TEST_S3_KEY", "testing"),
    "AWS_SECRET_ACCESS_KEY": os.environ.get("TEST_S3_SECRET", "testing"),
    "AWS_DEFAULT_REGION": "us-east-1",
}
OBJECTS = "/datasets/objects/"


class Place:
    """A workspace, and a data set `blobs` that may be added to it."""

    def __init__(self, folder, environment):
        self.folder, self.environment = folder, environment
        self.kladml("init")

    def start(self, *arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "kladml_cli", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kladml(self, *arguments, status=0):
        """Run a command, expect its exit status, and return what it printed; its errors if it fails."""
        with self.start(*arguments) as process:
            output, errors = process.communicate(timeout=300)
        assert process.returncode == status, output + errors
        return errors if status else output

    def add(self, seed, files=FILES):
        source = self.folder / "blobs"
        source.mkdir(exist_ok=True)
        for number in range(files):
            (source / f"{number}.bin").write_bytes(f"{seed} {number}".encode() * 10_000)
        self.kladml("data", "add", "blobs", "blobs")

    def moved(self, direction, reference="blobs", **expected):
        return json.loads(self.kladml("data", direction, reference, "--storage", "s3", "--json", **expected))

    def names(self):
        return [each["reference"] for each in json.loads(self.kladml("data", "list", "--json"))]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """An S3 server behind a proxy; `TEST_S3_URL` may name one that runs."""
    with s3_of(tmp_path_factory.mktemp("s3")) as url, proxy_before(url) as proxy:
        yield proxy


@contextmanager
def s3_of(folder):
    if "TEST_S3_URL" in os.environ:
        yield os.environ["TEST_S3_URL"]
    else:
        with s3_server(folder) as url:
            yield url


@pytest.fixture
def s3(server):
    """The proxy before a server whose bucket is empty."""
    with closing(client_of(server)) as client:
        client.create_bucket(Bucket=BUCKET)
        yield server
        for key in keys_of(server):
            client.delete_object(Bucket=BUCKET, Key=key)
    server.reset()


@pytest.fixture
def place(tmp_path, s3):
    """`place(name)` makes a workspace."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KLADML_", "AWS_"))}
    settings = {"KLADML_STORAGE__S3__BUCKET": BUCKET, "KLADML_STORAGE__S3__ENDPOINT_URL": s3.url}

    def make(name):
        (tmp_path / name).mkdir()
        return Place(tmp_path / name, {**kept, **CREDENTIALS, **settings})

    return make


def client_of(server):
    return boto3.client(
        "s3",
        endpoint_url=f"http://{server.behind}",
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
    )


def keys_of(server):
    with closing(client_of(server)) as client:
        return [item["Key"] for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", ())]


class Hold:
    """Holds the requests of one kind from the n-th on, until it is let go; what was held may be lost then."""

    def __init__(self, method, number):
        self.method, self.number = method, number
        self.held, self.go = threading.Event(), threading.Event()
        self.is_lost = False
        self._counted, self._mutex = 0, threading.Lock()

    def __call__(self, method, path, body):
        if method == self.method and OBJECTS in path:
            with self._mutex:
                self._counted += 1
                number = self._counted
            if number >= self.number:
                self.held.set()
                self.go.wait(120)
                if self.is_lost:
                    raise ConnectionAbortedError
        return body


def kill_at(s3, process, hold):
    """Kill a process whose request is held; what it had sent does not arrive."""
    s3.alter = hold
    running = process()
    assert hold.held.wait(120)
    with running:
        running.kill()
    hold.is_lost = True
    hold.go.set()
    s3.reset()


def test_only_what_is_missing_is_moved_and_counted_at_the_server(place, s3):
    mine, yours = place("mine"), place("yours")
    mine.add("first")
    assert mine.moved("push")["transferred"] == FILES
    assert (s3.count("PUT", OBJECTS), s3.count("PUT")) == (FILES, FILES + 1)
    s3.reset()
    assert mine.moved("push")["transferred"] == 0
    assert s3.count("PUT") == 0

    assert yours.moved("pull")["transferred"] == FILES
    assert (s3.count("GET", OBJECTS), s3.count("PUT")) == (FILES, 0)
    assert "whole" in yours.kladml("data", "verify", "blobs@1")

    (mine.folder / "blobs" / "3.bin").write_bytes(b"another")
    mine.kladml("data", "add", "blobs", "blobs")
    s3.reset()
    assert mine.moved("push")["transferred"] == 1
    assert (s3.count("PUT", OBJECTS), s3.count("PUT")) == (1, 2)
    s3.reset()
    pulled = yours.moved("pull")
    assert (pulled["reference"], pulled["transferred"]) == ("blobs@2", 1)
    assert s3.count("GET", OBJECTS) == 1
    shown = [json.loads(each.kladml("data", "show", "blobs@2", "--json")) for each in (mine, yours)]
    assert shown[0]["fingerprint"] == shown[1]["fingerprint"]


def test_a_push_that_was_killed_shows_no_version_and_goes_on(place, s3):
    mine, yours = place("mine"), place("yours")
    mine.add("killed")
    kill_at(s3, lambda: mine.start("data", "push", "blobs", "--storage", "s3"), Hold("PUT", 5))
    there = [key for key in keys_of(s3) if key.startswith("datasets/objects/")]
    assert keys_of(s3) == there
    assert 0 < len(there) < FILES
    assert "the storage has no version of 'blobs'" in yours.kladml("data", "pull", "blobs", "--storage", "s3", status=6)
    assert mine.moved("push")["transferred"] == FILES - len(there)
    assert yours.moved("pull")["transferred"] == FILES
    assert "whole" in yours.kladml("data", "verify", "blobs")


def test_a_pull_that_was_killed_leaves_no_version_and_goes_on(place, s3):
    mine, yours = place("mine"), place("yours")
    mine.add("pulled")
    mine.moved("push")
    kill_at(s3, lambda: yours.start("data", "pull", "blobs", "--storage", "s3"), Hold("GET", 5))
    assert yours.names() == []
    assert yours.moved("pull")["transferred"] <= FILES
    assert "whole" in yours.kladml("data", "verify", "blobs")
    assert list((yours.folder / ".kladml" / "objects" / "tmp").iterdir()) == []


def test_two_that_push_the_same_version_at_once_make_one(place, s3):
    mine, yours = place("mine"), place("yours")
    for each in (mine, yours):
        each.add("same")
    pushing = [each.start("data", "push", "blobs", "--storage", "s3") for each in (mine, yours)]
    for process in pushing:
        with process:
            _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    assert len(keys_of(s3)) == FILES + 1
    other = place("other")
    other.moved("pull")
    assert "whole" in other.kladml("data", "verify", "blobs")


def test_two_that_push_another_version_of_one_number_at_once_do_not_hide_each_other(place, s3):
    mine, yours, other = place("mine"), place("yours"), place("other")
    mine.add("mine")
    yours.add("yours")
    hold = Hold("PUT", 5)
    s3.alter = hold
    slow = mine.start("data", "push", "blobs", "--storage", "s3")
    assert hold.held.wait(120)
    s3.alter = lambda method, path, body: body
    yours.moved("push")
    hold.go.set()
    with slow:
        _, errors = slow.communicate(timeout=300)
    assert slow.returncode == 6, errors
    assert "is another one than that of the storage" in errors
    assert "add the data under another name" in errors
    pulled = other.moved("pull")
    assert pulled["fingerprint"] == json.loads(yours.kladml("data", "show", "blobs", "--json"))["fingerprint"]


def test_a_content_that_is_damaged_there_is_never_taken(place, s3):
    mine, yours = place("mine"), place("yours")
    mine.add("damaged")
    mine.moved("push")
    key = next(key for key in keys_of(s3) if key.startswith("datasets/objects/"))
    with closing(client_of(s3)) as client:
        client.put_object(Bucket=BUCKET, Key=key, Body=b"something else")
    errors = yours.kladml("data", "pull", "blobs", "--storage", "s3", status=6)
    assert "in the storage is not what it was" in errors
    assert yours.names() == []
    s3.is_away = True
    for direction, who in (("push", mine), ("pull", yours)):
        errors = who.kladml("data", direction, "blobs", "--storage", "s3", status=5)
        assert "check the network and storage.s3.endpoint_url" in errors
