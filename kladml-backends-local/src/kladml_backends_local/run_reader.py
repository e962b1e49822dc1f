"""Reading runs from an MLflow database, without MLflow."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kladml.errors import RefusedRunError, TrackerError
from kladml.interfaces import TrackedRun
from kladml_backends_local.run_filter import Sql, condition, register_number, sort_keys
from kladml_backends_local.settings import OWNER
from kladml_backends_local.sqlite_errors import what_to_do
from kladml_backends_local.stored_numbers import restored_number

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_BUSY_SECONDS = 20

_RUNS = """
SELECT r.run_uuid, e.name, r.status, r.lifecycle_stage
FROM runs AS r JOIN experiments AS e ON e.experiment_id = r.experiment_id
"""
# One value, a list in JSON, holds any number of identifiers.
_PARAMS = """
SELECT run_uuid, key, value FROM params WHERE run_uuid IN (SELECT value FROM json_each(?)) ORDER BY rowid
"""
_TAGS = """
SELECT run_uuid, key, value FROM tags WHERE run_uuid IN (SELECT value FROM json_each(?)) ORDER BY rowid
"""
_METRICS = """
SELECT run_uuid, key, value, is_nan FROM latest_metrics WHERE run_uuid IN (SELECT value FROM json_each(?))
ORDER BY rowid
"""
# SQLite would look at every row for DISTINCT; this leaps from one key to the next.
_KEYS = """
WITH RECURSIVE found(key) AS (
    SELECT min(key) FROM {table}
    UNION ALL
    SELECT (SELECT min(key) FROM {table} WHERE key > found.key) FROM found WHERE found.key IS NOT NULL
)
SELECT key FROM found WHERE key IS NOT NULL
"""


class RunReader:
    """Reads runs, from a database that may be in use; it changes nothing, and needs no closing.

    Args:
        database: Absolute path of the database; if there is none, there are no runs.
    """

    def __init__(self, database: Path) -> None:
        self.database = database

    def get_run(self, run_id: str) -> TrackedRun:
        """Read a run, a deleted one as well.

        Raises:
            RefusedRunError: There is no such run.
            TrackerError: The database cannot be read.
        """
        if self._is_made():
            with self._open(f"run '{run_id}' cannot be read") as connection:
                for run in self._runs(connection, f"{_RUNS} WHERE r.run_uuid = ?", (run_id,)):
                    return run
        problem = f"there is no run '{run_id}' in {self.database}"
        raise RefusedRunError(problem, owner=OWNER, next_step="check the identifier")

    def history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """Read all values of a metric as (step, value), in the order of recording.

        Raises:
            TrackerError: The database cannot be read.
        """
        if not self._is_made():
            return []
        query = "SELECT step, value, is_nan FROM metrics WHERE run_uuid = ? AND key = ? ORDER BY rowid"
        with self._open(f"'{key}' of run '{run_id}' cannot be read") as connection:
            return [
                (step, restored_number(value, is_nan))
                for step, value, is_nan in connection.execute(query, (run_id, key))
            ]

    def points(self, run_id: str) -> list[tuple[str, float, int, int]]:
        """Read all values of all metrics as (key, value, time, step), in the order of recording.

        Raises:
            TrackerError: The database cannot be read.
        """
        if not self._is_made():
            return []
        query = "SELECT key, value, is_nan, timestamp, step FROM metrics WHERE run_uuid = ? ORDER BY rowid"
        with self._open(f"the metrics of run '{run_id}' cannot be read") as connection:
            return [
                (key, restored_number(value, is_nan), milliseconds, step)
                for key, value, is_nan, milliseconds, step in connection.execute(query, (run_id,))
            ]

    def texts(self, table: str, names: Collection[str], *, also_ends: bool = False) -> dict[str, dict[str, str]]:
        """Read parameters or tags of all runs, by the identifiers of the runs.

        Args:
            table: `params` or `tags`.
            names: Which of them.
            also_ends: Whether a name also stands for those that end in a dot and it.

        Raises:
            TrackerError: The database cannot be read.
        """
        if not self._is_made():
            return {}
        # The keys are looked through once, and not those of each run: the index begins with them.
        with self._open(f"the {table} of the runs cannot be read") as connection:
            keys = [
                key
                for (key,) in connection.execute(_KEYS.format(table=table))
                if key in names or (also_ends and any(key.endswith(f".{name}") for name in names))
            ]
            query = f"SELECT run_uuid, key, value FROM {table} WHERE key IN (SELECT value FROM json_each(?))"  # noqa: S608
            found: dict[str, dict[str, str]] = {}
            for run_id, key, value in connection.execute(query, (json.dumps(keys),)):
                found.setdefault(run_id, {})[key] = value
            return found

    def artifact_folder(self, run_id: str) -> Path:
        """Return the folder of a run's files, which may be absent.

        Raises:
            TrackerError: There is no such run, or its experiment keeps files elsewhere than on this machine.
        """
        from urllib.request import url2pathname  # which imports much, and is not needed to read

        query = "SELECT artifact_uri FROM runs WHERE run_uuid = ?"
        row = None
        if self._is_made():
            with self._open(f"run '{run_id}' cannot be found") as connection:
                row = connection.execute(query, (run_id,)).fetchone()
        if row is None:
            problem = f"run '{run_id}' has no folder for files: it is not in {self.database}"
            raise TrackerError(problem, owner=OWNER, next_step="see whether that can be written, and try again then")
        (uri,) = row
        parts = urlsplit(uri)
        # An experiment that MLflow made itself may have a plain path.
        folder = Path(url2pathname(parts.path) if parts.scheme == "file" else uri)
        if folder.is_absolute():
            return folder
        problem = f"the files of run '{run_id}' are kept at '{uri}', which is no folder of this machine"
        raise TrackerError(problem, owner=OWNER, next_step="choose another experiment, or the tracker 'mlflow'")

    def search_runs(
        self,
        experiment_name: str | None = None,
        where: str | None = None,
        order_by: str | None = None,
        *,
        descending: bool = True,
        limit: int | None = None,
    ) -> list[TrackedRun]:
        """List runs that were not deleted.

        Args:
            experiment_name: Only runs of this experiment.
            where: Only runs of which this is true, such as `metrics.val_acc > 0.9 and status == 'FINISHED'`; see
                `kladml_backends_local.run_filter.condition`.
            order_by: What to sort by, such as `metrics.val_acc`; when the runs began, if not given. Runs that do not
                have it come last.
            descending: Whether the largest, or the newest, comes first.
            limit: How many runs at most.

        Raises:
            TrackerError: An expression is malformed, or the database cannot be read.
        """
        conditions = [Sql("r.lifecycle_stage = 'active'")]
        if experiment_name is not None:
            conditions.append(Sql("e.name = ?", (experiment_name,)))
        if where is not None:
            conditions.append(condition(where))
        keys = sort_keys(order_by if order_by is not None else "start_time")
        direction = "DESC" if descending else "ASC"
        order = ", ".join(f"{key.text} {direction} NULLS LAST" for key in keys)
        query = (
            f"{_RUNS} WHERE {' AND '.join(part.text for part in conditions)} "
            f"ORDER BY {order}, r.rowid {direction} LIMIT ?"
        )
        values = [value for part in (*conditions, *keys) for value in part.values]
        if not self._is_made():
            return []
        with self._open("the runs cannot be listed") as connection:
            return self._runs(connection, query, (*values, -1 if limit is None else max(limit, 0)))

    def _runs(self, connection: sqlite3.Connection, query: str, values: tuple[str | float, ...]) -> list[TrackedRun]:
        connection.execute("BEGIN")  # the rest is read as of the same moment
        runs = {
            run_id: TrackedRun(run_id, experiment, status, is_deleted=stage != "active")
            for run_id, experiment, status, stage in connection.execute(query, values)
        }
        chosen = (json.dumps(list(runs)),)
        for run_id, key, value in connection.execute(_PARAMS, chosen):
            runs[run_id].params[key] = value
        for run_id, key, value in connection.execute(_TAGS, chosen):
            runs[run_id].tags[key] = value
        for run_id, key, value, is_nan in connection.execute(_METRICS, chosen):
            runs[run_id].metrics[key] = restored_number(value, is_nan)
        return list(runs.values())

    @contextmanager
    def _open(self, problem: str) -> Iterator[sqlite3.Connection]:
        try:
            with closing(self._connected()) as connection:
                register_number(connection)
                yield connection
        except (sqlite3.Error, OSError) as error:
            text = f"{problem}: {error}"
            raise TrackerError(text, owner=OWNER, next_step=what_to_do(self.database, error)) from error

    def _connected(self) -> sqlite3.Connection:
        uri = f"{self.database.as_uri()}?mode=ro"
        if not os.access(self.database.parent, os.W_OK) and not self._log().exists():
            uri += "&immutable=1"  # beside the database SQLite would make the memory that readers and writers share
        return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)

    def _log(self) -> Path:
        return self.database.with_name(f"{self.database.name}-wal")

    def _is_made(self) -> bool:
        return self.database.is_file() and self.database.stat().st_size > 0
