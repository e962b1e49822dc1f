from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import datetime

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from kladml.training.checkpointing.store import Checkpoint, CheckpointStore

ADDRESS = "vision/cnn/digits@3"


def module(number):
    made = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    made[2].weight = nn.Parameter(made[2].weight.detach().fill_(number))
    return made


def content(number):
    state = {"epoch": number // 10, "step": number, "world_size": 2}
    return Checkpoint(module(number).state_dict(), {"0.momentum": torch.ones(3)}, state, [b"one", b"two"])


@pytest.fixture
def store(workspace):
    return CheckpointStore(workspace / ".kladml/runs/vision/cnn/digits/3/checkpoints", keep_last=3)


@pytest.fixture
def saved(store):
    """Three checkpoints, of which the second is the best."""
    return [store.save(content(step), step, is_best=step == 20) for step in (10, 20, 30)]


def damage(path):
    data = bytearray((path / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (path / "model.safetensors").write_bytes(data)


# list


def test_checkpoints_are_listed_newest_first(kladml, saved):
    outcome = kladml("checkpoints", "list", ADDRESS)
    assert (outcome.status, outcome.errors) == (0, "")
    rows = [re.split(r"  +", line) for line in outcome.output.splitlines()]
    assert [(row[0], row[1], row[2], row[5], row[6]) for row in rows] == [
        ("step-00000030", "30", "3", "2", "whole"),
        ("step-00000020", "20", "2", "2", "best"),
        ("step-00000010", "10", "1", "2", "whole"),
    ]
    for row in rows:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", row[3])
        assert re.fullmatch(r"\d+ B|\d+\.\d kB", row[4])
    assert all(len(line) <= 80 for line in outcome.output.splitlines())


def test_a_listing_as_json_tells_the_same(kladml, saved):
    newest, best, _ = json.loads(kladml("checkpoints", "list", ADDRESS, "--json").output)
    files = [file for file in saved[2].iterdir() if file.name != "MANIFEST.json"]
    assert datetime.fromisoformat(newest.pop("saved_at")).tzinfo is not None
    assert newest == {
        "checkpoint": "step-00000030",
        "path": str(saved[2]),
        "step": 30,
        "epoch": 3,
        "size": sum(file.stat().st_size for file in files),
        "processes": 2,
        "best": False,
        "valid": True,
        "problem": None,
    }
    assert (best["step"], best["best"]) == (20, True)


def test_a_damaged_checkpoint_is_listed_as_such(kladml, saved):
    damage(saved[1])
    (saved[2] / "MANIFEST.json").write_text("{")
    outcome = kladml("checkpoints", "list", ADDRESS)
    assert outcome.status == 0
    states = {line.split()[0]: line.split()[-1] for line in outcome.output.splitlines()}
    assert states == {"step-00000010": "whole", "step-00000020": "damaged", "step-00000030": "damaged"}
    found = {entry["step"]: entry for entry in json.loads(kladml("checkpoints", "list", ADDRESS, "--json").output)}
    assert "model.safetensors is not what was written" in found[20]["problem"]
    assert (found[30]["valid"], found[30]["size"], found[30]["epoch"]) == (False, None, None)


@pytest.mark.parametrize("which", ["checkpoints", "run", "single"])
def test_a_folder_can_be_named_instead_of_a_run(kladml, store, saved, which):
    folder = {"checkpoints": store.folder, "run": store.folder.parent, "single": saved[0]}[which]
    outcome = kladml("checkpoints", "list", folder)
    assert outcome.status == 0
    assert len(outcome.output.splitlines()) == (1 if which == "single" else 3)


def test_another_workspace_can_be_named(kladml, saved, workspace, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = kladml("checkpoints", "list", ADDRESS, "--workspace", workspace)
    assert len(outcome.output.splitlines()) == 3


def test_a_folder_without_checkpoints_is_no_error(kladml, folder):
    outcome = kladml("checkpoints", "list", ".")
    assert (outcome.status, outcome.output) == (0, "")
    assert f"no checkpoints in {folder}" in outcome.errors
    assert json.loads(kladml("checkpoints", "list", ".", "--json").output) == []


# verify


def test_every_file_that_is_whole_is_named(kladml, saved):
    outcome = kladml("checkpoints", "verify", saved[0])
    assert (outcome.status, outcome.errors) == (0, "")
    rows = [re.split(r"  +", line) for line in outcome.output.splitlines()]
    assert [(row[0], row[1], row[3]) for row in rows] == [
        ("step-00000010", name, "whole")
        for name in (
            "model.safetensors",
            "optimizer.safetensors",
            "state.json",
            "rank-00000.safetensors",
            "rank-00001.safetensors",
            "MANIFEST.json",
        )
    ]


@pytest.mark.parametrize("file", ["model.safetensors", "state.json", "rank-00001.safetensors", "MANIFEST.json"])
@pytest.mark.parametrize("how", ["flip", "remove"])
def test_damage_is_named_and_fails(kladml, saved, file, how):
    if how == "remove":
        (saved[2] / file).unlink()
    else:
        data = bytearray((saved[2] / file).read_bytes())
        data[len(data) // 2] ^= 4
        (saved[2] / file).write_bytes(data)

    outcome = kladml("checkpoints", "verify", ADDRESS)

    assert outcome.status == 7
    assert "1 of 3 checkpoints is damaged: step-00000030; use step-00000020" in outcome.errors
    (damaged,) = [line for line in outcome.output.splitlines() if not line.endswith("whole")]
    assert file in damaged
    assert ("cannot be read" in damaged) or ("is not what was written" in damaged) or ("is no manifest" in damaged)
    problems = [row for row in json.loads(kladml("checkpoints", "verify", ADDRESS, "--json").output) if row["problem"]]
    assert [(row["checkpoint"], row["file"], row["valid"]) for row in problems] == [("step-00000030", file, False)]


def test_nothing_to_verify_is_an_error(kladml, folder):
    outcome = kladml("checkpoints", "verify", ".")
    assert outcome.status == 7
    assert "there are no checkpoints in" in outcome.errors


# export


def exported_number(path):
    other = module(-1)
    assert other.load_state_dict(load_file(path)) is not None
    return other[2].weight[0, 0].item()


@pytest.mark.parametrize(
    ("options", "number"), [((), 30), (("--latest",), 30), (("--best",), 20), (("--step", 10), 10)]
)
def test_weights_are_exported_for_torch(kladml, saved, workspace, options, number):
    outcome = kladml("checkpoints", "export", ADDRESS, "out.safetensors", *options)
    assert (outcome.status, outcome.errors) == (0, "")
    assert re.match(rf"out\.safetensors: \d+ B, the weights of .*step-000000{number}\n$", outcome.output)
    assert exported_number("out.safetensors") == number
    with safe_open("out.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
    assert list(workspace.glob(".tmp*")) == []


def test_a_single_checkpoint_is_exported(kladml, saved):
    assert kladml("checkpoints", "export", saved[1], "out.safetensors").status == 0
    assert exported_number("out.safetensors") == 20


def test_the_newest_whole_checkpoint_is_exported_and_the_damaged_one_named(kladml, saved):
    damage(saved[2])
    outcome = kladml("checkpoints", "export", ADDRESS, "out.safetensors")
    assert outcome.status == 0
    assert "step-00000030 is damaged" in outcome.errors
    assert exported_number("out.safetensors") == 20


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--step", 30), "step-00000030 is damaged: model.safetensors is not what was written"),
        (("--step", 40), "there is no checkpoint of step 40 in"),
    ],
)
def test_what_was_asked_for_is_exported_or_nothing(kladml, saved, workspace, options, said):
    damage(saved[2])
    outcome = kladml("checkpoints", "export", ADDRESS, "out.safetensors", *options)
    assert outcome.status == 7
    assert said in outcome.errors
    assert not (workspace / "out.safetensors").exists()


def test_without_a_best_one_there_is_none_to_export(kladml, store):
    store.save(content(1), 1)
    outcome = kladml("checkpoints", "export", ADDRESS, "out.safetensors", "--best")
    assert outcome.status == 7
    assert "no checkpoint that is marked as the best one" in outcome.errors
    assert "'kladml checkpoints list'" in outcome.errors


def test_a_file_that_exists_is_replaced_only_by_force(kladml, saved, workspace):
    out = workspace / "out.safetensors"
    out.write_text("mine")
    outcome = kladml("checkpoints", "export", ADDRESS, out)
    assert outcome.status == 7
    assert "exists; add --force" in outcome.errors
    assert out.read_text() == "mine"

    assert kladml("checkpoints", "export", ADDRESS, out, "--force").status == 0
    assert exported_number(out) == 30


def test_a_file_that_cannot_be_written_is_an_error(kladml, saved):
    outcome = kladml("checkpoints", "export", ADDRESS, "absent/out.safetensors")
    assert outcome.status == 7
    assert "absent/out.safetensors cannot be written: No such file or directory" in outcome.errors


def test_two_choices_are_too_many(kladml, saved):
    outcome = kladml("checkpoints", "export", ADDRESS, "out.safetensors", "--best", "--step", 10)
    assert outcome.status == 2
    assert "--best, --latest and --step exclude one another" in outcome.errors


# Which run is meant


@pytest.mark.parametrize("command", ["list", "verify"])
def test_a_run_that_does_not_exist_is_named(kladml, workspace, command):
    outcome = kladml("checkpoints", command, "digits@7")
    assert outcome.status == 3
    assert "there is no experiment 'digits'" in outcome.errors
    assert "'kladml experiment list'" in outcome.errors


def test_an_absent_run_of_another_project_names_the_workspace(kladml, workspace):
    outcome = kladml("checkpoints", "list", "vision/cnn/digits@7")
    assert outcome.status == 3
    assert f"there is no run vision/cnn/digits@7 in the workspace {workspace}" in outcome.errors


def test_a_run_whose_files_are_elsewhere_says_where(kladml, train, workspace):
    assert train("--experiment", "digits", "--publisher", "none").status == 0
    shutil.rmtree(workspace / ".kladml/runs", ignore_errors=True)
    outcome = kladml("checkpoints", "list", "digits@1")
    assert outcome.status == 7
    assert "run default/default/digits@1 has no checkpoints on this machine" in outcome.errors
    assert "the storage 'local' may have them, under 'default/default/digits/1/'" in outcome.errors


@pytest.mark.parametrize("target", ["digits", "absent/folder"])
def test_what_is_neither_a_run_nor_a_folder_is_an_error(kladml, workspace, target):
    outcome = kladml("checkpoints", "list", target)
    assert outcome.status == 3
    assert "project/family/experiment@n" in outcome.errors or "cannot be the name" in outcome.errors


def test_a_run_needs_a_workspace(kladml, folder):
    outcome = kladml("checkpoints", "list", ADDRESS)
    assert outcome.status == 3
    assert "lies in no KladML workspace" in outcome.errors


def test_torch_is_not_imported(saved, workspace):
    program = """
import sys
from kladml_cli.main import main
assert main(["checkpoints", "list", sys.argv[1]]) == 0
assert main(["checkpoints", "verify", sys.argv[1]]) == 0
assert main(["checkpoints", "export", sys.argv[1], "out.safetensors"]) == 0
print({"torch", "accelerate", "numpy"} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, ADDRESS],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "set()"
