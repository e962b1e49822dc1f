"""Copies that are written past the page cache."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from kladml.datasets import hashing
from kladml.datasets.direct_copy import BLOCK, DirectWriter, copy_direct
from kladml.datasets.hashing import copy_hashed, hash_file

SIZES = [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 4 * BLOCK, 5 * BLOCK + 12_345]


@pytest.fixture(autouse=True)
def all_are_large(monkeypatch):
    monkeypatch.setattr(hashing, "LARGE", 1)


@pytest.fixture
def file(tmp_path):
    """Write a file with other bytes everywhere, and return it."""

    def write(size):
        path = tmp_path / "file"
        path.write_bytes(os.urandom(size))
        return path

    return write


def assert_copied(path):
    copy, told = path.with_name("copy"), []
    assert copy_hashed(path, copy, told.append) == hash_file(path) == hash_file(copy)
    assert copy.stat().st_size == path.stat().st_size == sum(told)
    copy.unlink()


def writing():
    return [thread for thread in threading.enumerate() if thread.name.startswith("kladml-write")]


def is_direct(path):
    with path.open("wb", buffering=0) as file:
        return DirectWriter(file).is_direct


@pytest.mark.parametrize("size", SIZES)
def test_copy_is_exact(file, size):
    assert_copied(file(size))


@pytest.mark.parametrize("size", SIZES)
def test_copy_is_exact_where_the_system_writes_less_than_it_is_given(file, size, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[: (1 << 20) + 1000]))
    assert_copied(file(size))


@pytest.mark.parametrize("after", [0, 2])
def test_file_system_that_takes_the_flag_and_refuses_blocks(file, monkeypatch, after):
    write, calls, refused = os.write, [], []

    def refuse(descriptor, data):
        import fcntl

        calls.append(len(data))
        if len(calls) > after and fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            refused.append(len(data))
            raise OSError(errno.EINVAL, "Invalid argument")
        return write(descriptor, data)

    path = file(4 * BLOCK + 1)
    if not is_direct(path.with_name("other")):
        pytest.skip("this file system cannot write directly")
    monkeypatch.setattr(os, "write", refuse)
    assert_copied(path)
    assert refused == [BLOCK]


def test_system_without_direct_writing(file, monkeypatch):
    monkeypatch.delattr(os, "O_DIRECT", raising=False)
    path = file(2 * BLOCK + 1)
    assert not is_direct(path.with_name("other"))
    assert_copied(path)


def test_error_that_is_none_of_direct_writing_is_raised(file, monkeypatch):
    calls, write = [], os.write

    def full(descriptor, data):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    path = file(8 * BLOCK)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        copy_hashed(path, path.with_name("copy"))
    assert not writing()


def test_whoever_listens_can_end_it(file):
    path, heard = file(8 * BLOCK), []

    def stop(piece):
        heard.append(len(piece))
        if len(heard) == 10:
            raise KeyboardInterrupt

    with (
        path.open("rb", buffering=0) as source,
        path.with_name("copy").open("xb", buffering=0) as copy,
        pytest.raises(KeyboardInterrupt),
    ):
        copy_direct(source, DirectWriter(copy), stop)
    assert not writing()


def test_what_is_hashed_is_what_is_written_while_the_source_changes(file):
    path = file(6 * BLOCK)
    copy, changed = path.with_name("copy"), []

    def change(count):
        if not changed:
            changed.append(count)
            with path.open("r+b") as other:
                other.seek(3 * BLOCK)
                other.write(b"\0" * BLOCK)

    assert copy_hashed(path, copy, change) == hash_file(copy)
