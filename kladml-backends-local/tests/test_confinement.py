"""Names that stay in their folder, and names that do not."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kladml_backends_local.confinement import EscapeError, confined_path

PARTS = st.one_of(
    st.sampled_from(["", ".", "..", "...", "a", "b.bin", " ", "~", "C:", "\\", "..\\", "/", "//", "%2e%2e", "a\0"]),
    st.text(max_size=6),
)


@given(parts=st.lists(PARTS, max_size=6), separator=st.sampled_from(["/", "//", "\\", "/./"]))
def test_no_name_leaves_the_folder(tmp_path_factory, parts, separator):
    folder = tmp_path_factory.getbasetemp() / "confined"
    name = separator.join(parts)
    try:
        path = confined_path(folder, name)
    except EscapeError:
        return
    assert os.path.normpath(path) == str(path)
    assert os.path.commonpath([os.path.realpath(path), os.path.realpath(folder)]) == os.path.realpath(folder)
    assert path.relative_to(folder).as_posix() == name


@pytest.mark.parametrize("name", ["a", "a/b.bin", "runs/3/model.safetensors", ".hidden", "naïve 模型", "a b/..c"])
def test_relative_names_are_taken_as_they_are(tmp_path, name):
    assert confined_path(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize("name", ["", "/", "/etc/passwd", "..", "a/..", "a//b", "a/", "./a", "a\\b", "a\0b", "\ud800"])
def test_malformed_names_are_refused(tmp_path, name):
    with pytest.raises(EscapeError):
        confined_path(tmp_path, name)


def test_links_inside_are_followed_and_links_outside_refused(tmp_path):
    folder = tmp_path / "folder"
    (folder / "real").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (folder / "inward").symlink_to(folder / "real")
    (folder / "outward").symlink_to(tmp_path / "outside")
    (folder / "real" / "upward").symlink_to("../..")
    (folder / "loop").symlink_to(folder / "loop")
    assert confined_path(folder, "inward/a") == folder / "inward" / "a"
    for name in ("outward", "outward/a", "real/upward/outside/a", "inward/upward/a"):
        with pytest.raises(EscapeError, match="symbolic link"):
            confined_path(folder, name)


def test_folder_itself_may_be_reached_through_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert confined_path(tmp_path / "link", "a") == tmp_path / "link" / "a"
