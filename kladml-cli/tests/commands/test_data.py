"""`kladml data`: what it prints, what it refuses, and a data set's way from a file to a resumed run."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager

import numpy as np
import pytest

from kladml.interfaces import ExperimentAddress
from kladml_backends_local import SqlCatalog

pytest.importorskip("polars")
pytest.importorskip("pyarrow")

ROWS = [f"{row},{row / 2},{'even' if row % 2 == 0 else 'odd'}" for row in range(20)]

NET = """\
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(2, 2))
"""


@pytest.fixture
def table(workspace):
    """Write the rows of a table, and return its file."""

    def write(rows, name="numbers.csv"):
        file = workspace / name
        file.write_text("\n".join(["a,b,parity", *rows]) + "\n", encoding="utf-8")
        return file

    write(ROWS)
    return write


@pytest.fixture
def numbers(kladml, table):
    """A data set of two versions."""
    assert kladml("data", "add", "numbers", "numbers.csv", "--target", "parity").status == 0
    table([*ROWS[:3], "3,99,even", *ROWS[4:], "20,10,even"])
    assert kladml("data", "add", "numbers", "numbers.csv").status == 0


def test_add_says_what_it_found(kladml, table):
    outcome = kladml("data", "add", "numbers", "numbers.csv", "--target", "parity")
    assert outcome.status == 0
    first, fingerprint = outcome.output.splitlines()
    assert first == "numbers@1  csv, 20 rows, 3 columns, 2 labels, 1 file, 231 B"
    assert fingerprint.startswith("blake2b:")
    assert outcome.errors == "Next: kladml config new --data numbers\n"
    again = kladml("data", "add", "numbers", "numbers.csv")
    assert again.output == "numbers@1 has exactly this content already\n"
    assert json.loads(kladml("data", "add", "numbers", "numbers.csv", "--json").output)["new"] is False


def test_list_and_show(kladml, workspace, numbers):
    (row,) = kladml("data", "list").output.splitlines()
    assert row.split()[:6] == ["numbers@2", "csv", "21", "1", "242", "B"]
    assert [line.split()[0] for line in kladml("data", "list", "numbers").output.splitlines()] == [
        "numbers@2",
        "numbers@1",
    ]
    shown = kladml("data", "show", "numbers@1", "--files").output
    assert "parity  string   target" in shown
    assert "even  10" in shown
    content = json.loads(kladml("data", "show", "numbers@1", "--json").output)
    assert shown.splitlines()[1] == content["fingerprint"]
    assert all(len(line) <= 80 for line in shown.replace(os.fspath(workspace), "").splitlines())
    assert "numbers.csv  231 B" in shown
    content = json.loads(kladml("data", "show", "numbers@2", "--json").output)
    assert (content["reference"], content["schema"]["rows"]) == ("numbers@2", 21)
    assert [entry["version"] for entry in json.loads(kladml("data", "list", "numbers", "--json").output)] == [2, 1]


def test_many_columns_and_labels_are_cut_unless_asked_for(kladml, workspace):
    names = [f"c{number}" for number in range(30)]
    (workspace / "wide.csv").write_text(
        "\n".join([",".join([*names, "y"]), *(",".join(["1"] * 30 + [str(n)]) for n in range(20))])
    )
    kladml("data", "add", "wide", "wide.csv")
    shown = kladml("data", "show", "wide").output
    assert "... and 19 more columns; see --all" in shown
    assert "... and 8 more labels; see --all" in shown
    assert "..." not in kladml("data", "show", "wide", "--all").output


def test_diff_says_which_rows_and_labels(kladml, numbers):
    outcome = kladml("data", "diff", "numbers@1", "numbers@2")
    assert outcome.output.splitlines() == [
        "numbers@1 -> numbers@2",
        "files",
        "  ~ numbers.csv",
        "labels",
        "  ~ even  10 -> 12",
        "  ~ odd   10 -> 9",
        "rows     20 -> 21: 1 changed, 1 added",
        "  ~ row 4  b 1.5 -> 99.0, parity odd -> even",
        "  + row 21  a 20, b 10.0, parity even",
    ]
    assert kladml("data", "diff", "numbers@1").output == outcome.output
    content = json.loads(kladml("data", "diff", "numbers@1", "--json").output)
    assert (content["rows"]["changed"], content["labels"]["odd"]) == (1, {"before": 10, "after": 9})
    assert "... and 2 more; see --rows" in kladml("data", "diff", "numbers@1", "--rows", "0").output
    assert kladml("data", "diff", "numbers@2").output == "numbers@2 and numbers@2 have the same files\n"


def test_diff_without_a_common_column_does_not_say_the_same(kladml, workspace, numbers):
    (workspace / "other.csv").write_text("p,q\n1,2\n3,4\n")
    assert kladml("data", "add", "other", "other.csv").status == 0
    line = kladml("data", "diff", "numbers@1", "other@1").output.splitlines()[-1]
    assert line == "rows     20 -> 2: no column in common, so that rows are not compared"


def test_diff_of_arrays_says_types_and_shapes(kladml, workspace):
    inputs = np.arange(12.0).reshape(4, 3)
    other = inputs.copy()
    other[1, 2] = 0
    for version in (inputs, other, other.astype(np.float32), other[:, :2]):
        np.save(workspace / "x.npy", version)
        assert kladml("data", "add", "arrays", "x.npy").status == 0
    lines = [
        kladml("data", "diff", f"arrays@{n}", f"arrays@{n + 1}", "--rows", "1").output.splitlines() for n in (1, 2, 3)
    ]
    assert lines[0] == ["arrays@1 -> arrays@2", "files", "  ~ x.npy", "rows     4 -> 4: 1 changed", "  ~ row 2  x"]
    assert lines[1][3:] == ["columns", "  ~ x  float64[3] -> float32[3]", "rows     4 -> 4: the same"]
    assert lines[2][3:] == [
        "columns",
        "  ~ x  float32[3] -> float64[2]",
        "rows     4 -> 4: 4 changed",
        "  ~ row 1  x float32[3] -> float64[2]",
        "  ... and 3 more; see --rows",
    ]


def test_reading_tables_shows_a_bar(kladml, numbers, table, workspace, monkeypatch):
    seen = []

    @contextmanager
    def bar(label, total):
        told = []
        yield told.append
        seen.append((label, total == sum(told)))

    monkeypatch.setattr("kladml_cli.progress.bar", bar)
    table(ROWS[:4])
    assert kladml("data", "add", "numbers", "numbers.csv").status == 0
    assert kladml("data", "diff", "numbers@1", "numbers@3", "--rows", "0").status == 0
    (workspace / "model.py").write_text(NET)
    trained = kladml(
        "train", "--data", "numbers@3", "--model", "model.py:Net", "--set", "model.loss=cross_entropy",
        "--set", "training.max_epochs=1",
    )  # fmt: skip
    assert trained.status == 0, trained.errors
    assert seen == [
        ("adding numbers", True),
        ("reading numbers", True),
        ("comparing rows", True),
        ("preparing numbers@3", True),
    ]


def test_verify_finds_what_changed(kladml, workspace, numbers):
    assert kladml("data", "verify").status == 0
    digest = json.loads(kladml("data", "show", "numbers@1", "--json").output)["files"][0]["blake2b"]
    file = workspace / ".kladml/objects" / digest[:2] / digest[2:]
    file.chmod(0o644)
    file.write_bytes(file.read_bytes().replace(b"even", b"EVEN", 1))
    outcome = kladml("data", "verify")
    assert outcome.status == 6
    assert "numbers@1: numbers.csv has another content" in outcome.output
    assert "1 of 2 versions is damaged: numbers@1" in outcome.errors
    assert kladml("data", "verify", "numbers@2").status == 0
    (row,) = json.loads(kladml("data", "verify", "numbers@1", "--json").output)
    assert row["damaged"] == [{"file": "numbers.csv", "problem": "has another content"}]


def test_push_and_pull(kladml, workspace, numbers):
    outcome = kladml("data", "push", "numbers")
    assert outcome.output == "numbers@2 pushed to 'runs': 1 of 1 file, 242 B were missing\n"
    removed = kladml("data", "remove", "numbers", "--all", "--yes")
    assert removed.errors == "the catalog still knows numbers@2, which is in local/runs\n"
    (row,) = kladml("data", "list").output.splitlines()
    assert (row.split()[0], row.split()[-1]) == ("numbers@2", "local/runs")
    assert kladml("data", "remove", "numbers", "--all", "--forget", "--yes").output == "the catalog forgot numbers@2\n"
    assert kladml("data", "list").errors == "no data sets yet; 'kladml data add NAME PATH' adds one\n"
    assert kladml("data", "pull", "numbers@2").output.startswith("numbers@2 pulled from 'runs': 1 of 1")
    content = json.loads(kladml("data", "pull", "numbers", "--json").output)
    assert (content["reference"], content["transferred"]) == ("numbers@2", 0)
    outcome = kladml("data", "push", "numbers", "--storage", "none")
    assert outcome.status == 5
    assert "no storage is selected; set storage.use" in outcome.errors


def test_a_folder_that_was_dropped_leads_to_sync(kladml, train, workspace, numbers):
    for name in ("photos", "empty", ".hidden"):
        (workspace / "data/datasets" / name).mkdir(parents=True)
    (workspace / "data/datasets/photos/a.txt").write_text("a")
    (workspace / "data/datasets/notes.txt").write_text("no folder")
    said = "data/datasets/photos is a folder, and no data set yet; 'kladml data sync' makes it one\n"
    listed = kladml("data", "list")
    assert (listed.errors, len(listed.output.splitlines())) == (said, 1)
    assert kladml("data", "list", "numbers").errors == ""
    error = f"Error: {said.replace('sync', 'sync photos')}"
    for arguments in (("show", "photos"), ("list", "photos"), ("remove", "photos", "--all"), ("verify", "photos")):
        assert kladml("data", *arguments).errors == error
    assert train(data="photos").errors == error.replace("Error: ", "Error: data.train: ")
    assert kladml("data", "sync", "photos").status == 0
    assert kladml("data", "list").errors == ""


def test_sync_keeps_the_folder_in_step(kladml, workspace, numbers):
    assert kladml("data", "sync", "--dry-run").output == "numbers@2  would be written to the folder\n"
    assert kladml("data", "sync").output == "numbers@2  written to the folder\n"
    file = workspace / "data/datasets/numbers/numbers.csv"
    file.write_text(file.read_text() + "21,1,odd\n")
    assert kladml("data", "sync").output == "numbers@3  added from the folder\n"
    file.write_text(file.read_text() + "22\n")
    outcome = kladml("data", "sync")
    assert (outcome.status, outcome.output.split()) == (6, ["numbers", "failed"])
    assert "numbers.csv:24 has 1 column instead of 3: column 'b' is missing" in outcome.errors
    assert [row["action"] for row in json.loads(kladml("data", "sync", "--json").output)] == ["failed"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "number"], "there is no data set 'number'; there is numbers"),
        (["show", "numbers@7"], "numbers@7 is no version of 'numbers'; there are numbers@1, 2"),
        (["show", "numbers@x"], "'numbers@x' is no version of a data set; write numbers@1"),
        (["add", "a/b", "numbers.csv"], "'a/b' cannot be the name of a data set"),
        (["add", "other", "absent.csv"], "absent.csv does not exist"),
        (["add", "other", "numbers.csv", "--target", "parety"], "did you mean 'parity'?"),
        (["add", "other", ".kladml"], "lies in KladML's own folder"),
        (["remove", "numbers"], "'numbers' has 2 versions; name one, such as numbers@1, or add --all"),
        (["pull", "numbers@9"], "the storage has no numbers@9"),
        (["list", "nombers"], "there is no data set 'nombers'; there is numbers"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(kladml, numbers, arguments, said):
    outcome = kladml("data", *arguments)
    assert outcome.status == 6
    assert said in outcome.errors
    assert outcome.errors.count("\n") == 1


def test_a_broken_row_is_named_and_nothing_is_kept(kladml, workspace, table):
    table([*ROWS, "1,2"])
    outcome = kladml("data", "add", "numbers", "numbers.csv")
    assert outcome.status == 6
    assert "numbers.csv:22 has 2 columns instead of 3: column 'parity' is missing" in outcome.errors
    assert kladml("data", "list", "--json").output == "[]\n"
    assert not [file for file in (workspace / ".kladml/objects").rglob("*") if file.is_file()]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("s.arrow", b"\xff\xff\xff\xff\x10\x00\x00\x00", "s.arrow cannot be read as an Arrow file or stream"),
        ("cat/1.png", b"\x89PNG\r\n\x1a\n\x00\x00", "the image 1.png cannot be read"),
        ("n.npy", b"\x93NUMPY\x01", "n.npy cannot be read"),
    ],
)
def test_a_broken_file_is_named_and_nothing_is_kept(kladml, workspace, name, content, said):
    (workspace / name).parent.mkdir(exist_ok=True)
    (workspace / name).write_bytes(content)
    outcome = kladml("data", "add", "broken", name)
    assert (outcome.status, outcome.output) == (6, "")
    assert said in outcome.errors
    assert outcome.errors.count("\n") == 1
    assert kladml("data", "list").output == ""
    assert [*(workspace / ".kladml/objects").glob("*/*")] == []


def test_a_device_is_no_data(kladml, workspace):
    outcome = kladml("data", "add", "nothing", os.devnull)
    assert (outcome.status, outcome.errors.count("\n")) == (6, 1)
    assert f"{os.devnull} is no regular file and no folder; name a file" in outcome.errors


def test_help_fits_a_terminal_and_has_examples(kladml):
    for command in ("add", "list", "show", "diff", "sync", "verify", "remove", "push", "pull"):
        text = kladml("data", command, "--help").output
        assert "Examples:" in text
        assert f"kladml data {command}" in text
        assert max(map(len, text.splitlines())) <= 80


def test_removing_all_versions_asks_or_needs_yes(kladml, numbers):
    outcome = kladml("data", "remove", "numbers", "--all")
    assert outcome.status == 2
    assert "without a terminal, --yes is needed to delete" in outcome.errors
    assert len(json.loads(kladml("data", "list", "numbers", "--json").output)) == 2
    assert kladml("data", "remove", "numbers", "--all", "--yes").status == 0


def test_runs_that_the_catalog_forgot_do_not_keep_data(kladml, workspace, numbers):
    with SqlCatalog() as catalog:
        catalog.add_run(ExperimentAddress.parse("default/default/digits"), "run", {})
    folder = workspace / ".kladml/runs/default/default/digits/1"
    folder.mkdir(parents=True)
    record = {"address": "default/default/digits@1", "run_id": "run", "tags": {"kladml.data": "numbers@1"}}
    (folder / "run.json").write_text(json.dumps(record))
    assert json.loads(kladml("data", "show", "numbers@1", "--json").output)["runs"] == ["default/default/digits@1"]
    assert kladml("data", "remove", "numbers@1").status == 6
    assert kladml("project", "delete", "default", "--recursive", "--yes").status == 0
    assert "trained  default/default/digits@1 (forgotten)\n" in kladml("data", "show", "numbers@1").output
    content = json.loads(kladml("data", "show", "numbers@1", "--json").output)
    assert (content["runs"], content["forgotten_runs"]) == ([], ["default/default/digits@1"])
    assert kladml("data", "remove", "numbers@1").status == 0


def test_the_way_from_adding_to_the_refusal_of_changed_data(run_kladml, folder):
    def run(*arguments):
        outcome = run_kladml(*arguments)
        assert outcome.status == 0, outcome.errors
        return outcome.output

    run("init", ".")
    (folder / "model.py").write_text(NET)
    (folder / "numbers.csv").write_text("\n".join(["a,b,parity", *ROWS]) + "\n")
    (folder / "train.yaml").write_text(
        "experiment: numbers\nmodel: {ref: model.py:Net, loss: cross_entropy}\ndata: {train: numbers}\n"
        "training: {max_epochs: 2}\ntracker: none\n"
    )
    run("data", "add", "numbers", "numbers.csv", "--target", "parity")
    run("train", "train.yaml")
    (folder / "numbers.csv").write_text("\n".join(["a,b,parity", "7,7,odd", *ROWS[1:]]) + "\n")
    run("data", "add", "numbers", "numbers.csv")
    assert "1 changed" in run("data", "diff", "numbers@1", "numbers@2")
    longer = ("--set", "training.max_epochs=3")
    refused = run_kladml("train", "train.yaml", "--resume", "@1", *longer)
    assert refused.status == 6
    assert "was trained on numbers@1, and is to go on with numbers@2" in refused.errors
    assert "'kladml data diff numbers@1 numbers@2' says what changed" in refused.errors
    run("train", "train.yaml", "--resume", "@1", *longer, "--data", "numbers@1")
    kept = run_kladml("data", "remove", "numbers@1")
    assert kept.status == 6
    assert "numbers@1 was trained on by default/default/numbers@1" in kept.errors
    for file in (folder / ".kladml/objects").glob("??/*"):
        os.chmod(file, 0o644)  # noqa: PTH101
        file.write_bytes(file.read_bytes().replace(b"even", b"EVEN"))
    changed = run_kladml("train", "--resume", "default/default/numbers@1", "--set", "training.max_epochs=4")
    assert changed.status == 6
    assert "numbers@1 is not what was added: its file numbers.csv has another content" in changed.errors
    assert json.loads((folder / ".kladml/runs/default/default/numbers/1/run.json").read_text())["resumed"] == 1
