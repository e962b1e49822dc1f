"""One file per contestant; a new file is a new contestant.

A contestant is a module with

LABEL           what tables call it
ORDER           its place where contestants are listed
ENVIRONMENT     the environment that runs it, a name of `environments.py`
CALLS           how many calls it gets in each workload; it takes no part in one that is not named
Tracker(folder) a tracker that keeps everything in an empty folder; making it is not timed
count(folder)   reads back, after `close`, how many points are there; None if it keeps none on purpose

Frameworks are imported inside functions, so that every program can read the rest. Names with a leading underscore are
no contestants.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from pathlib import Path

Point = tuple[str, float, int, int]
"""Key, value, time in milliseconds since the epoch of Unix, step."""


class Tracker(Protocol):
    """Records one run."""

    def log_metric(self, key: str, value: float, step: int) -> None:
        """Record one metric."""

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Record the metrics of one step."""

    def log_batch(self, points: list[Point]) -> None:
        """Record points with times of their own; not needed where CALLS has no `batch`."""

    def close(self) -> None:
        """End the run: whatever was recorded is kept."""


class Contestant(Protocol):
    """What a contestant's module has."""

    LABEL: str
    ORDER: float
    ENVIRONMENT: str
    CALLS: dict[str, int]

    def Tracker(self, folder: Path) -> Tracker:  # noqa: N802 - a class
        """Make a tracker that keeps everything in a folder."""

    def count(self, folder: Path) -> int | None:
        """Return how many points are kept there."""


def load(name: str) -> Contestant:
    """Return a contestant by its file's name."""
    return cast("Contestant", importlib.import_module(f"contestants.{name}"))


def names() -> list[str]:
    """Return all contestants in their order."""
    found = [each.name for each in pkgutil.iter_modules(__path__) if not each.name.startswith("_")]
    return sorted(found, key=lambda name: load(name).ORDER)
