"""Watching one metric: which value is best, and when improvement has ended."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from kladml.errors import MissingMetricError, WrongTypeError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LESS_IS_BETTER = re.compile(r"(^|_)(loss|error|err|mse|rmse|mae|mape|nll|perplexity|wer|cer|brier)(_|$)")
_MORE_IS_BETTER = re.compile(r"(^|_)(acc|accuracy|f1|auc|auroc|precision|recall|r2|score|iou|dice|bleu|map)(_|$)")


def resolve_mode(mode: str, metric: str, key: str) -> str:
    """Return `min` or `max` for a metric.

    Args:
        mode: `min`, `max`, or `auto` to judge by the metric's name.
        metric: Name of the metric.
        key: Configuration key of the mode, for the error.

    Raises:
        WrongTypeError: The name does not tell whether less or more is better.
    """
    if mode != "auto":
        return mode
    if _LESS_IS_BETTER.search(metric):
        return "min"
    if _MORE_IS_BETTER.search(metric):
        return "max"
    problem = f"{key} is auto, and the name '{metric}' does not tell whether less or more of it is better"
    raise WrongTypeError(problem, next_step=f"set {key} to min or max")


class Monitor:
    """Remembers the best value of a metric and how long ago it was.

    Args:
        metric: Name of the metric.
        mode: `min` or `max`.
        min_delta: Least change that counts as an improvement, in the metric's unit.
    """

    def __init__(self, metric: str, mode: str, min_delta: float = 0.0) -> None:
        self.metric = metric
        self.mode = mode
        self.sign = 1.0 if mode == "max" else -1.0
        self.min_delta = min_delta
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.epochs_without_improvement = 0

    def update(self, metrics: Mapping[str, float], epoch: int) -> bool:
        """Take note of an epoch and tell whether it is the best so far; NaN never is.

        Raises:
            MissingMetricError: The metric is not among those of the epoch.
        """
        self.require(metrics)
        value = metrics[self.metric]
        improved = not math.isnan(value) and (self.best is None or self.sign * (value - self.best) > self.min_delta)
        if improved:
            self.best, self.best_epoch, self.epochs_without_improvement = value, epoch, 0
        else:
            self.epochs_without_improvement += 1
        return improved

    def require(self, metrics: Mapping[str, float]) -> None:
        """Check that the metric is among those of a model.

        Raises:
            MissingMetricError: It is not; names those that are.
        """
        if self.metric not in metrics:
            problem = f"the monitored metric '{self.metric}' is not produced by the model"
            produced = ", ".join(sorted(metrics))
            step = f"monitor one of: {produced}" if produced else "give validation data, or monitor loss"
            raise MissingMetricError(problem, next_step=step)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON-able data."""
        return {
            "metric": self.metric,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "epochs_without_improvement": self.epochs_without_improvement,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state that `state_dict` returned."""
        self.best = state["best"]
        self.best_epoch = state["best_epoch"]
        self.epochs_without_improvement = state["epochs_without_improvement"]
