"""SQLite alone, into MLflow's table of metrics: what a database costs without any tracker.

The latest metrics of a run, which MLflow keeps in a second table, are not kept.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from contestants import _mlflow

if TYPE_CHECKING:
    from pathlib import Path

    from contestants import Point

CALLS = {"one": 5_000, "ten": 1_000, "batch": 300}
RUN_ID = "0" * 32

_BEGIN_RUN = """
INSERT INTO runs (run_uuid, name, source_type, status, lifecycle_stage, experiment_id)
VALUES (?, 'raw', 'LOCAL', 'RUNNING', 'active', 0)
"""
_INSERT = "INSERT OR IGNORE INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES (?, ?, ?, ?, ?, 0)"


class RawTable:
    """A transaction a call.

    Args:
        folder: Where the database lies, which MLflow makes.
        synchronous: SQLite's setting: with `FULL` a transaction waits for the disk.
    """

    def __init__(self, folder: Path, synchronous: str) -> None:
        self._connection = sqlite3.connect(_mlflow.make_database(folder), isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute(f"PRAGMA synchronous = {synchronous}")
        self._connection.execute(_BEGIN_RUN, (RUN_ID,))

    def log_metric(self, key: str, value: float, step: int) -> None:
        self._insert([(key, value, int(time.time() * 1000), RUN_ID, step)])

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        self._insert([(key, value, now, RUN_ID, step) for key, value in metrics.items()])

    def log_batch(self, points: list[Point]) -> None:
        self._insert([(key, value, time_ms, RUN_ID, step) for key, value, time_ms, step in points])

    def close(self) -> None:
        self._connection.close()

    def _insert(self, rows: list[tuple[str, float, int, str, int]]) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_INSERT, rows)
        connection.execute("COMMIT")


count = _mlflow.count
