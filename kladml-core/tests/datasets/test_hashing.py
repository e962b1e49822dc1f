"""Digests of files, and fingerprints of versions."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kladml.datasets.hashing import copy_hashed, fingerprint, hash_file
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
    with path.open("rb", buffering=0) as source, copy.open("xb", buffering=0) as target:
        assert copy_hashed(source, target, told.append) == expected
    assert copy.read_bytes() == content
    assert sum(told) == 2 * size


@pytest.mark.skipif(shutil.which("b2sum") is None, reason="b2sum is not installed")
def test_b2sum_gives_the_same_digest(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"kladml" * 1000)
    done = subprocess.run(["b2sum", "-l", "256", str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == hash_file(path)


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(200 << 20)  # a hole: no space is needed
    tracemalloc.start()
    try:
        with path.open("rb", buffering=0) as source, open("/dev/null", "wb", buffering=0) as target:  # noqa: PTH123
            copy_hashed(source, target)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_full_disk_is_said_by_the_thread_that_writes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(3 << 20))
    with (
        path.open("rb", buffering=0) as source,
        open("/dev/full", "wb", buffering=0) as target,  # noqa: PTH123
        pytest.raises(OSError, match="No space left"),
    ):
        copy_hashed(source, target)


@given(ENTRIES, st.randoms())
def test_a_fingerprint_does_not_depend_on_the_order(content, random):
    entries = entries_of(content)
    shuffled = random.sample(entries, len(entries))
    assert fingerprint(entries) == fingerprint(shuffled)


@given(ENTRIES, ENTRIES)
def test_fingerprints_are_equal_for_equal_files_alone(one, other):
    assert (fingerprint(entries_of(one)) == fingerprint(entries_of(other))) == (one == other)
