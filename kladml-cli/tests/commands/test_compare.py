"""`kladml compare`."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def two_runs(train, workspace):
    import torch  # noqa: F401 - else only runs after the first one that imports it note threads

    assert train("--experiment", "digits", "--publisher", "none").status == 0
    source = (workspace / "model.py").read_text().replace("0.125", "0.5")
    (workspace / "other.py").write_text(source)
    assert train("--experiment", "digits", "--publisher", "none", model="other.py:MeanModel").status == 0
    return workspace


def test_what_differs_and_nothing_else(kladml, two_runs):
    outcome = kladml("compare", "@1", "@2")
    assert (outcome.status, outcome.errors) == (0, "")
    parts = outcome.output.split("\n\n")
    assert [line.split()[:3] for line in parts[0].splitlines()] == [
        ["●", "digits@1", "FINISHED"],
        ["○", "digits@2", "FINISHED"],
    ]
    assert parts[1] == (
        "configuration\n             @1                  @2\n  model.ref  model.py:MeanModel  other.py:MeanModel"
    )
    assert [line.split() for line in parts[2].splitlines()[2:]] == [
        ["mse", "0.2500", "0.2500"],
        ["train_mse", "0.1250", "0.5000"],
    ]
    assert len(parts) == 3
    assert all(len(line) <= 80 for line in outcome.output.splitlines())


def test_many_runs_are_below_one_another(kladml, train, two_runs):
    outcome = kladml("compare", "@1", "@2", "@1", "@2", "@1", "@2", "@1")
    assert outcome.status == 0
    assert "  model.ref\n    @1  model.py:MeanModel\n    @2  other.py:MeanModel\n" in outcome.output
    assert all(len(line) <= 80 for line in outcome.output.splitlines())


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("train_mse rise > 0.1", 9),
        ("train_mse rise > 1", 0),
        ("train_mse drop > 0", 0),
        ("train_mse rise > 10%", 9),
        ("mse change > 0", 0),
    ],
)
def test_fail_if_sets_the_exit_status(kladml, two_runs, condition, status):
    outcome = kladml("compare", "@1", "@2", "--fail-if", condition)
    assert outcome.status == status
    assert ("train_mse of default/default/digits@2 is 0.5, after 0.125 of" in outcome.errors) is (status == 9)
    assert "final value of each metric" in outcome.output


def test_json_says_what_failed(kladml, two_runs):
    outcome = kladml("compare", "@1", "@-1", "--json", "--fail-if", "train_mse rise > 0.1")
    found = json.loads(outcome.output)
    assert outcome.status == 9
    assert found["runs"] == ["default/default/digits@1", "default/default/digits@2"]
    assert found["differences"] == {
        "config": {
            "model.ref": {
                "default/default/digits@1": "model.py:MeanModel",
                "default/default/digits@2": "other.py:MeanModel",
            }
        }
    }
    assert found["metrics"]["train_mse"]["default/default/digits@2"] == {
        "last": 0.5,
        "last_step": None,
        "best": None,
        "best_step": None,
        "mode": "min",
        "values": 0,
    }
    assert len(found["failed"]) == 1


def test_a_run_is_the_same_as_itself(kladml, two_runs):
    assert "no difference in configuration, code, data" in kladml("compare", "@1", "@1").output


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (("@1",), 2, "two or more runs"),
        ((), 2, "Missing argument"),
        (("@1", "@9"), 3, "the nearest are default/default/digits@1, default/default/digits@2"),
        (("@1", "digit@2"), 3, "did you mean default/default/digits?"),
        (("@1", "@2", "--fail-if", "mse"), 3, "write METRIC drop|rise|change > NUMBER"),
        (("@1", "@2", "--fail-if", "f1 drop > 0"), 3, "has no metric 'f1'"),
        (("@1", "@2", "--plot", "f1"), 3, "none of the runs has a metric 'f1'"),
        (("@1", "@best", "--metric", "mse2"), 3, "no run of default/default/digits has the metric 'mse2'"),
    ],
)
def test_wrong_input(kladml, two_runs, arguments, status, part):
    outcome = kladml("compare", *arguments)
    assert outcome.status == status
    assert part in outcome.errors
    assert "Traceback" not in outcome.errors


def test_what_seldom_changes_numbers_is_only_counted(kladml, two_runs):
    file = two_runs / ".kladml/runs/default/default/digits/2/run.json"
    record = json.loads(file.read_text())
    record["environment"]["distributions"] |= {"a-linter": "1", "b-linter": "1"}
    file.write_text(json.dumps(record))
    assert (
        "environment\n  2 packages, on which numbers seldom depend; see --all\n" in kladml("compare", "@1", "@2").output
    )
    record["environment"]["distributions"] |= {"numpy": "1.0"}
    file.write_text(json.dumps(record))
    shown = kladml("compare", "@1", "@2").output
    assert "  numpy  " in shown
    assert "linter" not in shown
    assert "  2 packages, on which" in shown
    assert "  b-linter  " in kladml("compare", "@1", "@2", "--all").output


def test_a_changed_file_of_code_is_a_difference(kladml, train, two_runs):
    train("--experiment", "digits", "--publisher", "none")
    assert "\ncode\n" not in kladml("compare", "@1", "@3").output
    with (two_runs / "model.py").open("a") as stream:
        stream.write("# other\n")
    train("--experiment", "digits", "--publisher", "none")
    found = json.loads(kladml("compare", "@1", "@4", "--json").output)["differences"]
    assert list(found) == ["code"]
    assert list(found["code"]) == ["model.py"]
    file = two_runs / ".kladml/runs/default/default/digits/1/run.json"
    older = json.loads(file.read_text())
    del older["code_files"], older["untracked"]
    file.write_text(json.dumps(older))
    assert "\ncode\n" not in kladml("compare", "@1", "@4").output


@pytest.fixture
def tracked_runs(train, workspace):
    options = ("--experiment", "digits", "--publisher", "none", "--tracker", "local")
    assert train(*options).status == 0
    source = (workspace / "model.py").read_text().replace("0.125", "0.5")
    (workspace / "other.py").write_text(source)
    assert train(*options, model="other.py:MeanModel").status == 0
    return workspace


def test_final_values_are_not_shown_as_the_best(kladml, tracked_runs):
    assert "best value of each metric, and its step\n" in kladml("compare", "@1", "@2").output
    (tracked_runs / ".kladml/mlflow.db").unlink()
    shown = kladml("runs", "show", "@1")
    assert ["train_mse", "0.1250", "-", "-", "-"] in [line.split() for line in shown.output.splitlines()]
    assert shown.errors.count("the tracker has no values of the metrics of default/default/digits@1") == 1
    compared = kladml("compare", "@1", "@2")
    assert "\nfinal value of each metric\n" in compared.output
    assert " at " not in compared.output
    refused = kladml("compare", "@1", "@2", "--fail-if", "train_mse rise > 0.1")
    assert refused.status == 5
    assert "only the final value is known, and not the best" in " ".join(refused.errors.split())


def test_a_final_value_is_not_compared_with_a_best_one(kladml, train, tracked_runs):
    train("--experiment", "digits", "--publisher", "none")
    shown = kladml("compare", "@1", "@3", "--fail-if", "train_mse rise > 0.1")
    assert shown.status == 5
    assert "'train_mse' of default/default/digits@3 only the final" in " ".join(shown.errors.split())
    titles = kladml("compare", "@1", "@3").output
    assert "best value of each metric, and its step; the final value where no step is" in titles


def test_plots_need_a_history(kladml, two_runs):
    assert kladml("compare", "@1", "@2", "--plot", "mse").output.endswith("\nmse\n  only final values are known\n")


def test_plots(kladml, tracked_runs):
    outcome = kladml("compare", "@1", "@2", "--plot", "train_mse")
    plot = outcome.output.split("\ntrain_mse\n")[1].splitlines()
    assert plot[0].startswith("    0.5000 │○")
    assert plot[9].startswith("    0.1250 │●")
    assert plot[-1].split() == ["step", "0"]
    assert all(len(line) <= 80 for line in plot)


# Showing


def test_show_says_where_files_are_without_a_storage(kladml, train, workspace):
    assert train("--storage", "none", "--publisher", "none").status == 0
    shown = kladml("runs", "show", "@1").output
    assert "\nfiles in its folder\n  config.yaml\n  model/model\n  run.json\n" in shown


def test_show_of_a_run_that_failed_says_why(kladml, train, workspace):
    train("--publisher", "none", model="model.py:Broken")
    shown = kladml("runs", "show", "@-1")
    assert shown.output.splitlines()[0].startswith("default/default/default@1  FAILED  ")
    assert shown.output.splitlines()[1] == "  ValueError: the weather is bad"


def test_show_of_a_run_whose_folder_is_gone(kladml, two_runs):
    import shutil

    shutil.rmtree(two_runs / ".kladml/runs")
    shown = kladml("runs", "show", "@1")
    assert shown.status == 0
    assert "is not on this machine: what is known of it is from storage local" in " ".join(shown.output.split())
    assert "files in storage local" in shown.output


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("@9",), "the nearest are"),
        (("@1", "--plot", "nope"), "has no metric 'nope'; it has: mse, train_mse"),
        (("3",), "is no address of a run"),
    ],
)
def test_show_of_nothing(kladml, two_runs, arguments, part):
    outcome = kladml("runs", "show", *arguments)
    assert outcome.status == 3
    assert part in outcome.errors


def test_show_of_all(kladml, two_runs):
    shown = kladml("runs", "show", "@1", "--all").output
    assert "  training.max_epochs" in shown
    assert "\npackages\n" in shown
    assert "see --all" not in shown
