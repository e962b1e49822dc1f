"""Finding and making the workspace."""

import logging

import pytest

from kladml.errors import WorkspaceError
from kladml.workspace import Workspace


def test_it_is_found_from_any_folder_below(tmp_path):
    workspace = Workspace.create(tmp_path)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert Workspace.find(below) == workspace == Workspace.around(tmp_path)
    assert workspace.state == tmp_path.resolve() / ".kladml"


def test_none_is_an_error_that_names_init(tmp_path):
    assert Workspace.around(tmp_path) is None
    with pytest.raises(WorkspaceError, match="lies in no KladML workspace; run kladml init"):
        Workspace.find(tmp_path)


def test_ensure_makes_the_folder_a_workspace_and_says_so_once(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "kladml"):
        first = Workspace.ensure(tmp_path)
        assert Workspace.ensure(tmp_path) == first
    assert [record.message for record in caplog.records] == [
        f"{tmp_path.resolve()} is now a KladML workspace: runs are kept in {first.state}"
    ]


def test_the_variable_names_the_workspace_when_no_folder_is_given(tmp_path, monkeypatch):
    named, here = tmp_path / "named", tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("KLADML_WORKSPACE", str(named))
    with pytest.raises(WorkspaceError, match="which is no workspace"):
        Workspace.around()
    assert Workspace.create(named) == Workspace.around()
    assert Workspace.around(here) is None


def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="cannot become a workspace"):
        Workspace.create(tmp_path / "file")
