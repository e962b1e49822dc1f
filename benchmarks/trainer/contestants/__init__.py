"""One file per contestant; a new file is a new contestant.

A contestant is a module with

LABEL           what tables call it
ORDER           its place in them
train(job)      trains `job.model` for one pass over `job.loader` (a `DataLoader`, or a plain iterable in `list` jobs)
                with `job.optimizer()` and `job.loss_fn(model(inputs), targets)`, honours `job.accum`, `job.clip`
                (0.0 is off) and `job.bf16`, and leaves the clock in `job.model` alone
missing()       optional: what it needs and this machine lacks, or None
HIDDEN          optional: True keeps it out of the tables of times
REFERENCE       optional: the contestant whose weights it has to reach, `raw` by default
FUSED           optional: True when it trains with the optimizer's fused kernel

Frameworks are imported inside `train`, so that starting up can be measured. Names with a leading underscore are no
contestants.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from jobs import Job


class Contestant(Protocol):
    """What a contestant's module has."""

    LABEL: str
    ORDER: float

    def train(self, job: Job) -> None:
        """Train the job's model for one pass over its data."""


def load(name: str) -> Contestant:
    """Return a contestant by its file's name."""
    return cast("Contestant", importlib.import_module(f"contestants.{name}"))


def names(only: str = "") -> list[str]:
    """Return the contestants that can run here, in the order of the tables.

    Args:
        only: Names with commas between; all that are not hidden by default.
    """
    if only:
        return sorted(only.split(","), key=lambda name: load(name).ORDER)
    found = [each.name for each in pkgutil.iter_modules(__path__) if not each.name.startswith("_")]
    shown = [name for name in found if not getattr(load(name), "HIDDEN", False) and missing(name) is None]
    return sorted(shown, key=lambda name: load(name).ORDER)


def absent() -> dict[str, str]:
    """Return the contestants that cannot run here, each with what it lacks."""
    found = (each.name for each in pkgutil.iter_modules(__path__) if not each.name.startswith("_"))
    return {load(name).LABEL: lacks for name in found if (lacks := missing(name))}


def missing(name: str) -> str | None:
    """Return what a contestant needs and this machine lacks, or None."""
    check = getattr(load(name), "missing", None)
    return check() if check is not None else None


def is_installed(package: str) -> str | None:
    """Return that a package is missing, or None when it is installed."""
    return None if importlib.util.find_spec(package) else f"{package} is not installed"
