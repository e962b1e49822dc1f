"""What differs between runs, and whether one became worse."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from kladml.errors import QueryError
from kladml.history.comparison import FailCondition, compare
from kladml.history.pages import RunPage, read_page
from kladml.interfaces import CatalogRun, ExperimentAddress, RunAddress
from kladml.runner.record import RunRecord

EXPERIMENT = ExperimentAddress("default", "default", "digits")


def page(number, values=(), params=None, tags=None, packages=None, plugins=(), **final):
    address = RunAddress(EXPERIMENT, str(number))
    run = CatalogRun(address, f"id{number}", "FINISHED", datetime.now(UTC), None, final)
    record = RunRecord(
        str(address),
        run.run_id,
        params=params or {},
        tags=tags or {},
        plugins=list(plugins),
        environment={"python": "3.11", "distributions": packages} if packages else {},
    )
    points = [(key, value, 0, step) for key, *history in values for step, value in enumerate(history, start=1)]
    return RunPage(run, record, Path("nowhere"), points)


def test_only_what_differs_is_there():
    comparison = compare(
        [
            page(1, params={"lr": 0.1, "seed": 0, "run_name": "a"}, packages={"torch": "2.1", "numpy": "2.0"}),
            page(2, params={"lr": 0.2, "seed": 0, "x": 1, "run_name": "b"}, packages={"torch": "2.2", "numpy": "2.0"}),
        ]
    )
    found = {(one.what, one.name): one.values for one in comparison.differences}
    assert found == {
        ("config", "lr"): (0.1, 0.2),
        ("config", "x"): (None, 1),
        ("environment", "torch"): ("2.1", "2.2"),
    }


def test_code_data_and_plugins_are_compared():
    old = ["storage local (kladml-backends-local 0.20.0)"]
    new = ["storage local (kladml-backends-local 0.21.0)"]
    comparison = compare(
        [
            page(1, tags={"kladml.code_version": "a", "kladml.data_fingerprint": "sha256:1"}, plugins=old),
            page(2, tags={"kladml.code_version": "b", "kladml.data_fingerprint": "sha256:2"}, plugins=new),
        ]
    )
    assert [(one.what, one.name) for one in comparison.differences] == [
        ("code", "version"),
        ("data", "fingerprint"),
        ("plugins", "storage local"),
    ]


def test_validation_data_is_compared_among_runs_that_noted_it():
    before = page(1)
    none, some, other = (
        page(number, tags={"kladml.val_fingerprint": text})
        for number, text in enumerate(("none", "sha256:1", "sha256:2"), start=2)
    )
    assert compare([before, some, some]).differences == []
    (found,) = compare([before, none, some, other]).differences
    assert (found.what, found.name) == ("data", "val_fingerprint")
    assert found.values == (None, "none", "sha256:1", "sha256:2")


def test_what_an_older_run_did_not_note_is_no_difference():
    assert compare([page(1), page(2, packages={"torch": "2.2"}, plugins=["storage local (x 1)"])]).differences == []


def test_best_values_and_their_steps():
    one = page(1, [("val_acc", 0.5, 0.9, 0.8), ("val_loss", 3.0, 1.0, 2.0), ("odd", 1.0, 2.0)], eval_acc=0.75)
    metrics = one.metrics
    assert metrics["val_acc"].best == (0.9, 2)
    assert metrics["val_loss"].best == (1.0, 2)
    assert metrics["odd"].best is None
    assert metrics["odd"].telling == (2.0, 2)
    assert metrics["eval_acc"].telling == (0.75, 3)
    assert compare([one, page(2, other=1.0)]).metrics == ["eval_acc", "val_acc", "val_loss", "odd", "other"]


def test_nan_is_never_the_best():
    assert page(1, [("loss", float("nan"), 2.0, float("nan"))]).metrics["loss"].best == (2.0, 2)
    assert page(1, [("loss", float("nan"))]).metrics["loss"].best is None


@pytest.mark.parametrize(
    ("condition", "fails"),
    [
        ("val_acc drop > 0.01", True),
        ("val_acc drop > 0.1", False),
        ("val_acc drop>=0.01", True),
        ("val_acc drop > 5%", True),
        ("val_acc drop > 20 %", False),
        ("val_acc rise > 0", False),
        ("val_acc change > 0.01", True),
        ("loss rise > 1e-3", False),
    ],
)
def test_fail_conditions(condition, fails):
    comparison = compare([page(1, [("val_acc", 0.9, 0.8)], loss=1.0), page(2, [("val_acc", 0.8, 0.7)], loss=1.0)])
    assert bool(FailCondition.parse(condition).changes(comparison)) is fails


def test_every_other_run_is_compared_with_the_first():
    comparison = compare([page(number, val_acc=value) for number, value in ((1, 0.9), (2, 0.95), (3, 0.5), (4, 0.8))])
    changes = FailCondition.parse("val_acc drop > 0.05").changes(comparison)
    assert [change.address[-2:] for change in changes] == ["@3", "@4"]
    assert "is 0.5, after 0.9 of default/default/digits@1: a drop of 0.4 > 0.05" in changes[0].text


def test_a_metric_that_is_gone_or_no_number_fails():
    comparison = compare([page(1, val_acc=0.9), page(2), page(3, val_acc=float("nan"))])
    assert len(FailCondition.parse("val_acc drop > 0.5").changes(comparison)) == 2


def test_a_metric_that_the_first_run_lacks_is_an_error():
    with pytest.raises(QueryError, match=r"digits@1 has no metric 'val_acc'.*choose one of: loss"):
        FailCondition.parse("val_acc drop > 0").changes(compare([page(1, loss=1.0), page(2, val_acc=0.9)]))


@pytest.mark.parametrize(
    "text", ["", "val_acc", "val_acc drop", "val_acc > 3", "val_acc drop > x", "drop > 3", "a fall > 1"]
)
def test_what_is_no_fail_condition_is_refused(text):
    with pytest.raises(QueryError, match="no condition on the change"):
        FailCondition.parse(text)


def test_page_of_a_run_that_is_not_here(tmp_path):
    run = CatalogRun(RunAddress(EXPERIMENT, "1"), "id1", "FINISHED", datetime.now(UTC), metrics={"loss": 1.0})
    read = read_page(run, tmp_path)
    assert (read.has_record, read.params, read.plugins, read.code_version) == (False, {}, [], "unknown")
    assert read.as_dict()["metrics"]["loss"]["last"] == 1.0


def test_page_does_not_take_the_folder_of_another_run(tmp_path):
    run = CatalogRun(RunAddress(EXPERIMENT, "1"), "id1", "FINISHED", datetime.now(UTC))
    RunRecord(str(run.address), "another", params={"lr": 1}).write(tmp_path / run.address.path)
    assert read_page(run, tmp_path).params == {}


def test_page_of_a_run_of_an_older_version_reads_its_configuration(tmp_path):
    run = CatalogRun(RunAddress(EXPERIMENT, "1"), "id1", "FINISHED", datetime.now(UTC))
    folder = tmp_path / run.address.path
    tags = {
        "kladml.plugins": "storage local (kladml-backends-local 0.20.0), config yaml (kladml-backends-local 0.20.0)"
    }
    RunRecord(str(run.address), "id1", tags=tags).write(folder)
    (folder / "config.yaml").write_text("training: {seed: 3, max_steps: null}\nstorage: {use: local}\n")
    read = read_page(run, tmp_path)
    assert read.params == {"training.seed": 3}
    assert read.plugins == [
        "storage local (kladml-backends-local 0.20.0)",
        "config yaml (kladml-backends-local 0.20.0)",
    ]
