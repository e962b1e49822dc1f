"""Trackio on this machine."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LABEL, ORDER = "trackio 0.43.0", 6
ENVIRONMENT = "peers"
CALLS = {"one": 2_000, "ten": 2_000, "paced": 500}


class Tracker:
    def __init__(self, folder: Path) -> None:
        os.environ["TRACKIO_DIR"] = str(folder)  # read when trackio is imported
        import trackio

        self._trackio = trackio
        with contextlib.redirect_stdout(io.StringIO()):
            trackio.init(project="bench", name="run")

    def log_metric(self, key: str, value: float, step: int) -> None:
        self._trackio.log({key: value}, step=step)

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self._trackio.log(metrics, step=step)

    def close(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self._trackio.finish()


def count(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "bench.db")) as connection:
        return sum(len(json.loads(row)) for (row,) in connection.execute("SELECT metrics FROM metrics"))
