from __future__ import annotations

import os
from pathlib import Path

import pytest

from kladml.errors import ConfigFileError
from kladml.workspace import Workspace, config_file, config_names, find_config


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    found = Workspace.create(tmp_path / "here")
    for name in ("digits", "cnn/small"):
        file = config_file(found, name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("experiment: x\n")
    monkeypatch.chdir(found.root)
    return found


def test_names_are_paths_below_the_folder(workspace):
    (workspace.data / "configs/.hidden.yaml").write_text("")
    (workspace.data / "configs/notes.txt").write_text("")
    (workspace.data / "configs/folder.yaml").mkdir()
    assert config_names(workspace) == ["cnn/small", "digits"]


def test_a_name_means_its_file_from_any_folder(workspace, tmp_path, monkeypatch):
    assert find_config(workspace, "cnn/small") == Path("data/configs/cnn/small.yaml")
    monkeypatch.chdir(tmp_path)
    assert find_config(workspace, "digits").read_text() == "experiment: x\n"


def test_a_file_of_the_root_is_found_from_a_folder_below(workspace, monkeypatch):
    (workspace.root / "train.yaml").write_text("experiment: root\n")
    (workspace.root / "below").mkdir()
    monkeypatch.chdir(workspace.root / "below")
    assert find_config(workspace, "train.yaml").read_text() == "experiment: root\n"
    (workspace.root / "below/train.yaml").write_text("experiment: below\n")
    assert find_config(workspace, "train.yaml") == Path("train.yaml")


def test_a_file_wins_over_a_name_and_a_folder_does_not(workspace):
    (workspace.root / "cnn").mkdir()
    (workspace.root / "digits").mkdir()
    assert find_config(workspace, "digits") == Path("data/configs/digits.yaml")
    (workspace.root / "cnn/small").write_text("")
    assert find_config(workspace, "cnn/small") == Path("cnn/small")


@pytest.mark.parametrize(
    ("text", "near"),
    [("digts", "digits"), ("digits.yaml", "digits"), ("small", "cnn/small"), ("rnn/smal", "cnn/small")],
)
def test_an_unknown_name_names_the_nearest(workspace, text, near):
    with pytest.raises(ConfigFileError, match=f"no configuration '{text}'.*did you mean {near}.*kladml config list"):
        find_config(workspace, text)


@pytest.mark.parametrize("text", ["../digits", "/etc/passwd.yaml", "a\nb", "a\0b", "", "x" * 5000, "cnn//small"])
def test_what_is_neither_is_an_error_in_one_line(workspace, text):
    with pytest.raises(ConfigFileError, match="there is no configuration") as caught:
        find_config(workspace, text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\x1b[31m", "", ".hidden", "a/", "a\\b", "a.", "x" * 101])
def test_no_name_leads_out_of_the_folder(workspace, name):
    with pytest.raises(ConfigFileError, match="cannot be the name of a configuration"):
        config_file(workspace, name)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_no_link_leads_out_of_the_workspace(workspace, tmp_path):
    (tmp_path / "outside").mkdir()
    (workspace.data / "configs/out").symlink_to(tmp_path / "outside")
    with pytest.raises(ConfigFileError, match="outside of the workspace"):
        config_file(workspace, "out/new")
