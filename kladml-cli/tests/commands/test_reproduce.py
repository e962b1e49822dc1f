"""`kladml reproduce`, and `kladml runs show` of what it is about."""

from __future__ import annotations

import json
import tempfile

import pytest

ON = ("--set", "publisher.use=none", "--set", "tracker.use=none")


@pytest.fixture
def one_run(train, workspace):
    assert train("--experiment", "digits", "--publisher", "none").status == 0
    return workspace


def test_a_run_that_comes_out_the_same_is_exact(kladml, one_run):
    outcome = kladml("reproduce", "@1", *ON, "--json")
    text = outcome.output[outcome.output.index("{") :]
    found = json.loads(text)
    assert outcome.status == 0
    assert found == {
        "run": "default/default/digits@1",
        "reproduction": "default/default/digits@2",
        "exact": True,
        "obstacles": [
            "the code is in no Git repository, so that nothing tells whether what model.py imports is the same"
        ],
        "metrics": {},
        "weights_are_equal": True,
        "different_files": [],
    }
    assert "made to reproduce default/default/digits@1" in kladml("runs", "show", "@2").output


def test_nothing_is_written_outside_the_workspace(kladml, one_run, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    assert kladml("reproduce", "@1", *ON).status == 0
    (one_run / "data").rename(one_run / "moved")
    (one_run / "kladml.yaml").write_text("storage: {local: {root: moved}}\n")
    (one_run / ".kladml/runs").rename(one_run / "elsewhere")
    assert "model.py:MeanModel" in kladml("runs", "show", "@1").output  # as the storage has it
    assert list((one_run / ".kladml/tmp").iterdir()) == []


def test_data_that_differs_is_named(kladml, one_run):
    source = (one_run / "model.py").read_text()
    (one_run / "model.py").write_text(source.replace("[1.0, 2.0]", "[1.0, 3.0]"))
    # A file that was imported is not read again in the same process.
    import sys

    for name in [name for name in sys.modules if name.startswith("model_")]:
        del sys.modules[name]
    outcome = kladml("reproduce", "@1", *ON)
    assert outcome.status == 9
    assert "may differ: the training data differs: its fingerprint was sha256:" in outcome.errors
    assert "default/default/digits@2 is not what default/default/digits@1 was: the weights differ" in outcome.errors
    assert "model  has other weights" in outcome.output


def test_a_changed_file_that_git_does_not_track_is_named(kladml, train, workspace):
    import subprocess

    def git(*arguments):
        names = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", str(workspace), *names, *arguments], check=True, capture_output=True)

    git("init")
    git("commit", "--allow-empty", "-m", "x")
    assert train("--experiment", "digits", "--publisher", "none").status == 0
    assert "\n           Git does not track model.py\n" in kladml("runs", "show", "@1").output
    same = kladml("reproduce", "@1", "--check")
    assert same.status == 0
    assert same.output.splitlines() == [
        f"the training data is that of the run: {_data_of(workspace)[:19]}",
        "there is no validation data, as there was none",
        "nothing is known that keeps default/default/digits@1 from coming out the same",
    ]
    with (workspace / "model.py").open("a") as stream:
        stream.write("# other\n")
    outcome = kladml("reproduce", "@1", "--check", "--json")
    assert outcome.status == 9
    (obstacle,) = json.loads(outcome.output)["obstacles"]
    assert obstacle.startswith("model.py has changed: its SHA-256 was ")
    file = workspace / ".kladml/runs/default/default/digits/1/run.json"
    older = json.loads(file.read_text())
    del older["code_files"], older["untracked"]
    file.write_text(json.dumps(older))
    assert kladml("reproduce", "@1", "--check").status == 0


@pytest.fixture
def run_on_files(train, workspace):
    """A run on two files."""
    import numpy as np

    for name, shift in (("train", 0.0), ("val", 1.0)):
        np.savez(workspace / f"{name}.npz", X=np.ones((4, 1)) + shift, y=np.ones((4, 1)) + shift)
    (workspace / "train.yaml").write_text(
        "experiment: digits\nmodel: {ref: 'net.py:Net', loss: mse}\ndata: {train: train.npz, val: val.npz}\n"
        "training: {max_epochs: 1}\n"
    )
    (workspace / "net.py").write_text(
        "import torch\nclass Net(torch.nn.Linear):\n    def __init__(self): super().__init__(1, 1)\n"
    )


def test_the_check_looks_at_the_data(kladml, run_on_files, workspace):
    import numpy as np

    assert kladml("train", "train.yaml", "--publisher", "none").status == 0
    shown = kladml("runs", "show", "@1")
    page = json.loads(kladml("runs", "show", "@1", "--json").output)
    assert f"\n           validation: {page['val_fingerprint'][:39]}…\n" in shown.output
    same = kladml("reproduce", "@1", "--check")
    assert same.output.splitlines()[:2] == [
        f"the training data is that of the run: {page['data_fingerprint'][:19]}",
        f"the validation data is that of the run: {page['val_fingerprint'][:19]}",
    ]
    np.savez(workspace / "val.npz", X=np.ones((4, 1)), y=np.ones((4, 1)))
    outcome = kladml("reproduce", "@1", "--check")
    assert outcome.status == 9
    assert outcome.output == f"the training data is that of the run: {page['data_fingerprint'][:19]}\n"
    assert "the validation data differs: its fingerprint was sha256:" in outcome.errors
    found = json.loads(kladml("reproduce", "@1", "--check", "--json").output)
    assert (found["data"]["train"]["same"], found["data"]["val"]["same"]) == (True, False)
    assert found["data"]["val"]["text"] in found["obstacles"]
    assert len(json.loads(kladml("runs", "list", "--json").output)) == 1
    again = kladml("reproduce", "@1", *ON)
    assert "may differ: the validation data differs: its fingerprint was sha256:" in again.errors
    compared = kladml("compare", "@1", "@2").output
    assert "\ndata\n" in compared
    assert "val_fingerprint  sha256:" in compared


def _data_of(workspace):
    record = json.loads((workspace / ".kladml/runs/default/default/digits/1/run.json").read_text())
    return record["tags"]["kladml.data_fingerprint"]


def test_versions_that_numbers_seldom_depend_on_are_no_obstacle(kladml, one_run):
    file = one_run / ".kladml/runs/default/default/digits/1/run.json"
    record = json.loads(file.read_text())
    record["environment"]["distributions"]["a-linter"] = "1.0"
    file.write_text(json.dumps(record))
    assert not any(
        "versions" in text for text in json.loads(kladml("reproduce", "@1", "--check", "--json").output)["obstacles"]
    )
    record["environment"]["distributions"]["torch"] = "1.0"
    file.write_text(json.dumps(record))
    (found,) = [
        text
        for text in json.loads(kladml("reproduce", "@1", "--check", "--json").output)["obstacles"]
        if "versions" in text
    ]
    assert found.startswith("versions differ: torch 1.0 -> ")
    assert found.endswith(", and of 1 other, on which numbers seldom depend")


def test_without_weights_the_metrics_decide(kladml, train, workspace):
    assert train("--storage", "none", "--publisher", "none").status == 0
    outcome = kladml("reproduce", "@1", *ON, "--set", "storage.use=none")
    assert outcome.status == 0
    assert outcome.output.splitlines()[-1].startswith("exact: final metrics (there are no weights) of ")


def test_versions_that_differ_are_named_before_training(kladml, one_run):
    file = one_run / ".kladml/runs/default/default/digits/1/run.json"
    record = json.loads(file.read_text())
    record["environment"] |= {"python": "3.10.0"}
    record["environment"]["distributions"]["numpy"] = "1.0"
    file.write_text(json.dumps(record))
    outcome = kladml("reproduce", "@1", "--check", "--json")
    obstacles = json.loads(outcome.output)["obstacles"]
    assert outcome.status == 9
    assert any(text.startswith("python was 3.10.0 and is now 3.") for text in obstacles)
    assert any(text.startswith("versions differ: numpy 1.0 -> ") for text in obstacles)
    assert len(json.loads(kladml("runs", "list", "--json").output)) == 1


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"status": "FAILED"}, "is FAILED, so that there is no result to reproduce"),
        ({"config": "data: {train: null}\nmodel: {ref: model.py:MeanModel}\n"}, "was given its data as an object"),
        (
            {"config": "data: {train: a.npz}\nmodel: {ref: model.py:M}\ntraining: {num_processes: 2}\n"},
            "was trained in several processes",
        ),
        ({"config": None}, "is not known on this machine"),
    ],
)
def test_runs_that_cannot_be_reproduced(kladml, train, one_run, change, part):
    if "status" in change:
        train("--experiment", "digits", "--publisher", "none", model="model.py:Broken")
    elif change["config"] is None:
        (one_run / ".kladml/runs/default/default/digits/1/config.yaml").unlink()
    else:
        (one_run / ".kladml/runs/default/default/digits/1/config.yaml").write_text(change["config"])
    outcome = kladml("reproduce", "@-1", *ON)
    assert outcome.status == 3
    assert part in outcome.errors


def test_only_backends_can_be_set(kladml, one_run):
    outcome = kladml("reproduce", "@1", "--set", "training.seed=3")
    assert outcome.status == 2
    assert "training.seed would make it another run" in outcome.errors
