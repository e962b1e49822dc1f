"""Digests of files, and fingerprints of versions."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kladml.datasets import hashing
from kladml.datasets.hashing import LARGE, copy_hashed, fingerprint, hash_file, may_be_equal
from kladml.datasets.manifest import FileEntry

NAMES = st.text("abc/0", min_size=1, max_size=6)
DIGESTS = st.sampled_from(["0" * 64, "1" * 64, "f" * 64])
ENTRIES = st.dictionaries(NAMES, st.tuples(st.integers(0, 5), DIGESTS), max_size=4)


def entries_of(content):
    return [FileEntry(name, size, digest) for name, (size, digest) in content.items()]


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000])
def test_a_file_has_the_digest_that_hashlib_gives_and_a_copy_has_its_content(tmp_path, size):
    content = (bytes(range(256)) * (size // 256 + 1))[:size]
    path, copy = tmp_path / "file", tmp_path / "copy"
    path.write_bytes(content)
    expected = hashlib.blake2b(content, digest_size=32).hexdigest()
    told = []
    assert hash_file(path, told.append) == expected
    assert sum(told) == size
    assert copy_hashed(path, copy, told.append) == expected
    assert copy.read_bytes() == content
    assert sum(told) == 2 * size


@pytest.mark.skipif(shutil.which("b2sum") is None, reason="b2sum is not installed")
def test_b2sum_gives_the_same_digest(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"kladml" * 1000)
    done = subprocess.run(["b2sum", "-l", "256", str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == hash_file(path)


@pytest.mark.parametrize(
    ("size", "changed", "expected"),
    [
        (LARGE, None, True),
        (LARGE, 0, False),
        (LARGE, LARGE - 1, False),
        (LARGE + 12345, LARGE + 12344, False),
        (LARGE, (1 << 16) + 1, True),  # between two samples: nothing is said of it
        (LARGE - 1, 0, True),  # small
    ],
)
def test_a_look_at_large_files_shows_most_changes(tmp_path, size, changed, expected):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(bytes(size))
    content = bytearray(size)
    if changed is not None:
        content[changed] = 1
    other.write_bytes(content)
    assert may_be_equal(one, other) is expected


def test_files_of_other_sizes_differ(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"1")
    other.write_bytes(b"12")
    assert not may_be_equal(one, other)


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(200 << 20)  # a hole: no space is needed
    tracemalloc.start()
    try:
        copy_hashed(path, tmp_path / "copy")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP])
def test_where_the_system_does_not_copy_this_process_does(tmp_path, monkeypatch, code):
    def refuse(*args):
        raise OSError(code, "not here")

    monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    path, copy = tmp_path / "file", tmp_path / "copy"
    path.write_bytes(bytes(range(256)) * 10_000)
    assert copy_hashed(path, copy) == hash_file(path)
    assert copy.read_bytes() == path.read_bytes()


def test_pieces_are_copied_and_hashed_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(hashing, "_PIECE", 1000)
    path, copy = tmp_path / "file", tmp_path / "copy"
    for size in (999, 1000, 1001, 4000, 4001):
        path.write_bytes(os.urandom(size))
        assert copy_hashed(path, copy) == hash_file(path)
        assert copy.read_bytes() == path.read_bytes()
        copy.unlink()


@given(ENTRIES, st.randoms())
def test_a_fingerprint_does_not_depend_on_the_order(content, random):
    entries = entries_of(content)
    shuffled = random.sample(entries, len(entries))
    assert fingerprint(entries) == fingerprint(shuffled)


@given(ENTRIES, ENTRIES)
def test_fingerprints_are_equal_for_equal_files_alone(one, other):
    assert (fingerprint(entries_of(one)) == fingerprint(entries_of(other))) == (one == other)
