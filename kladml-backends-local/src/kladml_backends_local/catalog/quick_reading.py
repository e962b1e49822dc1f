"""Reading from the SQLite file of a catalog without SQLAlchemy, whose import takes longer than all else.

What looks another way than expected is left to SQLAlchemy, which also says what is wrong: a file that is absent, locked
or damaged, or whose tables are of another version.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kladml.interfaces import CatalogDataset, CatalogRun, ExperimentAddress, RunAddress
from kladml_backends_local.catalog.version import HEAD, VERSION_TABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_PATIENCE = 0.2
"""Seconds; whoever waits for longer is told so, which is left to SQLAlchemy too."""

_EXPERIMENTS = """
FROM kladml_experiments AS e
JOIN kladml_families AS f ON f.id = e.family_id
JOIN kladml_projects AS p ON p.id = f.project_id
"""
_JOINED = "JOIN kladml_runs AS r ON r.experiment_id = e.id"
_RUNS = f"""
SELECT r.experiment_id, p.name, f.name, e.name, r.number, r.run_id, r.status, r.started_at, r.ended_at,
    r.metrics, r.backends
{_EXPERIMENTS} {_JOINED}
"""
_DATASETS = """
SELECT d.name, v.number, v.fingerprint, v.format, v.size, v.files, v.created_at, v.row_count, v.columns, v.target,
    v.labels, v.storage
FROM kladml_dataset_versions AS v
JOIN kladml_datasets AS d ON d.id = v.dataset_id
WHERE v.removed_at IS NULL
"""


class QuickReader:
    """Reads a catalog in an SQLite file; every method returns None where SQLAlchemy has to do it.

    Args:
        file: The file.
        patience: Seconds to wait for others that write.
    """

    def __init__(self, file: Path, patience: float = _PATIENCE) -> None:
        self._file = file
        self._patience = patience

    def runs(self, experiment: ExperimentAddress | None = None, label: str | None = None) -> list[CatalogRun] | None:
        """Return the runs of all experiments, of one, or one of its runs, in the order in which they started."""
        where, values = _conditions(experiment, label)
        rows = self._read(f"{_RUNS} {where} ORDER BY r.id", values)
        return None if rows is None else list(_catalog_runs(rows))

    def newest(self, limit: int, experiment: ExperimentAddress | None) -> tuple[list[CatalogRun], int] | None:
        """Return the newest runs, the newest first, and how many there are in all."""
        where, values = _conditions(experiment, None)
        rows = self._read(f"{_RUNS} {where} ORDER BY r.id DESC LIMIT ?", [*values, limit])
        if rows is None:
            return None
        count = self._read(f"SELECT count(*) {_EXPERIMENTS} {_JOINED} {where}", values)
        return None if count is None else (list(_catalog_runs(rows)), max(count[0][0], len(rows)))

    def experiments(self) -> list[ExperimentAddress] | None:
        """Return the experiments, sorted."""
        rows = self._read(f"SELECT p.name, f.name, e.name {_EXPERIMENTS}", ())
        return None if rows is None else sorted(ExperimentAddress(*row) for row in rows)

    def datasets(self, name: str | None = None) -> list[CatalogDataset] | None:
        """Return the versions of a data set, or of all, by name and number."""
        where, values = ("", ()) if name is None else ("AND d.name = ?", (name,))
        rows = self._read(f"{_DATASETS} {where} ORDER BY d.name, v.number", values)
        return None if rows is None else [_catalog_dataset(*row) for row in rows]

    def _read(self, query: str, values: Iterable[str | int]) -> list[Any] | None:
        try:
            uri = f"{self._file.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=self._patience)) as connection:
                versions = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchall()  # noqa: S608
                return connection.execute(query, tuple(values)).fetchall() if versions == [(HEAD,)] else None
        except (sqlite3.Error, ValueError, OSError):
            return None


def _conditions(experiment: ExperimentAddress | None, label: str | None) -> tuple[str, list[str | int]]:
    conditions: list[str] = []
    values: list[str | int] = []
    if experiment is not None:
        conditions += ["p.name = ?", "f.name = ?", "e.name = ?"]
        values += [experiment.project, experiment.family, experiment.experiment]
    if label is not None:
        conditions.append("CAST(r.number AS TEXT) = ?")
        values.append(label)
    return f"WHERE {' AND '.join(conditions)}" if conditions else "", values


def _catalog_runs(rows: Sequence[Any]) -> Iterable[CatalogRun]:
    experiments: dict[int, ExperimentAddress] = {}
    backends: dict[str, dict[str, str]] = {}
    # One text for all of them: to call the decoder for each costs more than to decode it.
    all_metrics = json.loads(f"[{','.join(row[9] or '{}' for row in rows)}]")
    for row, metrics in zip(rows, all_metrics, strict=True):
        experiment_id, project, family, name, number, run_id, status, started_at, ended_at, _, used = row
        if experiment_id not in experiments:
            experiments[experiment_id] = ExperimentAddress(project, family, name)
        if used not in backends:
            backends[used] = json.loads(used or "{}")
        yield CatalogRun(
            RunAddress(experiments[experiment_id], str(number)),
            run_id,
            status,
            _moment(started_at),
            None if ended_at is None else _moment(ended_at),
            {key: float(value) for key, value in metrics.items()},
            dict(backends[used]),
        )


def _catalog_dataset(name: str, number: int, fingerprint: str, *rest: Any) -> CatalogDataset:
    form, size, files, created_at, *optional = rest
    return CatalogDataset(name, number, fingerprint, form, size, files, _moment(created_at), *optional)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")
