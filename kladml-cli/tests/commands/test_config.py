from __future__ import annotations

import json

import pytest


def rows(outcome):
    assert (outcome.status, outcome.errors) == (0, "")
    return {row["key"]: (row["value"], row["origin"]) for row in json.loads(outcome.output)}


def test_show_prints_every_value_with_its_origin(kladml, workspace, monkeypatch):
    (workspace / "kladml.yaml").write_text(
        "training:\n  max_epochs: 3\n  batch_size: 8\nprofiles: {big: {training: {batch_size: 512}}}\n"
    )
    (workspace / "train.yaml").write_text("training:\n  seed: 7\n")
    monkeypatch.setenv("KLADML_TRAINING__LOG_EVERY", "9")
    outcome = kladml(
        "config", "show", "train.yaml", "--profile", "big", "--set", "model.args.width=4", "--storage", "none"
    )
    lines = dict(line.split(maxsplit=1) for line in outcome.output.splitlines())
    assert lines["training.max_epochs"].split() == ["3", "kladml.yaml:2"]
    assert lines["training.batch_size"].split() == ["512", "kladml.yaml:4", "(profile", "big)"]
    assert lines["training.seed"].split() == ["7", "train.yaml:2"]
    assert lines["training.log_every"].split() == ["9", "$KLADML_TRAINING__LOG_EVERY"]
    assert lines["model.args.width"].split() == ["4", "--set"]
    assert lines["storage.use"].split() == ["none", "--storage"]
    assert lines["run_name"].split() == ["null", "default"]
    assert lines["training.shuffle"].split() == ["true", "default"]


def test_show_as_json_keeps_the_types(kladml, workspace):
    found = rows(kladml("config", "show", "--json", "--tracker", "local", "--tracker", "none"))
    assert found["training.max_epochs"] == (10, "default")
    assert found["training.gradient_clipping"] == (None, "default")
    assert found["tracker.use"] == (["local", "none"], "--tracker")
    assert found["storage.local.root"] == ("data", "default")


def test_show_masks_secrets(kladml, workspace, monkeypatch):
    monkeypatch.setenv("KLADML_CATALOG__SQL__PASSWORD", "hunter2")
    monkeypatch.setenv("KLADML_CATALOG__SQL__URL", "postgresql://me:hunter2@db/kladml")
    for arguments in ((), ("--json",)):
        outcome = kladml("config", "show", *arguments)
        assert outcome.status == 0
        assert "hunter2" not in outcome.output
        assert "***" in outcome.output


def test_show_needs_no_workspace_and_makes_none(kladml, folder):
    assert rows(kladml("config", "show", "--json"))["experiment"] == ("default", "default")
    assert list(folder.iterdir()) == []


def test_show_of_another_workspace(kladml, workspace, tmp_path):
    (tmp_path / "other/.kladml").mkdir(parents=True)
    (tmp_path / "other/kladml.yaml").write_text("experiment: elsewhere\n")
    found = rows(kladml("config", "show", "--json", "--workspace", tmp_path / "other"))
    assert found["experiment"][0] == "elsewhere"


def test_show_with_the_environment_as_source_reads_no_file(kladml, workspace):
    (workspace / "kladml.yaml").write_text("experiment: elsewhere\n")
    assert rows(kladml("config", "show", "--json", "--config-source", "env"))["experiment"][0] == "default"


def test_check_accepts_a_file_and_names_the_selected_backends(kladml, workspace):
    (workspace / "train.yaml").write_text("training: {max_epochs: 3}\n")
    outcome = kladml("config", "check", "train.yaml")
    assert outcome.output == (
        "train.yaml is valid, with storage local, tracker local, publisher console, catalog sql\n"
    )
    assert json.loads(kladml("config", "check", "train.yaml", "--json").output)["valid"] is True


@pytest.mark.parametrize(
    ("text", "message", "status"),
    [
        (
            "training:\n  max_epoch: 3\n",
            "train.yaml:2: unknown key training.max_epoch; did you mean training.max_epochs?",
            3,
        ),
        ("training:\n\n  max_epochs: many\n", "train.yaml:3: training.max_epochs must be int, not 'many'", 3),
        ("storag: {use: local}\n", "train.yaml:1: unknown key storag.use; did you mean storage.use?", 3),
        ("storage:\n  local:\n    rot: data\n", "train.yaml:3: unknown key storage.local.rot", 3),
        (
            "publisher:\n  console:\n    style: loud\n",
            "train.yaml:3: publisher.console.style must be one of auto, live, plain",
            3,
        ),
        ("training: [\n", "train.yaml:2 is not valid YAML", 3),
        ("storage: {use: s33}\n", "no storage named 's33' is installed", 4),
        (
            "training:\n  optimizer:\n    lr: 0.1\n    name: adamv\n",
            "train.yaml:4: training.optimizer.name 'adamv' is not in torch.optim; did you mean Adam?",
            3,
        ),
        (
            "training: {optimizer: {name: sgd, args: {momentun: 1}}}\n",
            "train.yaml:1: SGD does not take training.optimizer.args: ",
            3,
        ),
        ("training: {scheduler: {name: Step}}\n", "train.yaml:1: training.scheduler.name 'Step' is not in torch", 3),
        ("model:\n  loss: cross_entropi\n", "train.yaml:2: there is no loss named 'cross_entropi' in torch", 6),
        (
            "training: {early_stopping: {enabled: true, monitor: val_zeal}}\n",
            "train.yaml:1: training.early_stopping.mode is auto, and the name 'val_zeal' does not tell",
            3,
        ),
    ],
)
def test_check_finds_mistakes_with_file_and_line(kladml, workspace, text, message, status):
    (workspace / "train.yaml").write_text(text)
    outcome = kladml("config", "check", "train.yaml")
    assert (outcome.status, outcome.output) == (status, "")
    assert outcome.errors.startswith("Error: ")
    assert message in outcome.errors
    assert outcome.errors.count("\n") == 1


def test_a_name_works_as_well_as_a_path(kladml, workspace):
    (workspace / "data/configs/cnn").mkdir(parents=True)
    (workspace / "data/configs/cnn/small.yaml").write_text("training: {max_epochs: 3}\n")
    found = rows(kladml("config", "show", "cnn/small", "--json"))
    assert found["training.max_epochs"] == (3, "data/configs/cnn/small.yaml:1")
    assert kladml("config", "check", "cnn/small").output.startswith("data/configs/cnn/small.yaml is valid")
    outcome = kladml("config", "check", "cnn/smal")
    assert outcome.status == 3
    assert "did you mean cnn/small? 'kladml config list' shows those there are" in outcome.errors


def test_the_shell_completes_names_and_files(workspace):
    from click.shell_completion import ShellComplete

    from kladml_cli.main import kladml as command

    (workspace / "data/configs/cnn").mkdir(parents=True)
    (workspace / "data/configs/cnn/small.yaml").write_text("")
    shell = ShellComplete(command, {}, "kladml", "_KLADML_COMPLETE")
    for arguments in (["train"], ["config", "show"], ["config", "diff", "@1"]):
        found = shell.get_completions(arguments, "cn")
        assert [(item.value, item.type) for item in found] == [("cnn/small", "plain"), ("cn", "file")]


def test_check_of_a_file_that_is_absent(kladml, workspace):
    outcome = kladml("config", "check", "nowhere.yaml")
    assert (outcome.status, outcome.output) == (3, "")
    assert "there is no configuration 'nowhere.yaml', neither as a file nor as a name" in outcome.errors
