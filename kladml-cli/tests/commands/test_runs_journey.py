"""The journey of a newcomer, from an empty folder: train, list, show, compare, reproduce, delete."""

from __future__ import annotations

import json
import subprocess

import pytest

FAST = ("--set", "training.max_epochs=2", "--publisher", "none")


def git(*arguments):
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], check=True, capture_output=True)


@pytest.fixture
def ok(kladml, folder):
    def run(*arguments):
        outcome = kladml(*arguments)
        assert outcome.status == 0, outcome.errors
        if "--json" not in arguments and "--diff" not in arguments:
            lines = outcome.output.replace(str(folder), "/work").splitlines()
            wide = [line for line in lines if len(line) > 80 and "sha256:" not in line]
            assert wide == []
        return outcome

    return run


def test_newcomer(ok, kladml, folder):
    ok("init", "--example", "digits")
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    kladml("train", "train.yaml", *FAST)
    (folder / "model.py").write_text((folder / "model.py").read_text() + "\n# better\n")
    kladml("train", "train.yaml", *FAST, "--set", "training.optimizer.lr=0.008")

    lines = ok("runs", "list").output.splitlines()
    assert [line.split()[:2] for line in lines] == [["digits@2", "FINISHED"], ["digits@1", "FINISHED"]]
    (line,) = ok("runs", "list", "--where", "params.lr < 0.005 and val_accuracy > 0.2").output.splitlines()
    assert line.startswith("digits@1 ")
    lines = ok("runs", "list", "--sort", "-params.lr").output.splitlines()
    assert [line.rsplit("  ", 1)[1] for line in lines] == ["lr 0.008", "lr 0.002"]
    assert ok("runs", "list", "--tree").output.splitlines()[:3] == ["default", "  default", "    digits"]

    shown = ok("runs", "show", "@-1").output
    assert "  training.optimizer.lr             0.008\n" in shown
    assert "1 changed file: 2 lines added, 0 removed; see --diff" in shown
    assert "+# better" in ok("runs", "show", "@2", "--diff").output
    page = json.loads(ok("runs", "show", "@2", "--json").output)
    assert page["code_version"].endswith("+dirty")
    assert page["metrics"]["val_loss"]["values"] == 2
    assert page["metrics"]["val_loss"]["mode"] == "min"
    assert page["environment"]["threads"] == 1
    assert page["distributions"]["torch"]
    assert {"model/model.safetensors", "code.diff", "config.yaml", "run.json"} <= {*page["artifacts"]}
    assert page["data_fingerprint"].startswith("sha256:")

    compared = ok("compare", "@1", "@2").output
    assert "  training.optimizer.lr  0.002  0.008\n" in compared
    differences = json.loads(ok("compare", "@1", "@2", "--json").output)["differences"]
    assert {what: sorted(found) for what, found in differences.items()} == {
        "config": ["training.optimizer.lr"],
        "code": ["changes", "model.py", "version"],
    }

    best = json.loads(ok("runs", "show", "@best", "--json").output)
    by_metric = json.loads(ok("runs", "show", "digits@best", "--metric", "val_loss", "--json").output)
    assert best["address"].startswith("default/default/digits@")
    losses = {run["address"]: run["metrics"]["val_loss"] for run in json.loads(ok("runs", "list", "--json").output)}
    assert by_metric["address"] == min(losses, key=losses.get)

    outcome = kladml("reproduce", "@2", "--set", "publisher.use=none")
    assert outcome.status == 0, outcome.errors
    assert outcome.output.splitlines()[-1] == (
        "exact: final metrics and weights of default/default/digits@3 are those of default/default/digits@2, "
        "to the last bit"
    )
    git("checkout", "model.py")
    check = kladml("reproduce", "@2", "--check")
    assert check.status == 9
    assert "the code had changes that it has not now" in check.errors

    assert "would be deleted" in ok("runs", "delete", "@3", "--dry-run").output
    assert ok("runs", "delete", "@3", "--yes").output.splitlines()[-1] == "deleted default/default/digits@3"
    assert not (folder / ".kladml/runs/default/default/digits/3").exists()
    assert [*(folder / "data/runs/default/default/digits").rglob("3/*")] == []
    assert ok("checkpoints", "list", "@-1").output == ok("checkpoints", "list", "default/default/digits@2").output
