"""Values that were heard of a run, beside those that its tracker has recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kladml.history.series import series_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kladml.history.pages import RunPage
    from kladml.history.series import Point


def add_points(page: RunPage, points: Iterable[Point]) -> list[Point]:
    """Add to the metrics of a page what they do not have yet, and return it."""
    points = [*points]
    if not points:
        return []
    have = {name: set(series.steps) for name, series in page.metrics.items()}
    fresh = []
    for point in points:
        steps = have.setdefault(point[0], set())
        if point[3] not in steps:
            steps.add(point[3])
            fresh.append(point)
    for name, more in series_of(fresh, {}, page.criterion).items():
        series = page.metrics.setdefault(name, more)
        if series is not more:
            series.steps += more.steps
            series.values += more.values
    return fresh
