"""KladML's tracker for an MLflow tracking server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kladml_backends_mlflow.tracker import MLflowTracker

__all__ = ["MLflowTracker"]


def __getattr__(name: str) -> Any:
    if name == "MLflowTracker":
        # mlflow is imported when the class is needed, not with the package.
        from kladml_backends_mlflow.tracker import MLflowTracker

        return MLflowTracker
    message = f"module '{__name__}' has no attribute '{name}'"
    raise AttributeError(message)
