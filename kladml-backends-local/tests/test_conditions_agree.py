"""The conditions of `kladml runs list` and those of the tracker's `search_runs` mean the same."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kladml.errors import KladMLError
from kladml.history.conditions import Condition
from kladml.history.facts import Facts
from kladml.interfaces import CatalogRun, ExperimentAddress, RunAddress
from kladml_backends_local import LocalTracker

PARAMS = {"lr": 0.005, "optimizer": "adamw", "flag": True, "training.seed": 7}
METRICS = {"val_acc": 0.95, "loss": float("nan")}
TAGS = {"kladml.seed": "0"}


@pytest.fixture(scope="module")
def tracker(tmp_path_factory):
    with LocalTracker(tmp_path_factory.mktemp("agree") / "mlflow.db") as tracker:
        tracker.start_run("digits")
        tracker.log_params(PARAMS)
        tracker.log_metrics(METRICS, 1)
        tracker.set_tags(TAGS)
        tracker.end_run()
        yield tracker


@pytest.mark.parametrize(
    "condition",
    [
        "metrics.val_acc > 0.9",
        "metrics.val_acc > 0.95",
        "0.9 < metrics.val_acc < 1 and params.lr < 0.01",
        "metrics.loss < 1 or not metrics.loss >= 0",
        "metrics.loss != 0",
        "metrics.absent != 0",
        "params.lr == 5e-3",
        "params.lr == '0.005'",
        "params.lr > -1",
        "params.optimizer == 'adamw'",
        "params.optimizer != 3",
        "params.optimizer > 'abc'",
        "params.flag == True",
        "params.training.seed == 7",
        "params['training.seed'] != 8",
        "tags['kladml.seed'] == 0",
        "status == 'FINISHED'",
        "status != 'FAILED' and not status == 'FINISHED'",
        "metrics.val_acc > params.lr",
        "metrics.val_acc > 'a'",
        "1 < 2",
        "params.lr",
        "params.lr in (1, 2)",
        "",
    ],
)
def test_both_agree(tracker, condition):
    run = CatalogRun(
        RunAddress(ExperimentAddress("default", "default", "digits"), "1"),
        "id",
        "FINISHED",
        datetime.now(UTC),
        metrics=METRICS,
    )
    facts = Facts(run, {name: str(value) for name, value in PARAMS.items()}, TAGS)

    def outcome(holds):
        try:
            return bool(holds())
        except KladMLError:
            return "refused"

    ours = outcome(lambda: Condition(condition).holds(facts))
    assert ours == outcome(lambda: tracker.search_runs(where=condition))
