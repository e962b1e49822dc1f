from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.fixture
def write(workspace):
    def add(name, text):
        file = workspace / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    return add


RUN = "experiment: {}\nmodel: {{ref: model.py:MeanModel}}\ndata: {{train: model.py:data}}\ntracker: {}\n"


def listed(outcome):
    assert (outcome.status, outcome.errors) == (0, "")
    return {config["name"]: config for config in json.loads(outcome.output)}


def test_names_and_files_of_the_root_are_listed(kladml, workspace, write):
    write("kladml.yaml", "family: cnn\n")
    write("data/configs/digits.yaml", RUN.format("digits", "none"))
    write("data/configs/cnn/small.yaml", "experiment: small\nproject: vision\n")
    write("train.yaml", "training: {max_epochs: 3}\n")
    write("docker-compose.yaml", "services: {db: {image: postgres}}\n")
    write("notes/more.yaml", "training: {max_epochs: 3}\n")
    found = listed(kladml("config", "list", "--json"))
    assert [*found] == ["cnn/small", "digits", "train.yaml"]
    assert found["digits"] == {
        "name": "digits",
        "file": "data/configs/digits.yaml",
        "experiment": "default/cnn/digits",
        "model": "model.py:MeanModel",
        "data": "model.py:data",
        "valid": True,
        "mistake": None,
        "newest_run": None,
        "newest_run_status": None,
        "newest_run_started_at": None,
    }
    assert found["cnn/small"]["experiment"] == "vision/cnn/small"
    lines = [line.split() for line in kladml("config", "list").output.splitlines()]
    assert lines[1] == ["digits", "yes", "-", "default/cnn/digits", "model.py:data", "model.py:MeanModel"]


def test_what_does_not_fit_is_listed_with_its_first_mistake(kladml, workspace, write):
    write("data/configs/good.yaml", "experiment: good\n")
    write("data/configs/typo.yaml", "training:\n  max_epoch: 5\n")
    write("data/configs/broken.yaml", "training: [\n")
    write("broken.yaml", "training: [\n")
    write("data/configs/plugin.yaml", "experiment: x\nstorage: s33\n")
    found = listed(kladml("config", "list", "--json"))
    assert {name: config["valid"] for name, config in found.items()} == {
        "broken": False,
        "good": True,
        "plugin": False,
        "typo": False,
        "broken.yaml": False,
    }
    assert "data/configs/typo.yaml:2: unknown key training.max_epoch; did you mean" in found["typo"]["mistake"]
    assert "data/configs/broken.yaml:2 is not valid YAML" in found["broken"]["mistake"]
    assert found["plugin"]["experiment"] == "default/default/x"
    outcome = kladml("config", "list")
    assert outcome.status == 0
    assert "not valid: typo: data/configs/typo.yaml:2: unknown key" in outcome.errors


def test_a_workspace_that_is_wrong_makes_all_wrong_and_still_lists_them(kladml, workspace, write):
    write("kladml.yaml", "trainin: {}\n")
    write("data/configs/a.yaml", "experiment: a\n")
    outcome = kladml("config", "list", "--json")
    assert outcome.status == 0
    assert json.loads(outcome.output)[0]["valid"] is False
    assert "the runs of the configurations cannot be read" in outcome.errors


def test_nothing_yet_says_what_writes_one(kladml, workspace):
    outcome = kladml("config", "list")
    assert (outcome.status, outcome.output) == (0, "")
    assert "kladml config new --data NAME" in outcome.errors
    assert json.loads(kladml("config", "list", "--json").output) == []


def test_without_a_workspace_it_is_an_error(kladml, folder):
    outcome = kladml("config", "list")
    assert outcome.status == 3
    assert "run kladml init" in outcome.errors


@pytest.mark.parametrize("tracker", ["none", "local"])
def test_newest_run_is_that_which_was_started_with_it(kladml, workspace, write, tracker):
    write("data/configs/one.yaml", RUN.format("same", tracker))
    write("data/configs/two.yaml", RUN.format("same", tracker))
    write("three.yaml", RUN.format("same", tracker))
    for arguments in (("two",), ("one",), ("data/configs/one.yaml",), ("--model", "model.py:MeanModel")):
        more = ("--data", "model.py:data", "--experiment", "same", "--tracker", tracker) if arguments[1:] else ()
        assert kladml("train", *arguments, *more).status == 0
    found = listed(kladml("config", "list", "--json"))
    newest = {name: config["newest_run"] for name, config in found.items()}
    assert newest == {"one": "default/default/same@3", "two": "default/default/same@1", "three.yaml": None}
    assert found["one"]["newest_run_status"] == "FINISHED"
    assert kladml("config", "list").output.split()[:4] == ["one", "yes", "same@3", "FINISHED"]


def test_listing_imports_no_torch(workspace, write):
    write("data/configs/one.yaml", RUN.format("same", "local"))
    code = "import sys; from kladml_cli.main import main; main(['config', 'list']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("one")
