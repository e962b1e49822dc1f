"""MLflow's client as it comes: the baseline."""

from __future__ import annotations

from contestants import _mlflow

LABEL, ORDER = "MLflow 3.17.2, SQLite", 1
ENVIRONMENT = "mlflow"
CALLS = _mlflow.CALLS
Tracker = _mlflow.Client
count = _mlflow.count
