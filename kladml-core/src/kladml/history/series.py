"""What a metric was over a run: its last and its best value, and at which steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isnan, nan
from typing import TYPE_CHECKING, Any

from kladml.history.best import direction

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kladml.history.best import Criterion

Point = tuple[str, float, int, int]
"""Key, value, time in milliseconds since the epoch of Unix, step."""


@dataclass
class Series:
    """The values of one metric of a run, in the order of recording.

    Attributes:
        metric: Its name.
        mode: `min` or `max`, or None where nothing tells which value is the best.
        steps: The step of each value.
        values: The values.
        final: The final value, where no tracker gives back any other.
    """

    metric: str
    mode: str | None = None
    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    final: float = nan

    @property
    def has_history(self) -> bool:
        """Whether more is known than the final value."""
        return bool(self.values)

    @property
    def last(self) -> tuple[float, int | None]:
        """The last value and its step; without a history the final value, whose step is not known."""
        return (self.values[-1], self.steps[-1]) if self.values else (self.final, None)

    @property
    def best(self) -> tuple[float, int] | None:
        """The best value and its step; the earliest of equals, and None where nothing tells which it is."""
        known = [(value, step) for value, step in zip(self.values, self.steps, strict=True) if not isnan(value)]
        if self.mode is None or not known:
            return None
        return (max if self.mode == "max" else min)(known, key=lambda pair: pair[0])

    @property
    def telling(self) -> tuple[float, int | None]:
        """The best value, or the last where nothing tells which is the best, and its step."""
        return self.best or self.last

    def as_dict(self) -> dict[str, Any]:
        """Return what is said of it, JSON-able."""
        best = self.best
        return {
            "last": self.last[0],
            "last_step": self.last[1],
            "best": None if best is None else best[0],
            "best_step": None if best is None else best[1],
            "mode": self.mode,
            "values": len(self.values),
        }


def series_of(
    points: Iterable[Point], final: Mapping[str, float], criterion: Criterion | None = None
) -> dict[str, Series]:
    """Return the metrics of a run by name, those first of which it has final values.

    Args:
        points: What a tracker recorded; without any, the final values alone are known.
        final: Final metrics, of which those that no tracker has are added, at the last step.
        criterion: What is known of one metric besides its name.
    """
    found: dict[str, Series] = {}
    for key, value, _, step in points:
        if key not in found:
            found[key] = Series(key, _mode(key, criterion))
        found[key].steps.append(step)
        found[key].values.append(value)
    last = max((series.steps[-1] for series in found.values()), default=None)
    for key, value in final.items():
        if key not in found:
            known = {"final": value} if last is None else {"steps": [last], "values": [value]}
            found[key] = Series(key, _mode(key, criterion), **known)
    return {key: found[key] for key in dict.fromkeys((*final, *found))}


def _mode(metric: str, criterion: Criterion | None) -> str | None:
    if criterion is not None and criterion.metric == metric and criterion.mode != "auto":
        return criterion.mode
    return direction(metric)
