"""`kladml runs show`: how the code differed, and what a run notes of its data."""

from __future__ import annotations

import json
import subprocess

import pytest


@pytest.fixture
def two_runs(train, workspace):
    """A run of code as it is in Git, and one of changed code."""

    def git(*arguments):
        names = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", str(workspace), *names, *arguments], check=True, capture_output=True)

    git("init")
    git("add", "model.py")
    git("commit", "-m", "x")
    assert train("--publisher", "none").status == 0
    with (workspace / "model.py").open("a") as stream:
        stream.write("# better\n")
    assert train("--publisher", "none").status == 0


def test_the_diff_as_text_and_as_json(kladml, two_runs):
    text = kladml("runs", "show", "@2", "--diff").output
    assert text.endswith("+# better\n")
    found = json.loads(kladml("runs", "show", "@2", "--diff", "--json").output)
    assert found.keys() == {"address", "code_version", "code_diff"}
    assert (found["address"], found["code_diff"]) == ("default/default/default@2", text)
    assert found["code_version"].endswith("+dirty")
    without = json.loads(kladml("runs", "show", "@1", "--diff", "--json").output)
    assert without["code_diff"] is None
    assert kladml("runs", "show", "@1", "--diff").output == ""


@pytest.mark.parametrize("kind", ["sha256", "blake2b"])
def test_fingerprints_of_both_kinds_are_shortened(kladml, train, workspace, kind):
    assert train("--publisher", "none").status == 0
    file = workspace / ".kladml/runs/default/default/default/1/run.json"
    record = json.loads(file.read_text())
    whole = f"{kind}:{'0f' * 32}"
    record["tags"] |= {"kladml.data_fingerprint": whole, "kladml.val_fingerprint": whole}
    file.write_text(json.dumps(record))
    shown = kladml("runs", "show", "@1").output
    assert f"\n  data     {whole[:39]}…\n           validation: {whole[:39]}…\n" in shown
    assert f"\n  data     {whole}\n           validation: {whole}\n" in kladml("runs", "show", "@1", "--all").output


def test_what_stands_in_place_of_a_fingerprint_is_shown_whole(kladml, train, workspace):
    assert train("--publisher", "none").status == 0
    assert "\n           validation: none\n" in kladml("runs", "show", "@1").output
    file = workspace / ".kladml/runs/default/default/default/1/run.json"
    record = json.loads(file.read_text())
    record["tags"]["kladml.val_fingerprint"] = "part of training data"
    file.write_text(json.dumps(record))
    assert "\n           validation: part of training data\n" in kladml("runs", "show", "@1").output
    del record["tags"]["kladml.val_fingerprint"]
    file.write_text(json.dumps(record))
    assert "validation:" not in kladml("runs", "show", "@1").output
    assert json.loads(kladml("runs", "show", "@1", "--json").output)["val_fingerprint"] is None
