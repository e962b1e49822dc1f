"""The names in the SQLite file of a catalog, read at once or not at all: what a shell completes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kladml.interfaces import ExperimentAddress
from kladml_backends_local.catalog.quick_reading import QuickReader

if TYPE_CHECKING:
    from pathlib import Path

_PATIENCE = 0.1
_NEWEST = 20
_PROJECTS = "SELECT p.name FROM kladml_projects AS p"
_FAMILIES = "SELECT p.name, f.name FROM kladml_projects AS p JOIN kladml_families AS f ON f.project_id = p.id"
_EXPERIMENTS = """
SELECT p.name, f.name, e.name FROM kladml_projects AS p
JOIN kladml_families AS f ON f.project_id = p.id JOIN kladml_experiments AS e ON e.family_id = f.id
"""
_LEVELS = {"project": _PROJECTS, "family": _FAMILIES, "experiment": _EXPERIMENTS}
_WITH_RUNS = "WHERE e.id IN (SELECT DISTINCT experiment_id FROM kladml_runs)"
_LABELS = """
SELECT r.number, r.status, r.started_at FROM kladml_projects AS p
JOIN kladml_families AS f ON f.project_id = p.id JOIN kladml_experiments AS e ON e.family_id = f.id
JOIN kladml_runs AS r ON r.experiment_id = e.id
WHERE p.name = ? AND f.name = ? AND e.name = ? ORDER BY r.number DESC
"""


class CatalogNames(QuickReader):
    """Reads names; what cannot be read in a moment, such as a file that is locked, absent or damaged, has none.

    Args:
        file: The file.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(file, patience=_PATIENCE)

    def entries(self, level: str) -> list[tuple[str, ...]]:
        """Return the names of all projects, families or experiments, each with those above, sorted."""
        return sorted(tuple(row) for row in self._read(_LEVELS[level], ()) or ())

    def experiments_with_runs(self) -> list[ExperimentAddress]:
        """Return the experiments that have runs, sorted."""
        return sorted(ExperimentAddress(*row) for row in self._read(f"{_EXPERIMENTS} {_WITH_RUNS}", ()) or ())

    def labels(self, experiment: ExperimentAddress) -> list[tuple[str, str]]:
        """Return the numbers of an experiment's runs, the newest first, each with its status and when it started."""
        names = (experiment.project, experiment.family, experiment.experiment)
        rows = self._read(_LABELS, names) or ()
        return [(str(number), f"{status} {started_at[:16]}") for number, status, started_at in rows]

    def metrics(self) -> list[str]:
        """Return the names of the metrics that the newest runs have, sorted."""
        rows = self._read(f"SELECT metrics FROM kladml_runs ORDER BY id DESC LIMIT {_NEWEST}", ()) or ()  # noqa: S608
        return sorted({name for (metrics,) in rows for name in json.loads(metrics or "{}")})
