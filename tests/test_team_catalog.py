"""The catalog of a team in PostgreSQL, by the command alone; its password appears nowhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

from servers import lacks, postgresql_server

PASSWORD = "hunter2-s3cret"
AT_ONCE = 8
MODEL = """\
from kladml import BaseModel, MLTask


class MeanModel(BaseModel):
    ml_task = MLTask.REGRESSION

    def train(self, X_train, y_train=None):
        self.mean = sum(float(y) for y in y_train) / len(y_train)
        self.run.log_metric("mean", self.mean)
        return {"mse": 0.25}

    def predict(self, X):
        return [self.mean] * len(X)

    def evaluate(self, X_test, y_test=None):
        return {"mse": 0.125}

    def save(self, path):
        with open(path, "w") as file:
            file.write(str(self.mean))

    def load(self, path):
        with open(path) as file:
            self.mean = float(file.read())


def data():
    return [[0.0], [1.0]], [1.0, 2.0]
"""
QUICK = ("--model", "mean.py:MeanModel", "--data", "mean.py:data", "--tracker", "none")


class Workspace:
    """A workspace whose catalog is the team's; all that its commands print is kept."""

    def __init__(self, folder):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KLADML_", "PG"))}
        self.folder, self.said = folder, []
        self.environment = {**kept, "OMP_NUM_THREADS": "1", "KLADML_CATALOG__SQL__PASSWORD": PASSWORD}

    def start(self, *arguments, **variables):
        return subprocess.Popen(
            [sys.executable, "-m", "kladml_cli", *arguments],
            cwd=self.folder,
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(self, process, status=0):
        with process:
            output, errors = process.communicate(timeout=300)
        self.said += [output, errors]
        assert process.returncode == status, output + errors
        return errors if status else output

    def kladml(self, *arguments, status=0, **variables):
        return self.ended(self.start(*arguments, **variables), status)


@pytest.fixture(scope="module")
def url():
    if find_spec("psycopg") is None:
        lacks("psycopg is not installed (pip install 'kladml-backends-local[postgresql]')")
    with postgresql_server("kladml", PASSWORD) as port:
        yield f"postgresql://kladml@127.0.0.1:{port}/postgres"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, url):
    place = Workspace(tmp_path_factory.mktemp("team"))
    place.kladml("init", "--example", "digits")
    configuration = place.folder / "kladml.yaml"
    text, count = re.subn(
        r"(?m)^(catalog:.*\n)  use: sql\n", f"\\1  use: sql\n  sql:\n    url: {url}\n", configuration.read_text()
    )
    assert count == 1
    configuration.write_text(text)
    (place.folder / "mean.py").write_text(MODEL)
    return place


def assert_the_password_is_nowhere(workspace, at_least):
    assert not [text for text in workspace.said if PASSWORD in text]
    files = [path for path in workspace.folder.rglob("*") if path.is_file()]
    assert len(files) >= at_least
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []


def test_a_team_works_through_the_command(workspace, url):
    kladml = workspace.kladml
    assert "made  project" in kladml("project", "create", "vision", "--description", "Digits, for the team.")
    place = ("--set", "project=vision", "--set", "family=cnn")
    for rate in ("0.002", "0.005"):
        kladml(
            *("train", "train.yaml", *place, "--set", "training.max_epochs=1"),
            *("--set", f"training.optimizer.lr={rate}", "--publisher", "none"),
        )
    assert not (workspace.folder / ".kladml" / "catalog.db").exists()
    assert "vision" in kladml("runs", "list", "--tree")
    chosen = json.loads(kladml("runs", "list", "--where", "params.lr > 0.003 and val_accuracy > 0.1", "--json"))
    assert [run["address"] for run in chosen] == ["vision/cnn/digits@2"]
    assert json.loads(kladml("runs", "show", "digits@best", "--json"))["address"].startswith("vision/cnn/digits@")
    assert "training.optimizer.lr" in kladml("compare", "digits@1", "digits@2")
    kladml("runs", "delete", "digits@1", "--yes")
    remaining = json.loads(kladml("runs", "list", "--json"))
    assert [run["address"] for run in remaining] == ["vision/cnn/digits@2"]
    kladml("project", "delete", "vision", "--recursive", "--yes")
    assert json.loads(kladml("runs", "list", "--json")) == []
    assert_the_password_is_nowhere(workspace, at_least=20)


def test_eight_processes_at_once_get_numbers_without_gaps(workspace):
    started = [workspace.start("train", *QUICK, "--experiment", "crowd", "--publisher", "none") for _ in range(AT_ONCE)]
    for process in started:
        workspace.ended(process)
    runs = json.loads(workspace.kladml("runs", "list", "--experiment", "crowd", "--json"))
    assert sorted(int(run["address"].rpartition("@")[2]) for run in runs) == [*range(1, AT_ONCE + 1)]
    assert {run["status"] for run in runs} == {"FINISHED"}
    assert len({run["run_id"] for run in runs}) == AT_ONCE
    folders = workspace.folder / ".kladml" / "runs" / "default" / "default" / "crowd"
    assert sorted(int(path.name) for path in folders.iterdir()) == [*range(1, AT_ONCE + 1)]
    assert_the_password_is_nowhere(workspace, at_least=2)


def test_what_is_wrong_is_said_without_the_password(workspace, url):
    wrong = {"KLADML_CATALOG__SQL__PASSWORD": f"{PASSWORD}-wrong"}
    for arguments in (("runs", "list"), ("--traceback", "-vv", "runs", "list"), ("train", *QUICK)):
        errors = workspace.kladml(*arguments, status=5, **wrong)
        assert "password authentication failed" in errors
    nobody = ("--set", "catalog.sql.url=postgresql://kladml@127.0.0.1:1/postgres")
    errors = workspace.kladml("runs", "list", *nobody, status=5)
    assert "127.0.0.1:1/postgres cannot list its runs" in errors
    assert "check the address" in errors
    workspace.kladml("config", "show")
    workspace.kladml("config", "show", "--json")
    workspace.kladml("-vv", "runs", "list")
    workspace.kladml("plugins", "list")
    assert_the_password_is_nowhere(workspace, at_least=2)
