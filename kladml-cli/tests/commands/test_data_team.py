"""`kladml data` in two workspaces that share a catalog and a storage."""

from __future__ import annotations

import json

import pytest

CONFIGURATION = """
catalog:
  sql:
    url: sqlite:///{shared}/team.db
storage:
  local:
    root: {shared}/files
"""


@pytest.fixture
def shared(tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir()
    return folder


@pytest.fixture
def of(kladml, tmp_path, shared):
    """Run a command in a workspace of the team."""

    def run(who, *arguments, status=0):
        folder = tmp_path / who
        if not folder.exists():
            folder.mkdir()
            assert kladml("init", folder).status == 0
            (folder / "kladml.yaml").write_text(CONFIGURATION.format(shared=shared.as_posix()))
        outcome = kladml("data", *arguments, "--workspace", folder)
        assert outcome.status == status, outcome.errors
        return outcome

    return run


@pytest.fixture
def file(tmp_path):
    """Write a file with a content, and return it."""

    def write(content):
        path = tmp_path / "notes.txt"
        path.write_text(content)
        return path

    return write


def references(outcome):
    return [(row["reference"], row["here"], row["in_catalog"], row["storage"]) for row in json.loads(outcome.output)]


def test_numbers_mean_the_same_for_both(of, file):
    assert of("anna", "add", "notes", file("one")).output.startswith("notes@1  ")
    assert of("ben", "add", "notes", file("two")).output.startswith("notes@2  ")
    assert of("ben", "add", "notes", file("three")).output.startswith("notes@3  ")
    assert of("anna", "add", "notes", file("three")).output.startswith("notes@3  ")
    assert references(of("anna", "list", "notes", "--json")) == [
        ("notes@3", True, True, None),
        ("notes@2", False, True, None),
        ("notes@1", True, True, None),
    ]
    assert of("anna", "add", "notes", file("one")).output.startswith("notes@4  ")
    assert references(of("ben", "list", "--json")) == [("notes@4", False, True, None), ("notes@3", True, True, None)]


def test_what_is_elsewhere_is_shown_and_pulled(of, file):
    of("anna", "add", "notes", file("one"))
    assert of("ben", "sync").output == ("notes@1  elsewhere: who has it can push it: kladml data push notes@1\n")
    of("anna", "push", "notes@1")
    assert of("anna", "list").output.rstrip().endswith("here, local/runs")
    assert of("ben", "list").output.rstrip().endswith("  local/runs")
    shown = of("ben", "show", "notes@1")
    assert "where    local/runs" in shown.output
    assert shown.errors == "Next: kladml data pull notes@1 --storage local\n"
    content = json.loads(of("ben", "show", "notes", "--json").output)
    assert (content["here"], content["storage"], content["schema"]["format"]) == (False, "local/runs", "files")
    assert of("ben", "sync", "notes").output == "notes@1  elsewhere: kladml data pull notes@1 --storage local\n"
    of("ben", "pull", "notes@1")
    assert references(of("ben", "list", "--json")) == [("notes@1", True, True, "local/runs")]
    assert of("ben", "sync").output == "notes@1  written to the folder\n"
    of("ben", "remove", "notes@1")
    assert references(of("ben", "list", "--json")) == [("notes@1", False, True, "local/runs")]
    assert of("ben", "sync", "notes").status == 0


def test_sync_notes_what_was_added_without_the_catalog(of, file):
    of("anna", "add", "notes", file("one"), "--catalog", "none")
    of("anna", "add", "notes", file("two"), "--catalog", "none")
    listed = of("anna", "list", "notes")
    assert listed.errors == "the catalog does not know 2 of these; 'kladml data sync' tells it\n"
    assert references(of("anna", "list", "--json")) == [("notes@2", True, False, None)]
    would = of("anna", "sync", "--dry-run").output.splitlines()
    assert would[1:] == ["notes@1  would be noted in the catalog", "notes@2  would be noted in the catalog"]
    assert len(of("anna", "sync").output.splitlines()) == 3
    assert of("anna", "sync").output == "notes@2  in step\n"
    assert [row[0] for row in references(of("ben", "list", "notes", "--json"))] == ["notes@2", "notes@1"]


def test_another_content_of_one_number_is_reported_and_never_overwritten(of, file):
    of("anna", "add", "notes", file("one"))
    of("ben", "add", "notes", file("two"), "--catalog", "none")
    outcome = of("ben", "sync", status=6)
    assert "notes@1  failed" in outcome.output
    assert "is another one than that of the catalog" in outcome.errors
    assert "add the data under another name" in outcome.errors
    assert "is another one" in of("ben", "push", "notes@1", status=6).errors
    assert [row[1:3] for row in references(of("ben", "list", "notes", "--json"))] == [(False, True), (True, False)]
    assert of("ben", "add", "notes", file("three")).output.startswith("notes@2  ")


def test_removing_is_told_to_the_catalog(of, file):
    of("anna", "add", "notes", file("one"))
    assert "knows it from elsewhere; add --forget" in of("ben", "remove", "notes@1", status=6).errors
    of("anna", "remove", "notes@1")
    assert of("ben", "list", "--json").output == "[]\n"
    assert of("ben", "add", "notes", file("one")).output.startswith("notes@2  ")


def test_database_that_is_away_keeps_anything_from_being_kept(of, file, tmp_path):
    of("anna", "add", "notes", file("one"))
    away = ("--set", "catalog.sql.url=postgresql://me@127.0.0.1:9/team")
    outcome = of("anna", "add", "notes", file("two"), *away, status=5)
    assert "the catalog postgresql+psycopg://127.0.0.1:9/team cannot be used" in outcome.errors
    assert "nothing was changed, and '--catalog none' goes without it" in outcome.errors
    objects = [path for path in (tmp_path / "anna/.kladml/objects").rglob("*") if path.is_file()]
    assert [path.read_text() for path in objects] == ["one"]
    listed = of("anna", "list", *away)
    assert references(of("anna", "list", "--json", *away)) == [("notes@1", True, False, None)]
    assert "only what is in this workspace is shown" in listed.errors
    assert of("anna", "remove", "notes@1", *away, status=5).output == ""
    assert of("anna", "sync", *away, status=5).output == ""
    assert references(of("anna", "list", "--json")) == [("notes@1", True, True, None)]
