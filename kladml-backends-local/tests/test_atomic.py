"""A file is in its place as a whole or not at all."""

from __future__ import annotations

import os

import pytest

from kladml_backends_local.atomic import TEMPORARY_PREFIX, copy_into_place

DIE_BEFORE_RENAME = """
import os, sys
from pathlib import Path
from kladml_backends_local.atomic import copy_into_place

def die(event, arguments):
    if event == "os.rename":
        os._exit(9)

sys.addaudithook(die)
copy_into_place(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(b"new" * 1_000)
    return path


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "folder" / "target"
    path.parent.mkdir()
    path.write_bytes(b"old")
    return path


def test_copy_replaces_and_leaves_the_source(source, target):
    copy_into_place(source, target)
    assert target.read_bytes() == source.read_bytes() == b"new" * 1_000
    assert list(target.parent.iterdir()) == [target]


def test_process_that_dies_before_the_rename_leaves_the_old_file(start_python, source, target):
    process = start_python(DIE_BEFORE_RENAME, source, target)
    process.communicate(timeout=60)
    assert process.returncode == 9
    assert target.read_bytes() == b"old"
    (leftover,) = [path for path in target.parent.iterdir() if path != target]
    assert leftover.name.startswith(TEMPORARY_PREFIX)
    assert leftover.read_bytes() == source.read_bytes()


def test_failure_leaves_the_old_file_and_nothing_else(source, target):
    with pytest.raises(FileNotFoundError):
        copy_into_place(source.with_name("absent"), target)
    assert list(target.parent.iterdir()) == [target]
    assert target.read_bytes() == b"old"


def test_target_that_is_a_folder_is_refused(source, target):
    with pytest.raises(OSError):
        copy_into_place(source, target.parent)
    assert sorted(path.name for path in target.parent.parent.iterdir()) == ["folder", "source"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_copy_has_the_permissions_that_the_umask_leaves(source, target):
    before = os.umask(0o027)
    try:
        copy_into_place(source, target)
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == 0o640
