"""MLflow's client on an SQLite database, and MLflow's tables for others."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from contestants import Point

DATABASE = "mlflow.db"
# The first call of a client does what later ones do not.
FIRST_KEY = "first"
_MAKE = "from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as S; S(f'sqlite:///{path}', 'artifacts')"

CALLS = {"one": 100, "ten": 60, "batch": 20, "paced": 60}


class Client:
    """A run of MLflow's client.

    Args:
        folder: Where its database lies.
        synchronous: Whether a call returns when its points are in the database.
        journal: SQLite's journal mode, if not MLflow's own.
    """

    def __init__(self, folder: Path, *, synchronous: bool = True, journal: str | None = None) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Metric

        self.client = MlflowClient(f"sqlite:///{folder / DATABASE}")
        self.run_id = self.client.create_run("0").info.run_id
        self._metric = Metric
        self._synchronous = synchronous
        if journal is not None:
            with closing(sqlite3.connect(folder / DATABASE)) as connection:
                connection.execute(f"PRAGMA journal_mode = {journal}")
        self.client.log_metric(self.run_id, FIRST_KEY, 1.0)

    def log_metric(self, key: str, value: float, step: int) -> None:
        self.client.log_metric(self.run_id, key, value, step=step, synchronous=self._synchronous)

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        self.log_batch([(key, value, now, step) for key, value in metrics.items()])

    def log_batch(self, points: list[Point]) -> None:
        metric = self._metric
        metrics = [metric(key, value, time_ms, step) for key, value, time_ms, step in points]
        self.client.log_batch(self.run_id, metrics=metrics, synchronous=self._synchronous)

    def close(self) -> None:
        self.client.set_terminated(self.run_id)


def make_database(folder: Path, code: str = _MAKE) -> Path:
    """Make MLflow's tables and return the database.

    Another process does, so that MLflow is not imported, and has left no garbage, where it is not used.

    Args:
        folder: Where the database is to lie.
        code: Makes it; the name `path` stands for the database.
    """
    database = folder / DATABASE
    command = [sys.executable, "-c", f"path = {os.fspath(database)!r}; {code}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return database


def count(folder: Path) -> int:
    """Return how many points MLflow's table has, but for the first."""
    with closing(sqlite3.connect(folder / DATABASE)) as connection:
        (points,) = connection.execute("SELECT count(*) FROM metrics WHERE key <> ?", (FIRST_KEY,)).fetchone()
    return int(points)
