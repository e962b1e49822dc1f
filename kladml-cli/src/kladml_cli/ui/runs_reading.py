"""Which runs a screen shows: those of a place, that meet a condition, in an order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kladml.interfaces import LEVELS, ExperimentAddress

if TYPE_CHECKING:
    from kladml.interfaces import CatalogRun
    from kladml_cli.run_place import OpenPlace
    from kladml_cli.ui.tree import Place


@dataclass(frozen=True, slots=True)
class Choice:
    """Which runs to show.

    Attributes:
        limit: How many at most.
        place: Those below it.
        where: A condition, or nothing.
        order: What to sort by, or nothing for the newest first.
    """

    limit: int
    place: Place = ()
    where: str = ""
    order: str = ""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Runs that were chosen.

    Attributes:
        choice: How.
        runs: The runs, in order.
        count: How many there are without the limit.
        asked_for: Metrics that the condition or the order asks for.
    """

    choice: Choice
    runs: list[CatalogRun]
    count: int
    asked_for: tuple[str, ...] = ()


def choose(opened: OpenPlace, choice: Choice) -> Chosen:
    """Read the runs that were asked for.

    Raises:
        QueryError: The condition or the order cannot be read.
    """
    experiment = ExperimentAddress(*choice.place) if len(choice.place) == len(LEVELS) else None
    if not (choice.where or choice.order) and (experiment is not None or not choice.place):
        runs, count = opened.newest_runs(choice.limit, experiment)
        return Chosen(choice, runs, count)
    found = opened.list_runs(experiment)
    if experiment is None and choice.place:
        found = [run for run in found if _names(run)[: len(choice.place)] == choice.place]
    if not (choice.where or choice.order):
        return Chosen(choice, found[: -choice.limit - 1 : -1], len(found))
    from kladml.history.conditions import Condition
    from kladml.history.listing import list_runs, parse_order
    from kladml.history.parameters import RunTexts

    condition = Condition(choice.where) if choice.where else None
    order = parse_order(choice.order) if choice.order else None
    asked_for = [*([] if condition is None else condition.quantities), *([] if order is None else order[:1])]
    needs_texts = any(one.section in ("params", "tags") for one in asked_for)
    texts = RunTexts(opened.runs, opened.searching_tracker() if needs_texts else None)
    listing = list_runs(found, texts, where=condition, order=order, limit=choice.limit)
    metrics = tuple(dict.fromkeys(one.name for one in reversed(asked_for) if one.section == "metrics"))
    return Chosen(choice, listing.runs, len(listing.runs) + listing.left_out, metrics)


def places_with_experiments(opened: OpenPlace) -> set[Place]:
    """Return the experiments, which is quick."""
    return {(each.project, each.family, each.experiment) for each in opened.catalog.list_experiments()}


def all_places(opened: OpenPlace) -> set[Place]:
    """Return the experiments, and the projects and families that have none yet."""
    return {entry.address.names for level in LEVELS for entry in opened.catalog.list_entries(level)}


def _names(run: CatalogRun) -> Place:
    return run.address.experiment.project, run.address.experiment.family, run.address.experiment.experiment
