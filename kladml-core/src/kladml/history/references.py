"""Short addresses of runs: `@3`, `@-1`, `@best`, `digits@3`, `vision/cnn/digits@-2`."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from kladml.errors import AddressError
from kladml.history.best import best_of
from kladml.interfaces import LEVELS, ExperimentAddress, RunAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kladml.history.best import Criterion
    from kladml.interfaces import CatalogInterface, CatalogRun

BEST = "best"

_SHOWN = 3
_LONGEST = 100
_LIST = "'kladml runs list' shows those there are"
_FORMS = "write @3, @-1, @best, digits@3 or project/family/experiment@3"
_EXPERIMENTS = "'kladml experiment list' shows those there are"


@dataclass(frozen=True)
class References:
    """Finds runs by what people write.

    | Text | Run |
    | --- | --- |
    | `project/family/experiment@3` | number 3 of this experiment |
    | `digits@3` | of the experiment `digits`, wherever it stands if there is only one; `default/default` comes first |
    | `@3` | of the configured experiment, or of the only one that has runs |
    | `@-1`, `@-2` | the newest run, the one before |
    | `@best` | the one with the best value of the experiment's monitored metric |

    Attributes:
        catalog: What knows the runs.
        experiment: The configured experiment, or None.
        criterion: Returns what makes a run of an experiment the best; needed for `@best` alone.
    """

    catalog: CatalogInterface
    experiment: ExperimentAddress | None = None
    criterion: Callable[[ExperimentAddress, Sequence[CatalogRun]], Criterion] | None = None

    def find(self, text: str) -> CatalogRun:
        """Return the run that a text means.

        Raises:
            AddressError: It means none, or could mean several; names the nearest.
        """
        place, at, label = text.rpartition("@")
        if not at or not label:
            problem = f"'{text}' is no address of a run"
            raise AddressError(problem, next_step=_FORMS)
        if len(label) > _LONGEST:
            problem = f"'{text[:_LONGEST]}…' is no address of a run: what follows the '@' is too long"
            raise AddressError(problem, next_step=_FORMS)
        experiment = self.find_experiment(place) if place else self._own_experiment(text)
        if label == BEST or label.removeprefix("-").isdecimal():
            return self._by_rank(experiment, label)
        return self._by_label(RunAddress(experiment, label))

    def find_experiment(self, place: str) -> ExperimentAddress:
        """Return the experiment that a text means, such as `digits`, `cnn/digits` or `vision/cnn/digits`.

        Raises:
            AddressError: It means none, or could mean several; names the nearest.
        """
        names = place.split("/")
        if len(names) > len(LEVELS):
            problem = f"'{place}' is no address of an experiment"
            raise AddressError(problem, next_step="write experiment, family/experiment or project/family/experiment")
        exact = ExperimentAddress(*["default"] * (len(LEVELS) - len(names)), *names)
        known = [*map(str, self.catalog.list_experiments())]
        if str(exact) in known:
            return exact
        found = [other for other in known if other.endswith(f"/{place}")] if len(names) < len(LEVELS) else []
        if len(found) == 1:
            return ExperimentAddress.parse(found[0])
        if found:
            problem = f"'{place}' could be {_either(found)}"
            raise AddressError(problem, next_step="write project/family/experiment")
        problem = f"there is no experiment '{place}'"
        raise AddressError(problem, next_step=f"{_did_you_mean(_nearest(place, known))}{_EXPERIMENTS}")

    def _own_experiment(self, text: str) -> ExperimentAddress:
        """Return the experiment of an address that names none."""
        if self.experiment is not None:
            return self.experiment
        known = self.catalog.list_experiments()
        if len(known) == 1:
            return known[0]
        with_runs = [entry for entry in self.catalog.list_entries("experiment") if entry.runs]
        if len(with_runs) == 1:
            return ExperimentAddress(*with_runs[0].address.names)
        if not with_runs:
            problem = f"there is no run '{text}': there are no runs yet"
            raise AddressError(problem, next_step="'kladml train CONFIG' makes one")
        newest = sorted(with_runs, key=lambda entry: str(entry.last_run_at), reverse=True)
        either = _either([f"{entry.address}{text}" for entry in newest])
        problem = f"'{text}' names no experiment, and there are {len(with_runs)}: it could be {either}"
        raise AddressError(problem, next_step="write experiment@n, give --experiment, or set it in kladml.yaml")

    def _by_rank(self, experiment: ExperimentAddress, label: str) -> CatalogRun:
        if label != BEST and int(label) > 0:
            return self._by_label(RunAddress(experiment, str(int(label))))
        runs = self.catalog.list_runs(experiment)
        if not runs:
            raise self._without_runs(experiment)
        if label == BEST:
            if self.criterion is None:
                problem = f"nothing says what makes a run of {experiment} the best"
                raise AddressError(problem, next_step="name a metric")
            return best_of(runs, self.criterion(experiment, runs), experiment)
        if int(label) == 0 or -int(label) > len(runs):
            count = f"{len(runs)} run{'s' if len(runs) > 1 else ''}"
            problem = f"there is no run '{experiment}@{label}': the experiment has {count}"
            raise AddressError(problem, next_step="@-1 is the newest, @1 the first")
        return runs[int(label)]

    def _by_label(self, address: RunAddress) -> CatalogRun:
        try:
            return self.catalog.get_run(address)
        except AddressError:
            known = [run.address.label for run in self.catalog.list_runs(address.experiment)]
            if not known:
                raise self._without_runs(address.experiment) from None
            problem = f"there is no run '{address}'"
            nearest = [f"{address.experiment}@{label}" for label in _nearest_labels(address.label, known)]
            is_are = "is" if len(nearest) == 1 else "are"
            raise AddressError(problem, next_step=f"the nearest {is_are} {', '.join(nearest)}; {_LIST}") from None

    def _without_runs(self, experiment: ExperimentAddress) -> AddressError:
        with_runs = [str(entry.address) for entry in self.catalog.list_entries("experiment") if entry.runs]
        problem = f"there are no runs of {experiment}"
        return AddressError(problem, next_step=f"{_did_you_mean(_nearest(str(experiment), with_runs))}{_LIST}")


def _nearest_labels(label: str, known: Sequence[str]) -> list[str]:
    """Return the labels that are closest to one: by number, else by spelling; the newest where none is."""
    if label.isdecimal():
        numbers = [other for other in known if other.isdecimal()]
        near = sorted(numbers, key=lambda other: (abs(int(other) - int(label)), int(other)))[:_SHOWN]
        return sorted(near, key=int)
    return get_close_matches(label, known, n=_SHOWN) or [*known[-_SHOWN:]]


def _nearest(place: str, known: Sequence[str]) -> list[str]:
    """Return the experiments that are spelt alike: as a whole, else by their last name."""
    whole = get_close_matches(place.casefold(), [other.casefold() for other in known], n=_SHOWN)
    if whole:
        return [other for other in known if other.casefold() in whole]
    last = {other.rpartition("/")[2].casefold(): other for other in known}
    return [last[name] for name in get_close_matches(place.rpartition("/")[2].casefold(), last, n=_SHOWN)]


def _did_you_mean(nearest: Sequence[str]) -> str:
    return f"did you mean {' or '.join(nearest)}? " if nearest else ""


def _either(texts: Sequence[str]) -> str:
    shown = [*texts[:_SHOWN], *(["…"] if len(texts) > _SHOWN else [])]
    return ", ".join(shown[:-1]) + (" or " if len(shown) > 1 else "") + shown[-1]
