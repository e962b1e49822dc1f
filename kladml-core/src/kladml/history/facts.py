"""What conditions may ask of a run, and what runs may be sorted by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kladml.interfaces import CatalogRun

SECTIONS = ("metrics", "params", "tags")
"""What a run has under names of its own."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a condition may ask of a run.

    Attributes:
        run: The run as the catalog has it.
        params: Values of the parameters that the condition asks for, as text, by the name that it uses.
        tags: Its tags, likewise.
    """

    run: CatalogRun
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def value(self, section: str, name: str) -> Any:
        """Return a quantity of the run, or None if it does not have it."""
        if section == "metrics":
            return self.run.metrics.get(name)
        return (self.params if section == "params" else self.tags).get(name)


FIELDS: dict[str, Callable[[CatalogRun], Any]] = {
    "status": lambda run: run.status,
    "run_id": lambda run: run.run_id,
    "address": lambda run: str(run.address),
    "number": lambda run: int(run.address.label) if run.address.label.isdecimal() else None,
    "experiment": lambda run: run.address.experiment.experiment,
    "family": lambda run: run.address.experiment.family,
    "project": lambda run: run.address.experiment.project,
    "started_at": lambda run: run.started_at,
    "ended_at": lambda run: run.ended_at,
    "seconds": lambda run: None if run.ended_at is None else (run.ended_at - run.started_at).total_seconds(),
}
"""What every run has."""


@dataclass(frozen=True)
class Quantity:
    """Something that runs have, such as a metric or when they began.

    Attributes:
        section: `metrics`, `params`, `tags`, or nothing for what every run has.
        name: Its name there.
    """

    section: str
    name: str

    def of(self, facts: Facts) -> Any:
        """Return its value for a run, or None."""
        return facts.value(self.section, self.name) if self.section else FIELDS[self.name](facts.run)
