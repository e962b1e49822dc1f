"""One watched metric: which value is best, and when improvement has ended."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kladml.errors import MissingMetricError, WrongTypeError
from kladml.training.monitor import Monitor, resolve_mode

values = st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=30)


@given(values=values, mode=st.sampled_from(["min", "max"]))
def test_the_best_epoch_is_the_first_with_the_best_value(values, mode):
    monitor = Monitor("x", mode)
    improved = [monitor.update({"x": value}, epoch) for epoch, value in enumerate(values, start=1)]

    numbers = [value for value in values if not math.isnan(value)]
    best = (min if mode == "min" else max)(numbers) if numbers else None
    assert monitor.best == best
    assert monitor.best_epoch == (None if best is None else values.index(best) + 1)
    assert not any(better for better, value in zip(improved, values, strict=True) if math.isnan(value))
    last = max((epoch for epoch, better in enumerate(improved, start=1) if better), default=0)
    assert monitor.epochs_without_improvement == len(values) - last


@pytest.mark.parametrize(
    ("mode", "values", "improved"),
    [
        ("min", [1.0, 0.95, 0.89, 0.8], [True, False, True, False]),
        ("max", [0.5, 0.6, 0.61, 0.75], [True, False, True, True]),
    ],
)
def test_an_improvement_is_more_than_min_delta(mode, values, improved):
    monitor = Monitor("x", mode, min_delta=0.1)

    assert [monitor.update({"x": value}, epoch) for epoch, value in enumerate(values)] == improved


def test_infinity_is_a_value_like_others():
    monitor = Monitor("x", "min")

    assert [monitor.update({"x": value}, 1) for value in (math.inf, 1.0, math.inf, -math.inf)] == [
        True,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("metric", "mode"),
    [
        *(
            (name, "min")
            for name in ("loss", "val_loss", "val_rmse", "mae", "error_rate", "val_nll", "perplexity", "wer")
        ),
        *(
            (name, "max")
            for name in ("accuracy", "val_accuracy", "val_f1", "f1_macro", "roc_auc", "r2", "val_iou", "acc")
        ),
    ],
)
def test_auto_knows_losses_and_scores_by_their_names(metric, mode):
    assert resolve_mode("auto", metric, "key") == mode
    assert resolve_mode("min", metric, "key") == "min"
    assert resolve_mode("max", metric, "key") == "max"


@pytest.mark.parametrize("metric", ["val_quality", "lossless", "maps", "x"])
def test_auto_asks_where_the_name_does_not_tell(metric):
    with pytest.raises(
        WrongTypeError, match=rf"some.mode is auto, and the name '{metric}'.*set some.mode to min or max"
    ):
        resolve_mode("auto", metric, "some.mode")


def test_a_missing_metric_is_named_with_those_that_there_are():
    with pytest.raises(MissingMetricError, match=r"'val_f1' is not produced.*monitor one of: loss, val_loss"):
        Monitor("val_f1", "max").update({"val_loss": 1.0, "loss": 2.0}, 1)


def test_the_state_can_be_taken_over():
    monitor = Monitor("x", "max")
    for epoch, value in enumerate([1.0, 3.0, 2.0, 2.0], start=1):
        monitor.update({"x": value}, epoch)
    other = Monitor("x", "max")
    other.load_state_dict(monitor.state_dict())

    assert (other.best, other.best_epoch, other.epochs_without_improvement) == (3.0, 2, 2)
