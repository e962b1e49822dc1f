"""The template for third parties: its wheel, installed into a fresh environment, is selected by name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "third-party-backend"

MODEL = """
import numpy as np
from kladml import BaseModel, MLTask

class Mean(BaseModel):
    ml_task = MLTask.REGRESSION

    def train(self, X_train, y_train):
        self.mean = float(np.mean(y_train))
        self.run.log_metric("mean", self.mean, 1)
        return {"mse": float(np.mean((y_train - self.mean) ** 2))}

    def predict(self, X):
        return np.full(len(X), self.mean)

    def evaluate(self, X, y):
        return {"mse": float(np.mean((y - self.mean) ** 2))}

    def save(self, path):
        np.save(path, self.mean)

    def load(self, path):
        self.mean = float(np.load(path))

def data():
    return np.zeros((4, 1)), np.array([1.0, 2.0, 3.0, 4.0])
"""


@dataclass
class Environment:
    """A fresh virtual environment with the template's wheel, and the folder with the template's sources."""

    python: Path
    source: Path

    def run(self, *arguments: str, cwd: Path, **variables: str) -> str:
        done = subprocess.run(
            [self.python, *arguments],
            cwd=cwd,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Build the wheel from a copy of the template and install it beside the packages of this interpreter."""
    folder = tmp_path_factory.mktemp("third-party")
    shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("__pycache__", ".*", "dist"))
    pip(sys.executable, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, folder / "source")
    (wheel,) = folder.glob("acme_kladml_jsonl-*.whl")
    shutil.rmtree(folder / "source" / "src")  # what is tested is the wheel
    venv.create(folder / "env")
    python = folder / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip(python, "install", "--no-deps", "--no-index", "--no-compile", wheel)
    # addsitedir, unlike a plain line, also follows the .pth files of editable installations.
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    here = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    lines = [f"import site; site.addsitedir({str(path)!r})" for path in sorted(here)]
    Path(packages, "beside.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Environment(python, folder / "source")


def pip(python, command, *arguments):
    options = ["--quiet", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run([sys.executable, "-m", "pip", *options, command, *map(str, arguments)], check=True)


@pytest.fixture
def project(tmp_path):
    """A workspace with a model, its data and a configuration that names no backend."""
    (tmp_path / ".kladml").mkdir()
    (tmp_path / "mean.py").write_text(MODEL, encoding="utf-8")
    (tmp_path / "kladml.yaml").write_text("model: {ref: mean.py:Mean}\ndata: {train: mean.py:data}\n", encoding="utf-8")
    return tmp_path


def recorded(project: Path) -> list[dict]:
    (file,) = (project / ".kladml" / "jsonl").glob("*.jsonl")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_plugin_is_not_installed_for_this_interpreter():
    done = subprocess.run([sys.executable, "-c", "import acme_kladml_jsonl"], capture_output=True, check=False)
    assert done.returncode == 1


def test_registry_finds_and_loads_it_by_name(environment, tmp_path):
    code = (
        "import json; from kladml import PluginRegistry; registry = PluginRegistry();"
        "entry = registry.find('tracker', 'jsonl'); loaded = registry.load('tracker', 'jsonl');"
        "print(json.dumps([entry.owner, loaded.__module__, loaded.__name__]))"
    )
    found = json.loads(environment.run("-c", code, cwd=tmp_path))
    assert found == ["acme-kladml-jsonl 1.0.0", "acme_kladml_jsonl.tracker", "JsonlTracker"]


def test_runner_takes_it_by_name_and_calls_its_lifecycle_hooks(environment, project):
    code = (
        "from kladml import ExperimentRunner;"
        "runner = ExperimentRunner(tracker='jsonl', storage=None, publisher=None, catalog=None);"
        "print(runner.run().metrics['mse'])"
    )
    assert environment.run("-c", code, cwd=project, ACME_JOURNAL="journal.txt") == "1.25\n"
    lines = recorded(project)
    assert lines[0]["experiment"] == "default"
    assert {"mean": 2.5} in [line.get("metrics") for line in lines]
    assert lines[-1]["end"] == "FINISHED"
    started, ended = (project / "journal.txt").read_text(encoding="utf-8").splitlines()
    assert started.endswith("started with jsonl")
    assert ended.endswith("FINISHED mse=1.25 train_mse=1.25")


def test_command_trains_with_it(environment, project):
    code = "import sys; from kladml_cli.main import main; sys.exit(main())"
    arguments = ["train", "--tracker", "jsonl", "--set", "tracker.jsonl.sync=true", "--publisher", "none"]
    environment.run("-c", code, *arguments, cwd=project, ACME_JOURNAL="journal.txt")
    assert recorded(project)[-1]["end"] == "FINISHED"
    assert "FINISHED" in (project / "journal.txt").read_text(encoding="utf-8")


def test_command_says_which_setting_is_misspelt(environment, project):
    code = "import sys; from kladml_cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [environment.python, "-c", code, "train", "--tracker", "jsonl", "--set", "tracker.jsonl.folde=x"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    for part in ("tracker.jsonl.folde", "acme-kladml-jsonl 1.0.0", "did you mean tracker.jsonl.folder?"):
        assert part in done.stderr


def test_command_lists_it_with_its_owner(environment, project):
    code = "import sys; from kladml_cli.main import main; sys.exit(main())"
    listed = environment.run("-c", code, "plugins", "list", cwd=project)
    assert "acme-kladml-jsonl" in listed
    assert "acme-journal" in listed


def test_its_own_tests_pass_where_it_is_installed(environment):
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
    assert " passed" in environment.run("-m", "pytest", *options, cwd=environment.source)
