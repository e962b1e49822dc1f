"""What a command imports, with every distribution installed: the selected backend, and no other of its kind."""

import os
import subprocess
import sys

import pytest

MODEL = """\
from pathlib import Path
from kladml import BaseModel, MLTask

class Model(BaseModel):
    ml_task = MLTask.OTHER
    def train(self, X_train, y_train=None, X_val=None, y_val=None): return {"loss": 1.0}
    def predict(self, X): return X
    def evaluate(self, X_test, y_test=None): return {"loss": 1.0}
    def save(self, path): Path(path).write_text("weights")
    def load(self, path): ...

def data(): return [[1.0]], [0]
"""

PROGRAM = """\
import sys
from kladml_cli.main import main
status = main(sys.argv[1:])
print(status, *sorted(sys.modules), file=sys.__stdout__)
"""

STORAGES = {"local": "kladml_backends_local.storage", "s3": "kladml_backends_aws.storage"}
HEAVY = {"torch", "accelerate", "mlflow", "sqlalchemy", "boto3", "redis", "rich"}


def after(*arguments, cwd):
    """Return the exit status of a command, and what it had imported at its end."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=cwd,
        env={**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"},
        capture_output=True,
        text=True,
        check=True,
    )
    status, *modules = done.stdout.splitlines()[-1].split()
    return int(status), set(modules)


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / ".kladml").mkdir()
    (tmp_path / "model.py").write_text(MODEL)
    return tmp_path


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["plugins", "list"], ["plugins", "list", "--json"]]
)
def test_asking_loads_nothing_heavy(workspace, arguments):
    status, modules = after(*arguments, cwd=workspace)
    assert status == 0
    assert not HEAVY & modules
    assert not {name for name in modules if name.startswith("kladml_backends")}


@pytest.mark.parametrize(("storage", "expected"), [("local", 0), ("s3", 5)])
def test_train_imports_the_selected_storage_and_no_other(workspace, storage, expected):
    arguments = ["--storage", storage, "--tracker", "none", "--publisher", "none", "--catalog", "none"]
    nobody = ["--set", "storage.s3.bucket=some-bucket", "--set", "storage.s3.endpoint_url=http://127.0.0.1:9"]
    model = ["--model", "model.py:Model", "--data", "model.py:data"]
    status, modules = after("train", *arguments, *nobody, *model, cwd=workspace)
    assert status == expected  # S3's preflight meets a closed port
    assert {name for name, module in STORAGES.items() if module in modules} == {storage}
    assert ("boto3" in modules) == (storage == "s3")
    assert not {"mlflow", "sqlalchemy", "redis"} & modules
