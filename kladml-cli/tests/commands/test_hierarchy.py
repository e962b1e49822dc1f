from __future__ import annotations

import json
import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from kladml.interfaces import EntryAddress, ExperimentAddress, RunAddress
from kladml.runner.run_lock import RunLock
from kladml_backends_local import SqlCatalog

LEVELS = ("project", "family", "experiment")
ADDRESSES = {"project": "churn", "family": "churn/deep", "experiment": "churn/deep/net"}


@pytest.fixture
def catalog(workspace):
    with SqlCatalog() as catalog:
        yield catalog


@pytest.fixture
def runs(catalog):
    """Three experiments in two families of one project, and one of the default project."""
    paths = ("churn/deep/net", "churn/deep/net", "churn/deep/wide", "churn/trees/forest", "default/default/digits")
    return [catalog.add_run(ExperimentAddress.parse(path), "run", {}) for path in paths]


def cells(outcome):
    assert (outcome.status, outcome.errors) == (0, "")
    return [re.split(r"  +", line) for line in outcome.output.splitlines()]


def test_creating_says_what_was_made(kladml, workspace):
    assert cells(kladml("family", "create", "churn/deep", "--description", "Who leaves?")) == [
        ["made", "project", "churn"],
        ["made", "family", "churn/deep"],
    ]
    assert cells(kladml("experiment", "create", "churn/deep/net")) == [["made", "experiment", "churn/deep/net"]]
    assert cells(kladml("family", "list")) == [["churn/deep", "1", "0", "Who leaves?"]]
    (family,) = json.loads(kladml("family", "list", "--json").output)
    assert (family["description"], family["experiments"], family["runs"]) == ("Who leaves?", 1, 0)


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_there_is_not_made_twice(kladml, workspace, level):
    address = ADDRESSES[level]
    assert kladml(level, "create", address, "--description", "kept").status == 0
    outcome = kladml(level, "create", address, "--description", "lost")
    assert (outcome.status, outcome.output) == (3, "")
    assert f"there is {'an' if level == 'experiment' else 'a'} {level} '{address}' already" in outcome.errors
    assert f"'kladml {level} describe' changes its description" in outcome.errors
    assert json.loads(kladml(level, "show", address, "--json").output)["description"] == "kept"


def test_lists_show_counts_and_the_last_run(kladml, catalog, runs):
    last = catalog.get_run(runs[1]).started_at.astimezone()
    assert cells(kladml("project", "list"))[0][:4] == ["churn", "2", "3", "4"]
    assert [row[:3] for row in cells(kladml("family", "list", "churn"))] == [
        ["churn/deep", "2", "3"],
        ["churn/trees", "1", "1"],
    ]
    experiments = cells(kladml("experiment", "list"))
    assert [row[:2] for row in experiments] == [
        ["churn/deep/net", "2"],
        ["churn/deep/wide", "1"],
        ["churn/trees/forest", "1"],
        ["default/default/digits", "1"],
    ]
    assert experiments[0][2] == f"{last:%Y-%m-%d %H:%M}"
    assert [row[0] for row in cells(kladml("experiment", "list", "churn/deep"))] == [
        "churn/deep/net",
        "churn/deep/wide",
    ]
    assert [row[0] for row in cells(kladml("experiment", "list", "default"))] == ["default/default/digits"]


@pytest.mark.parametrize("level", LEVELS)
def test_looking_needs_no_right_to_write(kladml, runs, workspace, level):
    with closing(sqlite3.connect(workspace / ".kladml/catalog.db")) as other:
        other.execute("BEGIN IMMEDIATE")  # as in a read-only file, nobody else can write
        assert cells(kladml(level, "list"))
        assert kladml(level, "show", ADDRESSES[level]).status == 0


def test_list_as_json_has_what_the_catalog_knows(kladml, catalog, runs):
    catalog.describe_entry(EntryAddress.parse("churn/deep/net"), "first\nsecond")
    entries = json.loads(kladml("experiment", "list", "churn", "--json").output)
    assert entries[0] == {
        "address": "churn/deep/net",
        "level": "experiment",
        "description": "first\nsecond",
        "created_at": catalog.get_entry(EntryAddress.parse("churn/deep/net")).created_at.isoformat(),
        "runs": 2,
        "last_run_at": catalog.get_run(runs[1]).started_at.isoformat(),
    }
    assert [entry["address"] for entry in entries[1:]] == ["churn/deep/wide", "churn/trees/forest"]


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_to_list_is_no_error(kladml, workspace, level):
    outcome = kladml(level, "list")
    assert (outcome.status, outcome.output) == (0, "")
    assert f"'kladml {level} create' makes one, and so does 'kladml train'" in outcome.errors
    assert json.loads(kladml(level, "list", "--json").output) == []


def test_show_tells_everything(kladml, catalog, runs):
    catalog.describe_entry(EntryAddress(("churn",)), "Who leaves,\n  and when?")
    outcome = kladml("project", "show", "churn")
    lines = outcome.output.splitlines()
    assert lines[0] == "project churn"
    assert {"  families     2", "  experiments  3", "  runs         4", "  Who leaves,", "    and when?"} <= set(lines)
    assert [line.split()[0] for line in lines[-2:]] == ["churn/deep", "churn/trees"]
    outcome = kladml("experiment", "show", "churn/deep/net")
    assert "last run" in outcome.output
    assert outcome.errors == "'kladml runs list --experiment churn/deep/net' lists the runs\n"


def test_description_is_replaced_and_taken_away(kladml, workspace):
    kladml("project", "create", "churn", "--description", "old")
    for text in ("new", ""):
        assert cells(kladml("project", "describe", "churn", text)) == [["described", "project", "churn"]]
        assert json.loads(kladml("project", "show", "churn", "--json").output)["description"] == text


def test_bare_experiment_is_one_of_the_configured_project_and_family(kladml, workspace):
    kladml("experiment", "create", "digits")
    (workspace / "kladml.yaml").write_text("project: vision\nfamily: cnn\n", encoding="utf-8")
    assert cells(kladml("experiment", "create", "digits"))[-1] == ["made", "experiment", "vision/cnn/digits"]
    assert kladml("experiment", "show", "digits").output.startswith("experiment vision/cnn/digits\n")
    assert len(json.loads(kladml("experiment", "list", "--json").output)) == 2


# Deleting


def test_empty_entry_is_deleted(kladml, workspace):
    kladml("experiment", "create", "churn/deep/net")
    assert cells(kladml("experiment", "delete", "churn/deep/net")) == [["removed", "experiment", "churn/deep/net"]]
    assert kladml("experiment", "show", "churn/deep/net").status == 3
    assert kladml("family", "show", "churn/deep").status == 0


def test_what_is_not_empty_is_listed_and_stays(kladml, catalog, runs):
    outcome = kladml("family", "delete", "churn/deep")
    assert (outcome.status, outcome.output) == (3, "")
    *listed, error = outcome.errors.splitlines()
    assert [re.split(r"  +", line) for line in listed] == [
        ["it holds", "experiment", "churn/deep/net"],
        ["it holds", "experiment", "churn/deep/wide"],
        ["it holds", "2 runs", "churn/deep/net@1-2"],
        ["it holds", "1 run", "churn/deep/wide@1"],
    ]
    assert error == (
        "Error: family 'churn/deep' is not empty: it holds 2 experiments and 3 runs; "
        "add --recursive to delete what is inside, too"
    )
    assert len(catalog.list_runs()) == 5


def test_long_refusal_is_cut(kladml, catalog):
    for number in range(30):
        catalog.create_entry(EntryAddress(("churn", "deep", f"net{number}")))
    outcome = kladml("project", "delete", "churn")
    assert len(outcome.errors.splitlines()) == 22
    assert "and 11 more; --dry-run lists them all" in outcome.errors
    assert len(kladml("project", "delete", "churn", "--dry-run").output.splitlines()) == 32


def test_dry_run_lists_what_the_deletion_removes_and_what_stays(kladml, catalog, runs, workspace):
    (workspace / ".kladml" / "runs" / "churn" / "deep").mkdir(parents=True)
    catalog.delete_run(catalog.add_run(runs[0].experiment, "run", {}))
    catalog.add_run(runs[0].experiment, "run", {})
    dry = kladml("family", "delete", "churn/deep", "--dry-run")
    assert dry.status == 0
    assert len(catalog.list_runs()) == 6
    done = kladml("family", "delete", "churn/deep", "--recursive", "--yes")
    assert done.status == 0
    assert dry.output.replace("would remove", "removed") == done.output
    assert [re.split(r"  +", line) for line in done.output.splitlines()] == [
        ["removed", "family", "churn/deep"],
        ["removed", "experiment", "churn/deep/net"],
        ["removed", "experiment", "churn/deep/wide"],
        ["removed", "3 runs", "churn/deep/net@1-2,4"],
        ["removed", "1 run", "churn/deep/wide@1"],
    ]
    assert done.errors == (
        "Only the catalog forgets them. What stays: folders of runs, .kladml/runs/churn/deep;\n"
        "stored files; and what trackers recorded.\n"
    )
    assert [run.address for run in catalog.list_runs()] == runs[3:]
    assert (workspace / ".kladml" / "runs" / "churn" / "deep").is_dir()


def test_deleting_what_is_inside_asks_or_needs_yes(kladml, catalog, runs):
    outcome = kladml("project", "delete", "churn", "--recursive")
    assert outcome.status == 2
    assert "without a terminal, --yes is needed to delete" in outcome.errors
    assert len(catalog.list_runs()) == 5
    catalog.create_entry(EntryAddress(("empty",)))
    assert kladml("project", "delete", "empty", "--recursive").status == 0


def test_deleting_says_where_stored_files_stay(kladml, train, workspace):
    assert train("--experiment", "digits", "--publisher", "none").status == 0
    outcome = kladml("experiment", "delete", "digits", "--recursive", "--yes")
    assert "stored files, data/runs/default/default/digits; and" in outcome.errors


def test_run_of_an_experiment_that_was_deleted_gets_a_new_number(kladml, train, workspace):
    for expected in ("1", "2"):
        assert train("--experiment", "digits", "--publisher", "none").status == 0
        assert kladml("runs", "list").output.split()[0] == f"digits@{expected}"
        assert kladml("experiment", "delete", "digits", "--recursive", "--yes").status == 0


def test_run_in_training_keeps_its_experiment(kladml, catalog, runs, workspace):
    address = RunAddress.parse("churn/deep/net@2")
    with RunLock(workspace / ".kladml" / "runs" / address.path, address):
        outcome = kladml("project", "delete", "churn", "--recursive", "--yes")
    assert outcome.status == 7
    assert "run churn/deep/net@2 is being trained by" in outcome.errors
    assert len(catalog.list_runs()) == 5
    assert kladml("project", "delete", "churn", "--recursive", "--yes").status == 0


# What does not fit


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("command", [("show",), ("delete",), ("describe", "text"), ("delete", "--dry-run")])
def test_unknown_address_names_the_nearest(kladml, workspace, level, command):
    kladml(level, "create", ADDRESSES[level])
    name, *more = command
    outcome = kladml(level, name, f"{ADDRESSES[level][:-1]}x", *more)
    assert (outcome.status, outcome.output) == (3, "")
    assert f"did you mean '{ADDRESSES[level]}'? 'kladml {level} list' shows those there are" in outcome.errors


def test_unknown_address_to_list_below(kladml, catalog, runs):
    outcome = kladml("experiment", "list", "churn/dep")
    assert outcome.status == 3
    assert "there is no family 'churn/dep'" in outcome.errors
    assert "did you mean 'churn/deep'" in outcome.errors


@pytest.mark.parametrize(
    ("level", "address", "words"),
    [
        ("project", "churn/deep", "'churn/deep' names a family, not a project; write PROJECT, or use 'kladml family'"),
        ("family", "churn", "names a project, not a family; write PROJECT/FAMILY"),
        ("experiment", "churn/deep", "names a family, not an experiment"),
        ("family", "a/b/c", "names an experiment, not a family"),
        ("family", "a/b/c/d", "is no address of a project, a family or an experiment"),
        ("family", "churn/", "'' cannot be the name of a family"),
        ("project", "..", "'..' cannot be the name of a project"),
        ("project", "a\x1b[31mb", r"'a\x1b[31mb' cannot be the name of a project"),
        ("experiment", "a\nb", r"'a\nb' cannot be the name of an experiment"),
        ("experiment", "digits@3", "'digits@3' cannot be the name of an experiment"),
        ("project", "x" * 101, "cannot be the name of a project; use up to 100 letters"),
    ],
)
@pytest.mark.parametrize("command", ["create", "show", "delete"])
def test_address_that_does_not_fit_is_refused(kladml, workspace, level, command, address, words):
    outcome = kladml(level, command, address)
    assert (outcome.status, outcome.output) == (3, "")
    assert words in outcome.errors
    assert "\x1b" not in outcome.errors
    for each in LEVELS:
        assert json.loads(kladml(each, "list", "--json").output) == []


@pytest.mark.parametrize(("level", "below"), [("family", "a/b"), ("experiment", "a/b/c"), ("family", "a/b/c")])
def test_list_below_its_own_level_is_an_error(kladml, workspace, level, below):
    outcome = kladml(level, "list", below)
    assert outcome.status == 3
    assert "in which there are no" in outcome.errors


@pytest.mark.parametrize("text", ["\x1b[31mred", "x" * 2001])
def test_description_that_harms_is_refused(kladml, workspace, text):
    assert kladml("project", "create", "churn", "--description", text).status == 5
    assert json.loads(kladml("project", "list", "--json").output) == []
    kladml("project", "create", "churn")
    outcome = kladml("project", "describe", "churn", text)
    assert outcome.status == 5
    assert "\x1b" not in outcome.errors


def test_description_that_another_program_wrote_does_not_reach_the_terminal(kladml, catalog):
    import sqlite3
    from contextlib import closing

    catalog.create_entry(EntryAddress(("churn",)))
    with closing(sqlite3.connect(".kladml/catalog.db")) as connection, connection:
        connection.execute("UPDATE kladml_projects SET description = ?", ("a\x1b[31mb\x07\nc\x9b2J",))
    for command in (("list",), ("show", "churn")):
        output = kladml("project", *command).output
        assert "a [31mb" in output
        assert not {"\x1b", "\x07", "\x9b"} & set(output)


@pytest.mark.parametrize("arguments", [("create",), ("delete",), ("show",), ("describe", "churn")])
def test_missing_argument_is_a_usage_error(kladml, workspace, arguments):
    assert kladml("project", *arguments).status == 2


def test_project_needs_a_workspace_and_a_catalog(kladml, folder):
    outcome = kladml("project", "create", "churn")
    assert outcome.status == 3
    assert "run kladml init there first" in outcome.errors
    assert list(folder.iterdir()) == []
    (folder / ".kladml").mkdir()
    outcome = kladml("project", "list", "--catalog", "none")
    assert outcome.status == 5
    assert "no catalog is selected" in outcome.errors


MINIMAL = """
from datetime import UTC, datetime
from kladml import CatalogInterface, CatalogRun, ExperimentAddress, RunAddress
from kladml.plugins import hookimpl

class Minimal(CatalogInterface):
    def add_run(self, experiment, run_id, backends): ...
    def end_run(self, address, status, metrics): ...
    def list_runs(self, experiment=None):
        address = RunAddress(ExperimentAddress("churn", "deep", "net"), "1")
        return [CatalogRun(address, "run", "FINISHED", datetime(2026, 1, 1, tzinfo=UTC))]

@hookimpl
def kladml_register_catalog():
    return Minimal
"""


def test_catalog_that_cannot_organise_lists_and_says_so(kladml, workspace, install):
    install("a-catalog", {("catalog", "minimal"): "minimal"}, {"minimal": MINIMAL})
    assert cells(kladml("experiment", "list", "--catalog", "minimal"))[0][:2] == ["churn/deep/net", "1"]
    for command in (("create", "new"), ("delete", "churn"), ("describe", "churn", "text")):
        outcome = kladml("project", *command, "--catalog", "minimal")
        assert outcome.status == 5
        assert "does not offer the capability 'organise'" in outcome.errors


def test_processes_that_create_the_same_at_once(run_kladml, workspace):
    with ThreadPoolExecutor(4) as pool:
        outcomes = [*pool.map(lambda _: run_kladml("family", "create", "churn/deep"), range(4))]
    assert sorted(outcome.status for outcome in outcomes) == [0, 3, 3, 3]
