"""The goals that the design sets for the tracker, and what was measured of them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tables import table

if TYPE_CHECKING:
    from rounds import Results

OURS = "kladml"
MLFLOW, RAW = "mlflow_sqlite", "raw_wal_normal"


@dataclass
class CallGoal:
    """How long a call may take its caller.

    Attributes:
        label: What is called.
        workload: Where it is.
        figure: Which of the measured figures.
        most_us: The goal in microseconds.
    """

    label: str
    workload: str
    figure: str
    most_us: float


CALL_GOALS = [
    CallGoal("`log_metric`, p50", "one", "p50_us", 1.0),
    CallGoal("`log_metric`, p99", "one", "p99_us", 4.0),
    CallGoal("`log_metrics` with ten keys, p50", "ten", "p50_us", 6.0),
    CallGoal("`log_metrics` with ten keys in a training, p99", "paced", "p99_us", 50.0),
]
RATIO_GOALS = [
    ("points per CPU second, MLflow's `log_batch` of 1,000", MLFLOW, 25.0),
    ("points per CPU second, raw `executemany` of 1,000, WAL NORMAL", RAW, 1.0),
]


def summary(results: Results) -> str:
    """Return a row per goal of which something was measured; nothing without our tracker."""
    rows = [
        _row(goal.label, f"at most {goal.most_us:g} µs", figures, "µs", met=statistics.median(figures) <= goal.most_us)
        for goal in CALL_GOALS
        if (figures := results.figures(goal.workload, OURS, goal.figure))
    ]
    rows += [
        _row(label, f"at least {least:g} times", ratios, "times", met=statistics.median(ratios) >= least)
        for label, other, least in RATIO_GOALS
        if (ratios := results.cpu_ratios("batch", OURS, other))
    ]
    return table(["figure", "goal", "median", "", "rounds"], rows) if rows else ""


def _row(label: str, goal: str, figures: list[float], unit: str, *, met: bool) -> list[str]:
    spread = f"{min(figures):.2f} to {max(figures):.2f}"
    return [label, goal, f"{statistics.median(figures):.2f} {unit}", "met" if met else "missed", spread]
