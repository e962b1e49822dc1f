"""KladML's tracker for an MLflow tracking server."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kladml_backends_mlflow.tracker import MLflowTracker

__all__ = ["MLflowTracker"]

_TELEMETRY_SWITCH = "MLFLOW_DISABLE_TELEMETRY"


def __getattr__(name: str) -> Any:
    if name == "MLflowTracker":
        # mlflow is imported when the class is needed, not with the package.
        with _no_telemetry():
            from kladml_backends_mlflow.tracker import MLflowTracker

        return MLflowTracker
    message = f"module '{__name__}' has no attribute '{name}'"
    raise AttributeError(message)


@contextmanager
def _no_telemetry() -> Iterator[None]:
    """Import MLflow inside of this block, and it reports nothing about its use to its makers.

    MLflow decides so once, at its import. The switch is not left in the environment, which child processes
    would inherit, and a user who has set it is not overruled.
    """
    if _TELEMETRY_SWITCH in os.environ:
        yield
        return
    os.environ[_TELEMETRY_SWITCH] = "true"
    try:
        yield
    finally:
        del os.environ[_TELEMETRY_SWITCH]
