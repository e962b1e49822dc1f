"""Plots of metrics in characters: a line of small bars, and curves over one another."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kladml.history.series import Series

MARKS = "●○■□▲△◆◇★☆"
"""What stands for each curve of a plot, whatever its colour."""

COLOURS = ("cyan", "yellow", "magenta", "green", "blue", "red")

_BARS = "▁▂▃▄▅▆▇█"
_LABEL_WIDTH = 10


def sparkline(values: Sequence[float], width: int = 20) -> str:
    """Return the course of a metric as small bars; a gap is a value that is no finite number."""
    shown = _thinned(values, width)
    finite = [value for value in shown if isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    scale = (len(_BARS) - 1) / (high - low) if isfinite(high - low) and high > low else 0.0
    return "".join(_BARS[round((value - low) * scale)] if isfinite(value) else " " for value in shown)


def plot(curves: Sequence[Series], width: int, height: int = 10) -> list[str]:
    """Return lines that show one metric of several runs over its steps.

    Where curves meet, the mark of the last one is seen.

    Args:
        curves: The metric of each run; run number `i` has the mark `MARKS[i]`.
        width: How many columns there are.
        height: How many lines the curves take.
    """
    from kladml_backends_console.wording import number

    points = [
        (index, step, value)
        for index, curve in enumerate(curves)
        for step, value in zip(curve.steps, curve.values, strict=True)
        if isfinite(value)
    ]
    if not points:
        return []
    columns = max(width - _LABEL_WIDTH - 2, 10)
    first, last = min(step for _, step, _ in points), max(step for _, step, _ in points)
    low, high = min(value for _, _, value in points), max(value for _, _, value in points)
    grid = [[" "] * columns for _ in range(height)]
    for index, step, value in points:
        column = round((step - first) / (last - first) * (columns - 1)) if last > first else 0
        row = round((high - value) / (high - low) * (height - 1)) if 0 < high - low < float("inf") else height // 2
        grid[row][column] = MARKS[index % len(MARKS)]
    labels = {0: number(high), height - 1: number(low)} if high > low else {height // 2: number(low)}
    lines = [
        f"{labels.get(row, '')[:_LABEL_WIDTH]:>{_LABEL_WIDTH}} │{''.join(cells).rstrip()}"
        for row, cells in enumerate(grid)
    ]
    steps = f"{first}{last:>{columns - len(str(first))}}" if last > first else str(first)
    return [*lines, f"{'':>{_LABEL_WIDTH}} └{'─' * columns}", f"{'step':>{_LABEL_WIDTH}}  {steps}"]


def _thinned(values: Sequence[float], width: int) -> list[float]:
    """Return at most so many of the values, evenly chosen, with the first and the last."""
    if len(values) <= width:
        return [*values]
    return [values[round(index * (len(values) - 1) / (width - 1))] for index in range(width)]
