from __future__ import annotations

import shlex
from importlib.resources import files
from pathlib import Path

import pytest

EXAMPLE = ["data.py", "model.py", "train.yaml"]


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_folder_becomes_a_workspace(kladml, folder):
    outcome = kladml("init")
    assert (outcome.status, outcome.errors) == (
        0,
        "Next: kladml data add NAME PATH, or kladml init --example digits\n",
    )
    assert outcome.output.splitlines() == [
        f"{folder} is a KladML workspace",
        "  wrote  .kladml/.gitignore",
        "  wrote  kladml.yaml",
        "  wrote  .kladml/catalog.db",
    ]
    assert sorted(tree(folder)) == [".kladml/.gitignore", ".kladml/catalog.db", "kladml.yaml"]
    assert (folder / ".kladml/spool").is_dir()
    assert kladml("project", "list", "--json").output == "[]\n"
    assert sorted(path.name for path in (folder / "data").iterdir()) == ["configs", "datasets", "runs"]
    assert (folder / ".kladml/.gitignore").read_text(encoding="utf-8").splitlines()[-1] == "*"


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("catalog: {sql: {url: 'postgresql://127.0.0.1:1/team'}}\n", {}),
        ("catalog: none\n", {}),
        ("catalog: {use: of-the-team}\n", {}),
        ("trainig: {max_epochs: 3}\n", {}),
        ("", {"KLADML_CATALOG__SQL__URL": "postgresql://127.0.0.1:1/team"}),
    ],
)
def test_database_that_the_configuration_keeps_elsewhere_is_left_alone(kladml, folder, monkeypatch, text, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (folder / "kladml.yaml").write_text(text)
    outcome = kladml("init", "-q")
    assert (outcome.status, outcome.errors) == (0, "")
    assert sorted(tree(folder)) == [".kladml/.gitignore", "kladml.yaml"]


def test_database_that_is_there_stays_as_it_is(kladml, folder):
    (folder / ".kladml").mkdir()
    (folder / ".kladml/catalog.db").write_bytes(b"of a newer version, or damaged")
    assert kladml("init", "-q").status == 0
    assert (folder / ".kladml/catalog.db").read_bytes() == b"of a newer version, or damaged"


def test_database_that_cannot_be_made_is_an_error(kladml, folder):
    (folder / ".kladml").mkdir()
    (folder / ".kladml/spool").write_text("in the way")
    outcome = kladml("init")
    assert outcome.status == 3
    assert f"{folder / '.kladml/spool'} cannot be written" in outcome.errors


def test_workspace_in_another_one_is_told(kladml, folder):
    kladml("init")
    outcome = kladml("init", "below")
    assert outcome.status == 0
    assert f"{folder / 'below'} is nested in the workspace {folder}" in outcome.errors
    assert kladml("init", "below").errors.startswith("Next: ")


def test_quiet_leaves_what_was_written(kladml, folder):
    outcome = kladml("init", "--quiet")
    assert (outcome.status, outcome.errors) == (0, "")
    assert "Next" not in outcome.output
    assert "  wrote  kladml.yaml" in outcome.output


def test_second_time_changes_nothing_and_says_what_was_kept(kladml, folder):
    kladml("init", "--example", "digits")
    (folder / "kladml.yaml").write_text("training: {max_epochs: 3}\n")
    (folder / "model.py").write_text("mine = 1\n")
    (folder / "data.py").unlink()
    before = tree(folder)
    outcome = kladml("init", "--example", "digits")
    assert outcome.status == 0
    assert outcome.output.splitlines()[1:] == [
        "  kept   .kladml/.gitignore, which was there",
        "  kept   kladml.yaml, which was there",
        "  wrote  data.py",
        "  kept   model.py, which was there",
        "  kept   train.yaml, which was there",
    ]
    after = tree(folder)
    assert after.pop("data.py") == (files("kladml_cli") / "examples/digits/data.py").read_bytes()
    assert after == before


def test_other_folder_is_made_and_the_next_step_leads_there(kladml, folder):
    outcome = kladml("init", "a new/place", "--example", "digits")
    assert sorted(path.name for path in (folder / "a new/place").iterdir()) == [
        ".kladml",
        "data",
        *EXAMPLE[:1],
        "kladml.yaml",
        *EXAMPLE[1:],
    ]
    next_step = outcome.errors.splitlines()[-1].removeprefix("Next: ")
    assert shlex.split(next_step) == ["cd", "a new/place", "&&", "kladml", "train", "train.yaml"]


def test_configuration_of_a_new_workspace_is_valid(kladml, folder):
    kladml("init", "--example", "digits")
    for name in ("kladml.yaml", "train.yaml"):
        outcome = kladml("config", "check", name)
        assert (outcome.status, outcome.errors) == (0, "")


@pytest.mark.parametrize("path", ["file", "file/folder"])
def test_place_that_cannot_be_a_folder_is_an_error(kladml, folder, path):
    (folder / "file").write_text("in the way")
    outcome = kladml("init", path)
    assert outcome.status == 3
    assert outcome.errors.startswith(f"Error: {folder / path} cannot become a workspace: ")
    assert outcome.errors.count("\n") == 1


def test_file_in_the_way_of_a_data_folder_is_an_error(kladml, folder):
    (folder / "data").write_text("in the way")
    outcome = kladml("init")
    assert outcome.status == 3
    assert "cannot be written" in outcome.errors
    assert outcome.errors.count("\n") == 1


def test_link_that_leads_nowhere_is_not_overwritten(kladml, folder):
    try:
        (folder / "kladml.yaml").symlink_to(folder.parent / "elsewhere.yaml")
    except OSError:
        pytest.skip("this system makes no links")
    kladml("init")
    assert not Path(folder.parent, "elsewhere.yaml").exists()
    assert (folder / "kladml.yaml").is_symlink()


def test_unknown_example_is_wrong_usage(kladml, folder):
    outcome = kladml("init", "--example", "faces")
    assert outcome.status == 2
    assert "'faces'" in outcome.errors
    assert tree(folder) == {}
