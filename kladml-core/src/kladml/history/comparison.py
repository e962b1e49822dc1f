"""What differs between runs, and whether one became worse."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass, field
from math import isnan
from typing import TYPE_CHECKING, Any

from kladml.errors import QueryError, TrackerError
from kladml.history.packages import numbers_depend_on, own_distributions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from kladml.history.pages import RunPage

_CONDITION = re.compile(
    r"\s*(?P<metric>\S+)\s+(?P<change>drop|rise|change)\s*(?P<sign><=|>=|<|>)\s*"
    r"(?P<limit>[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?)\s*(?P<percent>%)?\s*"
)
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_OF_MACHINE = ("python", "platform", "device", "threads")
_NAMES_OF_RUNS = ("project", "family", "experiment", "run_name")


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not the same in all runs.

    Attributes:
        what: `config`, `code`, `data`, `plugins` or `environment`.
        name: Its name there.
        values: What each run has, in the order of the runs; None where one does not have it.
    """

    what: str
    name: str
    values: tuple[Any, ...]

    def is_telling(self, own: Collection[str]) -> bool:
        """Tell whether the numbers of a run may depend on it.

        Args:
            own: What `own_distributions` says of the runs.
        """
        return self.what != "environment" or self.name in _OF_MACHINE or numbers_depend_on(self.name, own)


@dataclass(frozen=True)
class Comparison:
    """Runs beside one another, the first of which is what the others are compared with.

    Attributes:
        pages: The runs.
        differences: What is not the same in all of them.
    """

    pages: Sequence[RunPage]
    differences: list[Difference] = field(default_factory=list)

    @property
    def metrics(self) -> list[str]:
        """Names of all metrics, those of the first run first."""
        return list(dict.fromkeys(name for page in self.pages for name in page.metrics))

    def as_dict(self) -> dict[str, Any]:
        """Return all of it, JSON-able."""
        differences: dict[str, dict[str, Any]] = {}
        for one in self.differences:
            differences.setdefault(one.what, {})[one.name] = dict(zip(self._addresses, one.values, strict=True))
        return {
            "runs": self._addresses,
            "differences": differences,
            "metrics": {
                name: {
                    page.address: page.metrics[name].as_dict() if name in page.metrics else None for page in self.pages
                }
                for name in self.metrics
            },
        }

    @property
    def _addresses(self) -> list[str]:
        return [page.address for page in self.pages]


def compare(pages: Sequence[RunPage]) -> Comparison:
    """Compare runs."""
    parts: dict[str, list[dict[str, Any]]] = {
        "config": [_config(page) for page in pages],
        "code": [{"version": page.code_version, "changes": page.record.code_diff} for page in pages],
        "data": [{"fingerprint": page.data_fingerprint} for page in pages],
        "plugins": [dict(_plugin(text) for text in page.plugins) for page in pages],
        "environment": [{**page.environment, **page.distributions} if page.distributions else {} for page in pages],
    }
    found = []
    for what, of_runs in parts.items():
        # A run of an older version knows less of its environment, which is no difference to the others.
        known = [values for values in of_runs if values] if what in ("environment", "plugins") else of_runs
        names = {one.name for one in differences(what, known)}
        found += [one for one in differences(what, of_runs) if one.name in names]
        if what == "code":
            found += _noted_differences(what, [page.record.code_files for page in pages])
        if what == "data":
            found += _noted_differences(what, [{"val_fingerprint": page.val_fingerprint} for page in pages])
    own = own_distributions(pages)
    found.sort(key=lambda one: one.what == "environment" and not one.is_telling(own))
    return Comparison(pages, found)


def _noted_differences(what: str, of_all: Sequence[Mapping[str, str | None]]) -> list[Difference]:
    """Return what is not the same in those runs that noted it, as not every run does or has it to note."""
    found = []
    for name in dict.fromkeys(name for noted in of_all for name in noted):
        values = tuple(noted.get(name) for noted in of_all)
        if len({value for value in values if value is not None}) > 1:
            found.append(Difference(what, name, values))
    return found


def differences(what: str, of_all: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """Return what is not the same in all of some mappings, in the order in which the names come first.

    Args:
        what: What they are, such as `config`.
        of_all: What each run or configuration has, by name.
    """
    found = []
    for name in dict.fromkeys(name for values in of_all for name in values):
        values = tuple(each.get(name) for each in of_all)
        if any(value != values[0] for value in values):
            found.append(Difference(what, name, values))
    return found


@dataclass(frozen=True, slots=True)
class Change:
    """How a metric of a run stands to that of the first run, where a condition on it is true.

    Attributes:
        address: The run.
        text: What happened, as people read it.
    """

    address: str
    text: str


@dataclass(frozen=True, slots=True)
class FailCondition:
    """A condition such as `val_acc drop > 0.01`, or `loss rise > 5%` of what it was.

    Attributes:
        metric: Name of the metric, whose best values are compared, or the last where nothing says which is best.
        change: `drop`, `rise`, or `change` in either direction.
        sign: How that is compared.
        limit: With what.
        percent: Whether the limit is a share of the first run's value.
    """

    metric: str
    change: str
    sign: str
    limit: float
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> FailCondition:
        """Read a condition.

        Raises:
            QueryError: It is none.
        """
        found = _CONDITION.fullmatch(text)
        if found is None:
            problem = f"{text!r} is no condition on the change of a metric"
            raise QueryError(
                problem, next_step="write METRIC drop|rise|change > NUMBER[%], as in 'val_acc drop > 0.01'"
            )
        return cls(found["metric"], found["change"], found["sign"], float(found["limit"]), bool(found["percent"]))

    def changes(self, comparison: Comparison) -> list[Change]:
        """Return where the condition is true.

        A run without the metric, or with NaN, counts as one where it is: nobody knows that it did not become worse.

        Raises:
            QueryError: The first run does not have the metric.
            TrackerError: The best values of some runs are not known, but only the final ones.
        """
        first, *others = comparison.pages
        self._check_histories(comparison.pages)
        if self.metric not in first.metrics or isnan(first.metrics[self.metric].telling[0]):
            problem = f"{first.address} has no metric '{self.metric}', so that nothing can be compared with it"
            names = ", ".join(sorted(first.metrics)) or "none"
            raise QueryError(problem, next_step=f"choose one of: {names}")
        before = first.metrics[self.metric].telling[0]
        found = []
        for page in others:
            if page.metrics.get(self.metric) is None:
                found.append(Change(page.address, f"{page.address} has no metric '{self.metric}'"))
                continue
            now = page.metrics[self.metric].telling[0]
            by = {"drop": before - now, "rise": now - before, "change": abs(now - before)}[self.change]
            limit = self.limit * abs(before) / 100 if self.percent else self.limit
            if isnan(now) or _SIGNS[self.sign](by, limit):
                text = f"{self.metric} of {page.address} is {now:.6g}, after {before:.6g} of {first.address}"
                found.append(Change(page.address, f"{text}: a {self.change} of {by:.6g} {self.sign} {limit:.6g}"))
        return found

    def _check_histories(self, pages: Sequence[RunPage]) -> None:
        """Refuse to compare the final value of a run as if it were the best one."""
        having = [page for page in pages if self.metric in page.metrics]
        without = [page for page in having if not page.metrics[self.metric].has_history]
        lost = [page for page in without if page.problem]
        if lost or 0 < len(without) < len(having):
            page = (lost or without)[0]
            problem = f"of '{self.metric}' of {page.address} only the final value is known, and not the best"
            hint = "bring back the tracker's data, or compare runs that a tracker has"
            raise TrackerError(problem, next_step=hint)


def _config(page: RunPage) -> dict[str, Any]:
    return {name: value for name, value in page.params.items() if name not in _NAMES_OF_RUNS}


def _plugin(text: str) -> tuple[str, str]:
    """Split `storage local (kladml-backends-local 0.20.0)` into what it is and its version."""
    name, _, owner = text.partition(" (")
    return name, owner.removesuffix(")")
