"""The errors for what was deleted in MLflow, which keeps it and can restore it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kladml.errors import RefusedRunError
from kladml_backends_local.mlflow_database import database_uri
from kladml_backends_local.settings import OWNER

if TYPE_CHECKING:
    from pathlib import Path


def deleted_run(database: Path, run_id: str) -> RefusedRunError:
    """Return the error for a run that was deleted."""
    restore = f"MLFLOW_TRACKING_URI={database_uri(database)} mlflow runs restore --run-id {run_id}"
    problem = f"the run '{run_id}' was deleted in MLflow"
    return RefusedRunError(problem, owner=OWNER, next_step=f"restore it with {restore}")


def deleted_experiment(database: Path, name: str, experiment_id: object) -> RefusedRunError:
    """Return the error for an experiment that was deleted."""
    restore = f"MLFLOW_TRACKING_URI={database_uri(database)} mlflow experiments restore -x {experiment_id}"
    problem = f"the experiment '{name}' was deleted in MLflow"
    return RefusedRunError(problem, owner=OWNER, next_step=f"choose another name, or restore it with {restore}")
