"""Which run is the best one of an experiment, by one metric."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from kladml.errors import AddressError, WrongTypeError
from kladml.training.monitor import resolve_mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kladml.interfaces import CatalogRun, ExperimentAddress

USUAL = ("val_loss", "loss")
"""What early stopping watches where nothing is configured: the first of these that there is."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """What makes a value the best.

    Attributes:
        metric: Name of the metric; the first of `USUAL` that a run has, if None.
        mode: `min`, `max`, or `auto` to judge by the metric's name.
    """

    metric: str | None = None
    mode: str = "auto"


def direction(metric: str, mode: str = "auto") -> str | None:
    """Return `min` or `max` for a metric, or None where its name does not tell."""
    try:
        return resolve_mode(mode, metric, "mode")
    except WrongTypeError:
        return None


def best_of(runs: Sequence[CatalogRun], criterion: Criterion, experiment: ExperimentAddress) -> CatalogRun:
    """Return the run with the best final value of a metric; among equals the earliest.

    Raises:
        AddressError: No run has the metric, or its name does not tell whether less or more is better.
    """
    metrics = {name: None for run in runs for name, value in run.metrics.items() if isfinite(value)}
    metric = criterion.metric or next((name for name in USUAL if name in metrics), None)
    if metric is None or metric not in metrics:
        what = f"the metric '{metric}'" if metric else f"{' or '.join(USUAL)}, and no metric is monitored"
        problem = f"no run of {experiment} has {what}, so that none is the best"
        raise AddressError(problem, next_step=f"choose with --metric one of: {_listed(metrics) or 'none so far'}")
    mode = direction(metric, criterion.mode)
    if mode is None:
        problem = f"the name '{metric}' does not tell whether less or more of it is better"
        raise AddressError(problem, next_step="say --mode min or --mode max, or set training.early_stopping.mode")
    having = [run for run in runs if isfinite(run.metrics.get(metric, float("nan")))]
    return (max if mode == "max" else min)(having, key=lambda run: run.metrics[metric])


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
