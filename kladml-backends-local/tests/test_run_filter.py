"""Conditions on runs, which become SQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kladml.errors import TrackerError
from kladml_backends_local.run_filter import condition, register_number, sort_keys

RUNS = """
CREATE TABLE experiments (experiment_id, name);
CREATE TABLE runs (run_uuid, name, status, user_id, start_time, end_time, experiment_id);
CREATE TABLE latest_metrics (run_uuid, key, value, is_nan);
CREATE TABLE params (run_uuid, key, value);
CREATE TABLE tags (run_uuid, key, value);
INSERT INTO experiments VALUES (1, 'digits'), (2, 'letters');
INSERT INTO runs VALUES
    ('a', 'one', 'FINISHED', 'ada', 10, 20, 1), ('b', 'two', 'RUNNING', 'bob', 30, NULL, 1),
    ('c', 'three', 'FAILED', 'ada', 50, 60, 2);
INSERT INTO latest_metrics VALUES
    ('a', 'acc', 0.75, 0), ('b', 'acc', 0.5, 0), ('c', 'acc', 0.0, 1), ('a', 'val/acc', 0.25, 0),
    ('a', 'up', 1.7976931348623157e308, 0), ('b', 'up', -1.7976931348623157e308, 0);
INSERT INTO params VALUES
    ('a', 'lr', '1e-3'), ('b', 'lr', '0.01'), ('c', 'lr', 'auto'), ('a', 'training.epochs', '10'),
    ('b', 'training.epochs', '9'), ('a', 'fast', 'True');
INSERT INTO tags VALUES ('a', 'kind', 'x'), ('b', 'kind', 'y'), ('b', 'mlflow.source.type', 'LOCAL');
"""


@pytest.fixture(scope="module")
def connection():
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(RUNS)
        register_number(connection)
        yield connection


def chosen(connection, rest, values):
    rows = connection.execute(f"SELECT run_uuid FROM runs AS r {rest}", tuple(values))  # noqa: S608
    return "".join(run_id for (run_id,) in rows)


@pytest.fixture(scope="module")
def found(connection):
    def found(expression):
        sql = condition(expression)
        return chosen(
            connection, f"JOIN experiments AS e USING (experiment_id) WHERE {sql.text} ORDER BY 1", sql.values
        )

    return found


@pytest.mark.parametrize(
    ("expression", "runs"),
    [
        ("metrics.acc > 0.6", "a"),
        ("metrics.acc <= 0.75", "ab"),
        ("0.75 >= metrics.acc", "ab"),
        ("0.6 < metrics.acc < 1", "a"),
        ("metrics['val/acc'] == 0.25", "a"),
        ("metrics.up == 1e999", "a"),
        ("metrics.up < -1e308", "b"),
        ("metrics.acc > metrics['val/acc']", "a"),
        # NaN, and what a run does not have, compare with nothing; `not` turns that round.
        ("metrics.acc == 0", ""),
        ("metrics.acc != 0", "ab"),
        ("not metrics.acc != 0", "c"),
        ("metrics.nothing != 1", ""),
        # As numbers with a number, as texts with a text.
        ("params.lr < 0.01", "a"),
        ("params.lr == 0.001", "a"),
        ("params.lr == '0.001'", ""),
        ("params.lr == '1e-3'", "a"),
        ("params.lr == 'auto'", "c"),
        ("params.lr != 0.01", "a"),
        ("params.training.epochs > 9.5", "a"),
        ("params['training.epochs'] > '5'", "b"),
        ("params.fast == True", "a"),
        ("tags.kind == 'x'", "a"),
        ("tags.kind != 'x'", "b"),
        ("tags.mlflow.source.type == 'LOCAL'", "b"),
        ("status == 'FINISHED'", "a"),
        ("status != 'FINISHED' and start_time > 30", "c"),
        ("end_time < 1_000", "ac"),
        ("user == 'ada' and experiment == 'digits'", "a"),
        ("run_id == 'b' or run_name == 'three'", "bc"),
        ("not (status == 'FAILED' or status == 'RUNNING')", "a"),
        ("status == 'FAILED' or status == 'FINISHED' and metrics.acc > 1", "c"),
        (" \n(metrics.acc > 0.1\n and params.lr < 1)", "ab"),
        # A value is no part of the SQL.
        ('tags.kind == "\' OR 1 = 1 --"', ""),
        ("tags[\"kind' OR 1 = 1 --\"] == 'x'", ""),
    ],
)
def test_runs_are_found(found, expression, runs):
    assert found(expression) == runs


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "invalid syntax"),
        ("metrics.acc >", "invalid syntax"),
        ("metrics.acc = 1", "invalid syntax"),
        ("params.lambda > 1", "invalid syntax"),
        ("metrics.acc", "metrics.acc is no comparison"),
        ("True", "True is no comparison"),
        ("accuracy > 0.9", "accuracy is no quantity of a run"),
        ("files.x == 'y'", "files.x is no quantity of a run"),
        ("metrics > 1", "metrics is no quantity of a run"),
        ("metrics[0] > 1", "metrics[0] is no quantity of a run"),
        ("metrics['a'].b > 1", "metrics['a'].b is no quantity of a run"),
        ("metrics.acc > abs(1)", "abs(1) is no quantity of a run"),
        ("metrics.acc > 1 + 1", "1 + 1 is no quantity of a run"),
        ("metrics.acc > -'x'", "-'x' is no quantity of a run"),
        ("tags.kind in 'xyz'", "it compares in another way"),
        ("tags.kind is None", "None is neither a number nor a text"),
        ("tags.kind == b'x'", "b'x' is neither a number nor a text"),
        ("1 < 2", "it compares two constants"),
        ("metrics.acc > 'high'", "it compares a number with the text 'high'"),
        ("status > 5 and start_time == 'now'", "it compares a number with the text 'now'"),
        ("(metrics.acc > 1) > 2", "metrics.acc > 1 is no quantity of a run"),
        ("tags.kind == '\\ud800'", "it has half of a character"),
        ("tags.kind == '\0'", "null bytes"),
        (f"metrics.acc > 1{'0' * 400}", "it has a number that is too large"),
        (f"{'not ' * 200}metrics.acc > 1", "it is nested too deeply"),
        (f"{'-' * 5_000}1 > metrics.acc", "runs cannot be searched"),
        (f"metrics.{'a' * 10_000} > 1", "it has more than 10000 characters"),
    ],
)
def test_anything_else_is_shown_with_what_is_allowed(expression, reason):
    with pytest.raises(TrackerError, match=r"compare metrics\.NAME") as caught:
        condition(expression)
    assert reason in caught.value.problem
    assert repr(expression[:150])[:-1] in caught.value.problem


@given(st.text(st.characters(codec="utf-8"), max_size=30))
@example("' OR 1=1 --")
def test_any_name_and_any_text_are_values(text):
    sql = condition(f"tags[{text!r}] == {text!r}")
    assert sql.values == (text, text)
    assert sql.text == condition("tags.a == 'b'").text


@given(st.text(alphabet="metrics.acc()<>=! andortg'[]1-+*/{}:,", max_size=40))
def test_any_expression_is_a_condition_or_a_tracker_error(found, expression):
    with suppress(TrackerError):
        found(expression)


@pytest.mark.parametrize(
    ("expression", "runs"), [("metrics.acc", "bac"), ("params.lr", "abc"), ("start_time", "abc"), ("run_name", "acb")]
)
def test_sort_keys(connection, expression, runs):
    keys = sort_keys(expression)
    order = ", ".join(f"{key.text} NULLS LAST" for key in keys)
    assert chosen(connection, f"ORDER BY {order}", [value for key in keys for value in key.values]) == runs


@pytest.mark.parametrize("expression", ["1", "'x'", "metrics.acc > 1", "accuracy", ""])
def test_what_cannot_be_sorted_by_is_a_tracker_error(expression):
    with pytest.raises(TrackerError):
        sort_keys(expression)
