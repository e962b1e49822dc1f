from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing

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
    assert outcome.errors == "no runs yet; 'kladml train CONFIG' makes one\n"
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


# Choosing and sorting


@pytest.fixture
def rated_runs(train, workspace):
    for place, rate in enumerate((0.1, 0.001, 0.01)):
        source = (workspace / "model.py").read_text().replace("0.25}", f"{place / 4}}}")
        (workspace / f"model{place}.py").write_text(source.replace("sleep=0.0)", "sleep=0.0, lr=0.0, seed=0)"))
        arguments = ("--set", f"model.args.lr={rate}", "--publisher", "none", "--experiment", "digits")
        assert train(*arguments, model=f"model{place}.py:MeanModel").status == 0
    return workspace


def addresses(outcome):
    assert outcome.status == 0, outcome.errors
    return [line.split()[0] for line in outcome.output.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--where", "mse >= 0.25"), ["digits@3", "digits@2"]),
        (("--where", "model.args.lr > 1 or params['model.args.lr'] < 0.05"), None),
        (("--where", "params['model.args.lr'] < 0.05"), ["digits@3", "digits@2"]),
        (("--where", "mse > 0 and params.args.lr < 0.005"), ["digits@2"]),
        (("--where", "tags['kladml.seed'] == 0 and status == 'FINISHED'", "--limit", "1"), ["digits@3"]),
        (("--sort", "mse"), ["digits@1", "digits@2", "digits@3"]),
        (("--sort=-params.args.lr",), ["digits@1", "digits@3", "digits@2"]),
        (("--sort", "-number", "--limit", "1"), ["digits@3"]),
        (("--where", "number == 1 and seconds < 100 and started_at > '2020-01-01'"), ["digits@1"]),
    ],
)
def test_runs_are_chosen_and_sorted(kladml, rated_runs, arguments, expected):
    outcome = kladml("runs", "list", *arguments)
    if expected is None:
        assert outcome.status == 3
        assert "model.args.lr is no quantity of a run" in outcome.errors
    else:
        assert addresses(outcome) == expected
        assert all(len(line) <= 80 for line in outcome.output.splitlines())


def test_what_was_asked_for_is_shown(kladml, rated_runs):
    (line,) = kladml("runs", "list", "--where", "params.args.lr < 0.005 and mse > 0").output.splitlines()
    assert line.endswith("  args.lr 0.001  mse 0.2500")


def test_end_of_a_name_that_could_be_several_parameters_is_refused(kladml, rated_runs):
    outcome = kladml("runs", "list", "--where", "params.lr < 1")
    assert outcome.status == 3
    assert "'lr' could be model.args.lr or training.optimizer.lr, which have different values" in outcome.errors


def test_condition_that_no_run_meets_says_so(kladml, rated_runs):
    outcome = kladml("runs", "list", "--where", "msee > 7")
    assert (outcome.status, outcome.output) == (0, "")
    assert outcome.errors == "none of 3 runs meets the condition\nno run has a metric 'msee'; did you mean mse?\n"
    assert kladml("runs", "list", "--where", "params.reff < 1").errors.endswith(
        "no run has a parameter 'reff'; did you mean params.ref?\n"
    )
    assert "'kladml experiment list' shows" in kladml("runs", "list", "--experiment", "nosuch").errors


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--sort", "msee"), "no run has a metric 'msee'; did you mean mse?\n"),
        (("--sort", "-startedat"), "no run has a metric 'startedat'; did you mean started_at?\n"),
        (("--sort", "zzzzzz"), "no run has a metric 'zzzzzz'\n"),
        (("--sort", "params.reff"), "no run has a parameter 'reff'; did you mean params.ref?\n"),
        (("--where", "mse > 0 or msee > 7"), "no run has a metric 'msee'; did you mean mse?\n"),
        (("--where", "mse > 0 or params.reff > 7"), "no run has a parameter 'reff'; did you mean params.ref?\n"),
        (("--sort", "mse", "--where", "params.ref == 'model.py:MeanModel'"), ""),
    ],
)
def test_what_no_run_has_is_named_with_the_nearest_that_one_has(kladml, three_runs, arguments, hint):
    outcome = kladml("runs", "list", *arguments)
    assert len(addresses(outcome)) == 3
    assert outcome.errors == hint
    as_json = kladml("runs", "list", *arguments, "--json")
    assert (len(json.loads(as_json.output)), as_json.errors) == (3, hint)
    assert kladml("runs", "list", *arguments, "-q").errors == ""


def test_json_has_all_runs_unless_a_limit_is_given(kladml, workspace):
    from kladml.interfaces import ExperimentAddress
    from kladml_backends_local import SqlCatalog

    with SqlCatalog(f"sqlite:///{workspace / '.kladml' / 'catalog.db'}") as catalog:
        for number in range(25):
            catalog.add_run(ExperimentAddress.parse("digits"), f"run-{number}", {})
    outcome = kladml("runs", "list")
    assert len(outcome.output.splitlines()) == 20
    assert outcome.errors == "5 older are left out; see --limit\n"
    for arguments, count in (((), 25), (("--limit", "3"), 3), (("--sort", "number"), 25)):
        outcome = kladml("runs", "list", "--json", *arguments)
        numbers = [int(run["address"].partition("@")[2]) for run in json.loads(outcome.output)]
        assert outcome.errors == ""
        assert numbers == sorted(range(1, 26), reverse="--sort" not in arguments)[:count]
    assert "by default 20, and all with --json" in " ".join(kladml("runs", "list", "--help").output.split())


def test_tree(kladml, three_runs):
    outcome = kladml("runs", "list", "--tree")
    lines = outcome.output.splitlines()
    assert [line for line in lines if "FINISHED" not in line] == [
        "vision",
        "  cnn",
        "    faces",
        "default",
        "  default",
        "    digits",
    ]
    assert [line.split()[0] for line in lines if "FINISHED" in line] == ["@1", "@2", "@1"]
    assert all(len(line) <= 80 for line in lines)


def test_long_names_are_whole_in_a_pipe(kladml, train, workspace):
    experiment = f"{'project' * 4}/{'family' * 4}/{'experiment' * 4}"
    assert train("--experiment", experiment, "--publisher", "none").status == 0
    (line,) = kladml("runs", "list").output.splitlines()
    assert line.startswith(f"{experiment}@1  FINISHED")


def test_long_names_fit_a_terminal(monkeypatch):
    import sys
    from datetime import UTC, datetime

    from kladml.history.facts import Facts
    from kladml.interfaces import CatalogRun, ExperimentAddress, RunAddress
    from kladml_cli.run_rows import rows_of

    address = RunAddress(ExperimentAddress("p" * 30, "f" * 30, "e" * 30), "1")
    now = datetime.now(UTC)
    run = CatalogRun(address, "id", "FINISHED", now, now, {"eval_accuracy": 0.95})
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    (row,) = rows_of([Facts(run)], [])
    assert len("  ".join(row)) <= 80
    assert row[0].startswith("…")
    assert row[0].endswith("eee@1")
    assert row[-1] == "eval_accuracy 0.9500"


def test_run_whose_process_was_killed_is_lost(kladml, workspace, start_kladml):
    training = start_kladml(
        "train", "--model", "model.py:MeanModel", "--data", "model.py:data", "--set", "model.args.sleep=60",
        "--experiment", "digits", "--publisher", "none",
    )  # fmt: skip
    assert "training" in training.stdout.readline()
    assert json.loads(kladml("runs", "list", "--json").output)[0]["status"] == "RUNNING"
    training.kill()
    training.wait()
    (run,) = json.loads(kladml("runs", "list", "--json").output)
    assert run["status"] == "LOST"
    assert "LOST" in kladml("runs", "list", "--where", "status == 'LOST'").output
    assert "LOST" in kladml("runs", "list", "--tree").output
    shown = kladml("runs", "show", "digits@1").output
    assert f"its process {training.pid} is no more and recorded no end" in shown
    page = json.loads(kladml("runs", "show", "digits@1", "--json").output)
    assert (page["status"], page["error"]) == (
        "LOST",
        f"its process {training.pid} is no more and recorded no end",
    )
    outcome = kladml("watch", "@1")
    assert outcome.status == 7
    assert f"LOST: its process {training.pid} is no more" in outcome.errors


def test_end_that_the_catalog_missed_is_told(kladml, workspace, train):
    assert train("--experiment", "digits").status == 0
    with closing(sqlite3.connect(workspace / ".kladml" / "catalog.db")) as connection, connection:
        connection.execute("UPDATE kladml_runs SET status = 'RUNNING', ended_at = NULL, metrics = '{}'")
    (run,) = json.loads(kladml("runs", "list", "--json").output)
    assert (run["status"], run["metrics"]) == ("FINISHED", {"mse": 0.25, "train_mse": 0.125})


def test_run_that_is_lost_can_be_copied(kladml, workspace, start_kladml):
    training = start_kladml(
        "train", "--model", "model.py:MeanModel", "--data", "model.py:data", "--set", "model.args.sleep=60",
        "--experiment", "digits", "--publisher", "none", "--tracker", "none",
    )  # fmt: skip
    assert "training" in training.stdout.readline()
    training.kill()
    training.wait()
    copied = kladml("runs", "copy", "digits@1", "--to", "tracker=local")
    assert (copied.status, copied.errors) == (0, "")


def test_what_is_said_of_a_damaged_tracking_database_is_true(kladml, train, workspace):
    assert train("--tracker", "local", "--experiment", "digits").status == 0
    database = workspace / ".kladml" / "mlflow.db"
    damaged = b"no database" * 1000
    database.write_bytes(damaged)
    for ending in ("-wal", "-shm"):
        database.with_name(f"mlflow.db{ending}").unlink(missing_ok=True)
    failed = train("--tracker", "local")
    assert failed.status == 5
    assert failed.errors == (
        f"Error: the tracking database {database} cannot be used: file is not a database (kladml-backends-local); move "
        f"{database} away, and a new one is made; runs keep their parameters, final values and files without it, and "
        "'sqlite3 mlflow.db .recover' may save their curves\n"
    )
    assert f"move {database} away" in kladml("watch", "digits@1").errors
    database.rename(workspace / "damaged.db")
    assert train("--tracker", "local", "--experiment", "digits").status == 0
    page = json.loads(kladml("runs", "show", "digits@1", "--json").output)
    assert page["params"]["model.ref"] == "model.py:MeanModel"
    assert page["artifacts"]
    assert "digits@1  FINISHED" in kladml("runs", "list").output
    assert (workspace / "damaged.db").read_bytes() == damaged


# Names and values that would command a terminal

HOSTILE = "\x1b[31mred\nnext"
HOSTILE_MODEL = """
class Hostile(MeanModel):
    def train(self, X_train, y_train=None):
        return {"\x1b[31mred\\nnext": float(len(self.x))}

    def __init__(self, x=""):
        self.x = x
        self.mean = 0.0
"""


def test_what_is_printed_of_a_store_commands_no_terminal(kladml, train, workspace):
    with (workspace / "model.py").open("a") as file:
        file.write(HOSTILE_MODEL)
    for value in ("\x1b[2Ja\rb", "c"):
        assert train("--set", f"model.args.x={value}", "--experiment", "digits", model="model.py:Hostile").status == 0
    assert HOSTILE in json.loads(kladml("runs", "list", "--json").output)[0]["metrics"]
    for arguments, shown in (
        (("runs", "list"), "[31mred next"),
        (("runs", "list", "--tree"), "[31mred next"),
        (("runs", "show", "@1", "--all", "--plot", HOSTILE), "[2Ja b"),
        (("compare", "@1", "@2", "--plot", HOSTILE), "[2Ja b"),
        (("config", "diff", "digits@1", "digits@2"), "[2Ja b"),
        (("watch", "@2"), "[31mred next"),
        (("runs", "show", "@1", "--plot", "nosuch"), "[31mred"),
        (("runs", "list", "--where", "reed > 1"), "no run has a metric 'reed'"),
    ):
        outcome = kladml(*arguments)
        printed = outcome.output + outcome.errors
        assert shown in printed, arguments
        assert [character for character in printed if not character.isprintable() and character != "\n"] == []
        assert not [line for line in outcome.output.splitlines() if line.startswith("next")]


def test_a_name_for_people_that_would_command_a_terminal_is_refused(train, workspace):
    outcome = train("--run-name", "\x1b[31mred")
    assert outcome.status == 3
    assert outcome.errors == (
        "Error: --run-name: run_name must be one line without control characters, not '\\x1b[31mred'; what it is: A "
        "name for people; the address names the run anyway.\n"
    )
    (workspace / "kladml.yaml").write_text('run_name: "two\\nlines"\n')
    assert "kladml.yaml:1: run_name must be one line" in train().errors
