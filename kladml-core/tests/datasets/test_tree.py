"""Which files a path stands for, and what is refused."""

from __future__ import annotations

import os

import pytest

from kladml.datasets.tree import check_file_name, list_tree
from kladml.errors import DataError


def test_a_file_and_a_folder_without_what_is_hidden(tree):
    folder = tree({"b/c.bin": b"12", "a.bin": b"1", ".git/config": b"x", ".hidden": b"x"})
    assert [(file.name, file.size) for file in list_tree(folder)] == [("a.bin", 1), ("b/c.bin", 2)]
    assert [file.name for file in list_tree(folder / "b/c.bin")] == ["c.bin"]


def test_a_link_inside_is_followed_and_one_that_leaves_is_refused(tree, tmp_path):
    folder = tree({"a.bin": b"1"})
    (folder / "b.bin").symlink_to("a.bin")
    assert [(file.name, file.size) for file in list_tree(folder)] == [("a.bin", 1), ("b.bin", 1)]
    (tmp_path / "secret").write_text("x")
    (folder / "c.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(DataError, match=r"c.bin is a link to .*secret, outside of the folder"):
        list_tree(folder)


@pytest.mark.parametrize(
    ("target", "said"), [("..", "outside of the folder"), ("sub", "link to a folder"), ("no", "to nothing")]
)
def test_links_to_folders_and_to_nothing_are_refused(tree, target, said):
    folder = tree({"sub/a.bin": b"1"})
    (folder / "link").symlink_to(target)
    with pytest.raises(DataError, match=said):
        list_tree(folder)


def test_what_is_no_file_is_refused(tree):
    folder = tree({"a.bin": b"1"})
    os.mkfifo(folder / "pipe")
    with pytest.raises(DataError, match="pipe is no regular file"):
        list_tree(folder)


@pytest.mark.parametrize("name", ["", "..", "a/../b", "/etc/passwd", "a//b", "a\nb", "a\\b", "C:/x", "a\udcff"])
def test_names_that_are_none_everywhere_are_refused(name):
    with pytest.raises(DataError, match="cannot be the name of a file"):
        check_file_name(name)


def test_nothing_is_no_data(tmp_path):
    with pytest.raises(DataError, match="holds no files"):
        list_tree(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        list_tree(tmp_path / "absent")
