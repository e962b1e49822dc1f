"""A first configuration for a data set: it fits, it says why, and it trains at once."""

from __future__ import annotations

import csv
import json
import os

import numpy as np
import pytest
import yaml

from kladml_cli.starting_config import _pair


def rows_of(count, columns=3, seed=0):
    return np.random.default_rng(seed).normal(size=(count, columns)).astype(np.float32)


def write_csv(path, names, inputs, target, targets):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*names, target])
        writer.writerows([*map(str, row), value] for row, value in zip(inputs, targets, strict=True))
    return path


def csv_text(folder):
    return write_csv(folder / "it.csv", ["a", "b: c", "no"], rows_of(30), "# kind", ["x", "yes: no", "1"] * 10)


def csv_whole(folder):
    return write_csv(folder / "it.csv", ["a", "b", "c"], rows_of(30), 'it\'s "so" é', range(30))


def npz_classes(folder):
    np.savez(folder / "it.npz", X=rows_of(30, 12).reshape(30, 3, 4), label=np.arange(30, dtype=np.uint8) % 3)
    return folder / "it.npz"


def npz_column(folder):
    np.savez(folder / "it.npz", X=rows_of(30), y=rows_of(30, 1))
    return folder / "it.npz"


def safetensors(folder):
    from safetensors.numpy import save_file

    save_file({"x": rows_of(30), "y": rows_of(30, 2).astype(np.float64)}, folder / "it.safetensors")
    return folder / "it.safetensors"


def parquet(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"a": rows_of(30)[:, 0], "b": [*range(30)], "target": [True, False] * 15})
    pq.write_table(table, folder / "it.parquet")
    return folder / "it.parquet"


def images(folder):
    import PIL.Image

    for index in range(12):
        file = folder / "it" / "abc"[index % 3] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.full((9, 20, 3), 20 * index, np.uint8)).save(file)
    return folder / "it"


def parts(folder):
    (folder / "it").mkdir()
    for name, count in (("train", 30), ("val", 10)):
        write_csv(folder / f"it/{name}.csv", ["a", "b", "c"], rows_of(count), "y", [0.5 * row for row in range(count)])
    return folder / "it"


FORMATS = [csv_text, csv_whole, npz_classes, npz_column, safetensors, parquet, images, parts]
TARGETS = {csv_text: "# kind", csv_whole: 'it\'s "so" é', npz_classes: "label"}


@pytest.fixture
def add(kladml, workspace, tmp_path):
    """Add data in some form as the data set `it`."""

    def run(make):
        target = ("--target", TARGETS[make]) if make in TARGETS else ()
        outcome = kladml("data", "add", "it", make(tmp_path), *target)
        assert outcome.status == 0, outcome.errors

    return run


@pytest.mark.parametrize("make", FORMATS)
def test_what_is_written_fits_and_trains_at_once(kladml, add, workspace, make):
    add(make)
    outcome = kladml("config", "new", "--data", "it")
    assert outcome.status == 0, outcome.errors
    assert outcome.errors == "Next: kladml train it\n"
    assert "  wrote  data/configs/it.yaml\n  wrote  data/configs/it_model.py\n" in outcome.output
    assert kladml("config", "check", "it").status == 0
    text = (workspace / "data/configs/it.yaml").read_text(encoding="utf-8")
    settings = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert max(map(len, text.splitlines())) <= 80
    assert yaml.safe_load(text)["data"]["train"].startswith("it@1")
    assert sum("#" in line for line in settings) > 0.6 * len(settings)
    outcome = kladml(
        *("train", "it", "--json", "--tracker", "none", "--storage", "none", "--publisher", "none"),
        *("--set", "training.max_epochs=2"),
    )
    assert outcome.status == 0, outcome.errors
    assert {"val_loss", "eval_loss"} <= json.loads(outcome.output)["metrics"].keys()


@pytest.mark.parametrize(
    ("loader", "metric", "least", "most"),
    [
        # Best values of a linear model on such a part: 0.97, 0.98, and a mean squared error of 3,000.
        ("load_digits", "eval_accuracy", 0.95, 1),
        ("load_breast_cancer", "eval_accuracy", 0.93, 1),
        ("load_diabetes", "eval_loss", 0, 4_000),  # the mean alone has 5,930
    ],
)
def test_what_comes_of_it_is_sensible(kladml, workspace, tmp_path, loader, metric, least, most):
    import sklearn.datasets

    options = {"scaled": False} if loader == "load_diabetes" else {}
    bunch = getattr(sklearn.datasets, loader)(**options)
    if loader == "load_digits":
        np.savez(tmp_path / "it.npz", X=bunch.data, y=bunch.target)
        file = tmp_path / "it.npz"
    else:
        names = bunch.get("target_names")
        targets = bunch.target if names is None else [names[number] for number in bunch.target]
        file = write_csv(tmp_path / "it.csv", bunch.feature_names, bunch.data, "target", targets)
    assert kladml("data", "add", "it", file).status == 0
    assert kladml("config", "new", "--data", "it").status == 0
    outcome = kladml("train", "it", "--json", "--tracker", "none", "--storage", "none", "--publisher", "none")
    assert outcome.status == 0, outcome.errors
    assert least <= json.loads(outcome.output)["metrics"][metric] <= most


def test_the_network_standardises_what_it_sees(tmp_path):
    import torch

    from kladml_cli.examples.starting.rows import Standardise

    inputs = torch.tensor(rows_of(103, 4)) * torch.tensor([1e-4, 1.0, 1e5, 0.0]) + torch.tensor([0.0, 5.0, 1e6, 3.0])
    layer = Standardise(4)
    for batch in inputs.split(10):  # the last one has three rows
        layer(batch)
    layer.eval()
    found = layer(inputs)
    assert torch.allclose(found.mean(0), torch.zeros(4), atol=1e-2)
    assert torch.allclose(found.var(0, correction=0), torch.tensor([1.0, 1.0, 1.0, 0.0]), atol=1e-2)
    assert torch.isfinite(Standardise(4)(inputs[:1])).all()


def test_a_model_of_ones_own_is_named_from_the_workspace(kladml, add, workspace, monkeypatch):
    add(npz_classes)
    (workspace / "models").mkdir()
    (workspace / "models/mine.py").write_text(
        "from torch import nn\nclass Net(nn.Sequential):\n"
        "    def __init__(self): super().__init__(nn.Flatten(), nn.Linear(12, 3))\n"
    )
    monkeypatch.chdir(workspace / "models")
    outcome = kladml("config", "new", "own/first", "--data", "it@1", "--model", "mine.py:Net")
    assert outcome.status == 0, outcome.errors
    assert {path.name for path in (workspace / "data/configs/own").iterdir()} == {"first.yaml"}
    stored = yaml.safe_load((workspace / "data/configs/own/first.yaml").read_text())
    assert stored["model"] == {"ref": "models/mine.py:Net", "loss": "cross_entropy"}
    outcome = kladml("train", "own/first", "--set", "training.max_epochs=1", "--tracker", "none", "--storage", "none")
    assert outcome.status == 0, outcome.errors


def test_nothing_is_written_over_without_force(kladml, add, workspace):
    add(npz_classes)
    file = workspace / "data/configs/it.yaml"
    assert kladml("config", "new", "--data", "it").status == 0
    file.write_text("experiment: mine\n")
    outcome = kladml("config", "new", "--data", "it")
    assert outcome.status == 3
    assert "data/configs/it.yaml and data/configs/it_model.py are there already; give another NAME" in outcome.errors
    assert file.read_text() == "experiment: mine\n"
    assert kladml("config", "new", "--data", "it", "--force").status == 0
    assert "experiment: it" in file.read_text()
    file.unlink()
    assert kladml("config", "new", "--data", "it").status == 3  # the model may have been changed


def test_a_dry_run_prints_both_and_writes_nothing(kladml, add, workspace):
    add(npz_classes)
    outcome = kladml("config", "new", "cnn/it", "--data", "it", "--dry-run")
    assert (outcome.status, outcome.errors) == (0, "")
    config, model = outcome.output.split("# data/configs/cnn/it_model.py\n")
    assert config.startswith("# data/configs/cnn/it.yaml\n")
    assert yaml.safe_load(config)["model"]["ref"] == "it_model.py:Network"
    compile(model, "it_model.py", "exec")
    assert not (workspace / "data/configs").exists()


def test_what_keeps_it_from_training_is_said(kladml, workspace, tmp_path):
    (tmp_path / "it.csv").write_text("name,y\na,0\nb,1\n")
    kladml("data", "add", "it", tmp_path / "it.csv")
    outcome = kladml("config", "new", "--data", "it")
    assert outcome.status == 0
    assert "warning: column 'name' of it@1 holds text, and a model takes numbers" in outcome.errors
    assert "Next: correct that, then kladml train it" in outcome.errors


def test_what_holds_for_all_runs_is_said_where_it_does_not_belong(kladml, add, workspace):
    add(npz_classes)
    (workspace / "kladml.yaml").write_text("model: {args: {width: 8, depth: 2}}\ndata: {val: val.npz}\n")
    outcome = kladml("config", "new", "--data", "it")
    assert outcome.errors == (
        "warning: kladml.yaml:1 sets model.args.depth, which holds for this configuration too\n"
        "warning: kladml.yaml:2 sets data.val, which holds for this configuration too\n"
        "Next: correct that, then kladml train it\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("../it", "--data", "it"), "'../it' cannot be the name of a configuration"),
        (("/tmp/it", "--data", "it"), "'/tmp/it' cannot be the name of a configuration"),  # noqa: S108
        (("a\x1b[31m", "--data", "it"), r"'a\x1b[31m' cannot be the name of a configuration"),
        (("a\nb", "--data", "it"), r"'a\nb' cannot be the name"),
        (("--data", "itt"), "there is no data set 'itt'"),
        (("--data", "it@9"), "it@9 is no version of 'it'"),
        (("--data", "it/../x"), "does not say which version"),
        (("--data", "it", "--target", "labell"), "there is no column or array 'labell'"),
        (("--data", "it", "--target", "X"), "the targets 'X' of it@1 are arrays of the shape [3, 4]"),
    ],
)
def test_bad_input_is_an_error_in_one_line(kladml, add, workspace, arguments, said):
    add(npz_classes)
    outcome = kladml("config", "new", *arguments)
    assert outcome.status not in (0, 1)
    assert outcome.output == ""
    assert said in outcome.errors
    assert outcome.errors.count("\n") == 1
    assert "\x1b" not in outcome.errors
    assert not (workspace / "data/configs").exists()


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_no_link_leads_out_of_the_workspace(kladml, add, workspace, tmp_path):
    add(npz_classes)
    (tmp_path / "outside").mkdir()
    (workspace / "data").mkdir(exist_ok=True)
    (workspace / "data/configs").symlink_to(tmp_path / "outside")
    outcome = kladml("config", "new", "--data", "it")
    assert outcome.status == 3
    assert "outside of the workspace" in outcome.errors
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "y",
        "no",
        "007",
        "1e3",
        "a: b",
        "# x",
        'it\'s "so"',
        "é😀",
        "a\nb",
        "\x1b[31m",
        "\u2028",
        "x " * 100,
        "",
        " ",
        "*a",
    ],
)
def test_any_text_is_a_value_on_one_line(text):
    line = _pair("target", text)
    assert line.isprintable()
    assert yaml.safe_load(line) == {"target": text}
