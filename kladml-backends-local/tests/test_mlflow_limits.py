"""What MLflow takes, beside what it says itself."""

from __future__ import annotations

import math
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kladml.spool.limits import malformed_name
from kladml_backends_local.stored_numbers import stored_number


@pytest.fixture(scope="module")
def takes():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.exceptions import MlflowException
        from mlflow.utils.validation import _validate_metric, _validate_param, _validate_tag

    def takes(name):
        try:
            _validate_metric(name, 1.0, 1, 1)
            _validate_param(name, "1")
            _validate_tag(name, "1")
        except MlflowException:
            return False
        return True

    return takes


@given(name=st.one_of(st.text("ab/.-_ :é", min_size=1, max_size=12), st.text(max_size=260)))
def test_names_are_those_that_mlflow_takes(takes, name):
    assert (malformed_name(name) is None) == takes(name)


@pytest.mark.parametrize("name", ["a" * 250, "a" * 251, "", ".", "..", "/a", "a/", "a//b", "a/../b", "a\n", "日本"])
def test_names_at_the_limits(takes, name):
    # Python's `$` lets a line end pass, and with it MLflow.
    assert (malformed_name(name) is None) == (takes(name) and name != "a\n")


@pytest.mark.parametrize("value", [0.0, -1.5, math.inf, -math.inf, math.nan])
def test_numbers_are_stored_as_mlflow_does(value):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    is_nan, stored = SqlAlchemyStore.sanitize_metric_value(None, value)
    assert stored_number(value) == (stored, is_nan)
