"""MLflow's client on a database that was switched to a write-ahead log."""

from __future__ import annotations

import functools

from contestants import _mlflow

LABEL, ORDER = "MLflow 3.17.2, SQLite in WAL mode", 3
ENVIRONMENT = "mlflow"
CALLS = {name: calls for name, calls in _mlflow.CALLS.items() if name != "paced"}
Tracker = functools.partial(_mlflow.Client, journal="WAL")
count = _mlflow.count
