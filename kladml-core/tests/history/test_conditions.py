"""Conditions on runs, and their order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kladml.errors import QueryError
from kladml.history.conditions import Condition, quantity
from kladml.history.facts import Facts
from kladml.history.listing import list_runs, parse_order
from kladml.interfaces import CatalogRun, ExperimentAddress, RunAddress

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def run(number=3, seconds=60, status="FINISHED", **metrics):
    address = RunAddress(ExperimentAddress("vision", "cnn", "digits"), str(number))
    ended = None if seconds is None else START + timedelta(seconds=seconds)
    return CatalogRun(address, f"id{number}", status, START, ended, metrics)


FACTS = Facts(
    run(val_acc=0.95, loss=float("nan")),
    params={"lr": "0.005", "optimizer": "adamw", "flag": "True", "training.seed": "7"},
    tags={"kladml.seed": "0", "kladml.data": "digits@1"},
)


@pytest.mark.parametrize(
    "condition",
    [
        "val_acc > 0.9",
        "metrics.val_acc > 0.9",
        "data == 'digits@1'",
        "data != 'digits@2' and tags.kladml.data == 'digits@1'",
        "metrics['val_acc'] >= 0.95",
        "0.9 < val_acc < 1",
        "val_acc > 0.9 and params.lr < 0.01",
        "val_acc > 2 or params.lr < 0.01",
        "not val_acc > 2",
        "params.lr == 5e-3",
        "params.optimizer == 'adamw'",
        "params.flag == True",
        "params.training.seed == 7",
        "params['lr'] > -1",
        "tags['kladml.seed'] == 0",
        "status == 'FINISHED' and number == 3",
        "experiment == 'digits' and family == 'cnn' and project == 'vision'",
        "seconds >= 60",
        "started_at >= '2026-11-23T12:00:00+00:00'",
        "started_at < '2030-01-01'",
        "address == 'vision/cnn/digits@3'",
        "val_acc > params.lr",
    ],
)
def test_true_conditions(condition):
    assert Condition(condition).holds(FACTS)


@pytest.mark.parametrize(
    "condition",
    [
        "val_acc > 0.95",
        "loss < 1",
        "loss >= 0",
        "loss != 0",
        "absent > 0",
        "absent < 0",
        "absent != 0",
        "params.absent == 'x'",
        "params.optimizer > 3",
        "params.optimizer != 3",
        "ended_at < '2026-11-23T12:00:00+00:00'",
        "val_acc > 0.9 and status == 'FAILED'",
    ],
)
def test_false_conditions(condition):
    assert not Condition(condition).holds(FACTS)


def test_run_that_goes_on_has_no_end():
    facts = Facts(run(seconds=None, status="RUNNING"))
    assert not Condition("seconds > 0").holds(facts)
    assert not Condition("ended_at > '2020-01-01'").holds(facts)


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("", "invalid syntax"),
        ("val_acc", "val_acc is no comparison"),
        ("val_acc = 3", "invalid syntax"),
        ("val_acc > 'much'", "a number with the text 'much'"),
        ("status > 3", "compares status, a text, with a number"),
        ("1 < 2", "two constants"),
        ("val_acc in (1, 2)", "another way|no quantity"),
        ("__import__('os').system('true') == 0", "is no quantity"),
        ("val_acc.__class__ == 1", "is no quantity"),
        ("params > 1", None),
        ("val_acc > None", "neither a number nor a text"),
        ("started_at > 'yesterday'", "is no time such as"),
        ("started_at > 3", "is no time such as"),
        ("not " * 500 + "val_acc > 1", "deep|many|complex"),
        ("(" * 300 + "val_acc > 1" + ")" * 300, "paren|nested|complex|many"),
        ("val_acc > 1 " + "and val_acc > 1 " * 1000, "characters"),
        ("val_acc > 1; import os", "invalid syntax"),
        ("lambda: 1", "is no comparison"),
    ],
)
def test_what_is_no_condition_is_refused(condition, why):
    if why is None:  # a metric may have any name
        assert not Condition(condition).holds(FACTS)
        return
    with pytest.raises(QueryError, match=why) as caught:
        Condition(condition)
    assert len(str(caught.value)) < 800


def test_condition_knows_what_it_asks_for():
    condition = Condition("val_acc > 0.9 and (params.lr < 0.01 or tags.a == 'x') and loss < 1")
    assert (condition.metrics, condition.params, condition.tags) == ({"val_acc", "loss"}, {"lr"}, {"a"})


def test_what_the_catalog_knows_is_enough_to_leave_a_run_out():
    condition = Condition("val_acc > 0.9 and params.lr < 0.01")
    assert condition.may_hold(run(val_acc=0.95))
    assert not condition.may_hold(run(val_acc=0.5))
    assert Condition("val_acc > 0.9 or params.lr < 0.01").may_hold(run(val_acc=0.5))
    assert Condition("not params.lr < 0.01").may_hold(run())


class Texts:
    def __init__(self, params):
        self._params = params

    def params(self, runs, names):
        return {run.run_id: {name: self._params[run.run_id][name] for name in names} for run in runs} if names else {}

    def tags(self, runs, names):
        return {}


def listed(runs, order=None, limit=None, where=None, params=None):
    listing = list_runs(
        runs,
        Texts(params or {}),
        where=where and Condition(where),
        order=order and parse_order(order),
        limit=limit,
    )
    return [int(found.address.label) for found in listing.runs], listing.left_out


def test_runs_are_listed_newest_first_or_in_an_order():
    runs = [run(1, loss=0.5), run(2, loss=0.25), run(3), run(4, loss=float("nan")), run(5, loss=0.75)]
    assert listed(runs) == ([5, 4, 3, 2, 1], 0)
    assert listed(runs, limit=2) == ([5, 4], 3)
    assert listed(runs, "loss") == ([2, 1, 5, 4, 3], 0)
    assert listed(runs, "-loss", limit=1) == ([5], 4)
    assert listed(runs, "number", where="loss > 0.3") == ([1, 5], 0)
    params = {f"id{number}": {"lr": lr} for number, lr in enumerate(("0.1", "1e-3", "none", "0.5", "2"), start=1)}
    assert listed(runs, "params.lr", params=params) == ([2, 1, 4, 5, 3], 0)
    assert listed(runs, "-params.lr", where="params.lr < 1", params=params) == ([4, 1, 2], 0)


@pytest.mark.parametrize("order", ["", "-", "a b", "loss > 1", "3"])
def test_what_is_no_order_is_refused(order):
    with pytest.raises(QueryError):
        parse_order(order)


def test_name_of_a_quantity():
    assert quantity("val_acc").section == "metrics"
    assert quantity("status").section == ""
    assert quantity("params.training.optimizer.lr").name == "training.optimizer.lr"
