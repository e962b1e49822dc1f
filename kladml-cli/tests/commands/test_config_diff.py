from __future__ import annotations

import json

import pytest

RUN = """\
experiment: digits
model: {ref: model.py:MeanModel}
data: {train: model.py:data}
tracker: none
training:
  batch_size: 8
"""


@pytest.fixture
def configs(workspace):
    folder = workspace / "data/configs"
    folder.mkdir(parents=True)
    (folder / "one.yaml").write_text(RUN)
    (folder / "two.yaml").write_text(RUN.replace("8", "16") + "  optimizer: {name: sgd, args: {momentum: 0.9}}\n")
    return folder


def test_only_keys_that_differ_are_shown_with_their_origin(kladml, configs, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    outcome = kladml("config", "diff", "one", "data/configs/two.yaml")
    assert (outcome.status, outcome.errors) == (0, "")
    head, grid = outcome.output.split("\n\n")
    assert head.splitlines() == ["● one                    data/configs/one.yaml", "○ data/configs/two.yaml"]
    assert [line.split() for line in grid.splitlines()] == [
        ["configuration"],
        ["one", "data/configs/two.yaml"],
        ["training.batch_size", "8", "(one.yaml:6)", "16", "(two.yaml:6)"],
        ["training.optimizer.name", "adamw", "(default)", "sgd", "(two.yaml:7)"],
        ["training.optimizer.args.momentum", "-", "0.9", "(two.yaml:7)"],
    ]


def test_as_json_it_has_the_values_and_their_whole_origins(kladml, configs):
    found = json.loads(kladml("config", "diff", "one", "two", "--json").output)
    assert found["a"] == {"label": "one", "kind": "config", "source": "data/configs/one.yaml"}
    assert found["differences"]["training.batch_size"] == {
        "a": {"value": 8, "origin": "data/configs/one.yaml:6"},
        "b": {"value": 16, "origin": "data/configs/two.yaml:6"},
    }
    assert found["differences"]["training.optimizer.args.momentum"]["a"] == {"value": None, "origin": None}


def test_a_configuration_is_compared_with_a_run_of_it(kladml, configs):
    assert kladml("train", "one").status == 0
    assert kladml("config", "diff", "one", "@1").output.endswith("\n\nno difference in configuration\n")
    (configs / "one.yaml").write_text(RUN.replace("8", "9"))
    outcome = kladml("config", "diff", "one", "digits@-1")
    assert "digits@1  FINISHED" in outcome.output
    assert outcome.output.split("configuration\n")[1].split() == [
        *("one", "digits@1", "training.batch_size"),
        *("9", "(one.yaml:6)", "8"),
    ]


def test_runs_are_compared_with_each_other(kladml, configs):
    assert kladml("train", "one").status == kladml("train", "two", "--storage", "none").status == 0
    found = json.loads(kladml("config", "diff", "@1", "@2", "--json").output)
    assert found["a"]["source"] == "default/default/digits@1"
    assert {"training.batch_size", "storage.use"} <= found["differences"].keys()
    assert found["differences"]["storage.use"]["b"] == {"value": "none", "origin": None}


def test_flags_count_for_configurations(kladml, configs):
    found = json.loads(kladml("config", "diff", "one", "two", "--set", "training.batch_size=4", "--json").output)
    assert "training.batch_size" not in found["differences"]


def test_secrets_are_masked(kladml, configs, monkeypatch):
    monkeypatch.setenv("KLADML_CATALOG__SQL__PASSWORD", "hunter2")
    assert kladml("train", "one", "--catalog", "none").status == 0
    (configs / "two.yaml").write_text("publisher: {redis: {url: 'redis://me:hunter3@db/1'}}\n")
    (configs / "one.yaml").write_text("publisher: {redis: {url: 'redis://db/1'}}\n")
    for arguments in (("one", "two"), ("one", "two", "--json")):
        outcome = kladml("config", "diff", *arguments)
        assert outcome.status == 0
        assert "redis://***@db/1" in outcome.output
        assert "hunter" not in outcome.output


def test_exit_code_tells_a_script(kladml, configs):
    assert kladml("config", "diff", "one", "one", "--exit-code").status == 0
    outcome = kladml("config", "diff", "one", "two", "--exit-code")
    assert outcome.status == 9
    assert "training.batch_size" in outcome.output
    assert "one and two differ in 3 keys" in outcome.errors


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("on", 3, "; a run is written @3 or digits@3"),
        ("onne", 3, "did you mean one? 'kladml config list' shows"),
        ("@7", 3, "there is no run '@7'"),
        ("one@x\ty", 3, "there is no experiment 'one'"),
        ("a\x1b[31m", 3, r"there is no configuration 'a\x1b[31m'"),
        ("typo", 3, "data/configs/typo.yaml:1: unknown key trainin"),
    ],
)
def test_what_means_nothing_is_an_error(kladml, configs, text, status, said):
    (configs / "typo.yaml").write_text("trainin: {max_epochs: 1}\n")
    outcome = kladml("config", "diff", "one", text)
    assert (outcome.status, outcome.output) == (status, "")
    assert said in outcome.errors
    assert outcome.errors.count("\n") == 1
    assert "\x1b" not in outcome.errors


def test_a_run_whose_configuration_is_elsewhere_is_an_error(kladml, configs, workspace):
    assert kladml("train", "one").status == 0
    (workspace / ".kladml/runs/default/default/digits/1/config.yaml").unlink()
    outcome = kladml("config", "diff", "one", "@1")
    assert outcome.status == 3
    assert "the configuration of run default/default/digits@1 is not on this machine" in outcome.errors
