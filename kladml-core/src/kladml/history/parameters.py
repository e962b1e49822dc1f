"""Parameters and tags of many runs at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kladml.errors import QueryError
from kladml.runner.record import RunRecord

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from kladml.interfaces import CatalogRun, TrackerInterface

SEARCH = "search"


class RunTexts:
    """Looks up parameters and tags: in the tracker, which has all at once, else in the folders of the runs.

    A parameter may be named by the end of its key: `lr` is `training.optimizer.lr`, unless there is a key `lr`.

    Args:
        folder: The folder of all runs of the workspace.
        tracker: A tracker with the capability `search`, or None.
    """

    def __init__(self, folder: Path, tracker: TrackerInterface | None = None) -> None:
        self._folder = folder
        self._tracker = tracker

    def params(self, runs: Iterable[CatalogRun], names: Collection[str]) -> dict[str, dict[str, str]]:
        """Return, by identifier of the run, the parameters that have these names, by name.

        Raises:
            QueryError: A name could be several parameters of a run, which have different values.
        """
        found = self._all("params", runs, names)
        return {
            run_id: {name: text for name in names if (text := _named(name, values)) is not None}
            for run_id, values in found.items()
        }

    def tags(self, runs: Iterable[CatalogRun], names: Collection[str]) -> dict[str, dict[str, str]]:
        """Return, by identifier of the run, the tags that have these names."""
        return self._all("tags", runs, names)

    def _all(self, kind: str, runs: Iterable[CatalogRun], names: Collection[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        known: Mapping[str, Mapping[str, str]] = {}
        if self._tracker is not None:
            read = self._tracker.param_values if kind == "params" else self._tracker.tag_values
            known = read(names)
        return {run.run_id: dict(known.get(run.run_id) or self._recorded(kind, run)) for run in runs}

    def _recorded(self, kind: str, run: CatalogRun) -> dict[str, str]:
        record = RunRecord.read(self._folder / run.address.path)
        values: dict[str, Any] = {} if record is None else getattr(record, kind)
        return {name: str(value) for name, value in values.items()}


def _named(name: str, values: Mapping[str, str]) -> str | None:
    if name in values:
        return values[name]
    found = {key: text for key, text in values.items() if key.endswith(f".{name}")}
    if len(set(found.values())) > 1:
        problem = f"'{name}' could be {' or '.join(sorted(found))}, which have different values in a run"
        raise QueryError(problem, next_step=f"write params.{min(found)}")
    return next(iter(found.values()), None)
