from __future__ import annotations

import json
import re

import pytest


@pytest.fixture
def three_runs(train, workspace):
    for experiment in ("digits", "digits", "vision/cnn/faces"):
        assert train("--experiment", experiment, "--publisher", "none").status == 0
    return workspace


def test_runs_are_listed_newest_first(kladml, three_runs):
    outcome = kladml("runs", "list")
    assert (outcome.status, outcome.errors) == (0, "")
    assert [line.split()[:2] for line in outcome.output.splitlines()] == [
        ["vision/cnn/faces@1", "FINISHED"],
        ["digits@2", "FINISHED"],
        ["digits@1", "FINISHED"],
    ]
    for line in outcome.output.splitlines():
        assert re.search(r"  \d{4}-\d\d-\d\d \d\d:\d\d  +\d+:\d\d  mse 0\.2500$", line)
        assert len(line) <= 80


def test_runs_of_one_experiment_as_json(kladml, three_runs):
    (run,) = json.loads(kladml("runs", "list", "--experiment", "vision/cnn/faces", "--json").output)
    assert (run["address"], run["status"], run["metrics"]["mse"]) == ("vision/cnn/faces@1", "FINISHED", 0.25)
    assert run["backends"] == {"storage": "local", "catalog": "sql"}
    assert run["started_at"] < run["ended_at"]


def test_limit_says_how_many_are_left_out(kladml, three_runs):
    outcome = kladml("runs", "list", "--limit", "1")
    assert outcome.output.split()[0] == "vision/cnn/faces@1"
    assert outcome.errors == "2 older are left out; see --limit\n"


def test_an_experiment_without_runs_is_named(kladml, three_runs):
    outcome = kladml("runs", "list", "--experiment", "nope")
    assert (outcome.status, outcome.output) == (3, "")
    assert "there is no experiment 'nope'" in outcome.errors


def test_no_runs_are_no_error(kladml, workspace):
    outcome = kladml("runs", "list")
    assert (outcome.status, outcome.output) == (0, "")
    assert outcome.errors == "no runs yet; 'kladml train' makes one\n"
    assert json.loads(kladml("runs", "list", "--json").output) == []


def test_runs_need_a_workspace(kladml, folder):
    outcome = kladml("runs", "list")
    assert outcome.status == 3
    assert "lies in no KladML workspace; run kladml init there first" in outcome.errors
    assert list(folder.iterdir()) == []


def test_runs_need_a_catalog(kladml, workspace):
    outcome = kladml("runs", "list", "--catalog", "none")
    assert outcome.status == 5
    assert "no catalog is selected" in outcome.errors


def test_malformed_address_is_an_error(kladml, workspace):
    assert kladml("runs", "list", "--experiment", "a/b").status == 3
