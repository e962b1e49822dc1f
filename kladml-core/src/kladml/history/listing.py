"""Which runs to show: those that meet a condition, in an order, and how many."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kladml.errors import QueryError
from kladml.history.conditions import Condition, Facts, Quantity, quantity, sort_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kladml.history.parameters import RunTexts
    from kladml.interfaces import CatalogRun


@dataclass(frozen=True)
class Listing:
    """Runs that were asked for.

    Attributes:
        facts: The runs, with the parameters and tags that were asked for.
        left_out: How many more met the condition.
    """

    facts: list[Facts] = field(default_factory=list)
    left_out: int = 0

    @property
    def runs(self) -> list[CatalogRun]:
        """The runs alone."""
        return [facts.run for facts in self.facts]


def parse_order(text: str) -> tuple[Quantity, bool]:
    """Return what to sort by, and whether the largest comes first, from `val_loss` or `-val_acc`.

    Raises:
        QueryError: It is no quantity of a run.
    """
    if not text.removeprefix("-").strip():
        problem = f"runs cannot be sorted by {text!r}"
        raise QueryError(problem, next_step="name a metric, such as val_loss, or params.NAME; -NAME begins at the top")
    return quantity(text.removeprefix("-")), text.startswith("-")


def list_runs(
    runs: Sequence[CatalogRun],
    texts: RunTexts,
    *,
    where: Condition | None = None,
    order: tuple[Quantity, bool] | None = None,
    limit: int | None = None,
) -> Listing:
    """Choose among runs.

    Args:
        runs: The runs, in the order in which they started.
        texts: What knows their parameters and tags.
        where: Only those that meet it.
        order: What to sort by, and whether the largest comes first; the newest first by default. Runs that do not
            have it come last.
        limit: How many at most.
    """
    newest = runs[::-1]
    params = set(where.params) if where is not None else set()
    tags = set(where.tags) if where is not None else set()
    if order is not None and order[0].section == "params":
        params.add(order[0].name)
    if order is not None and order[0].section == "tags":
        tags.add(order[0].name)
    all_params, all_tags = texts.params(newest, params), texts.tags(newest, tags)
    none: dict[str, str] = {}
    facts = [Facts(run, all_params.get(run.run_id, none), all_tags.get(run.run_id, none)) for run in newest]
    if where is not None:
        facts = [one for one in facts if where.holds(one)]
    if order is not None:
        facts = _sorted(facts, *order)
    shown = facts[:limit]
    return Listing(shown, len(facts) - len(shown))


def _sorted(facts: list[Facts], by: Quantity, descending: bool) -> list[Facts]:  # noqa: FBT001 - unpacked
    values: list[tuple[Any, Facts]] = [(by.of(one), one) for one in facts]
    having = [pair for pair in values if pair[0] is not None and pair[0] == pair[0]]
    without = [one for value, one in values if value is None or value != value]  # noqa: PLR0124
    having.sort(key=lambda pair: sort_key(pair[0]), reverse=descending)
    return [*(one for _, one in having), *without]
