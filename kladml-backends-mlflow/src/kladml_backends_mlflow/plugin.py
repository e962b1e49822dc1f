"""The plugin `mlflow` of kind tracker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kladml.plugins import hookimpl

if TYPE_CHECKING:
    from kladml.interfaces import TrackerInterface


@hookimpl
def kladml_register_tracker() -> type[TrackerInterface]:
    """Return the MLflow tracker."""
    from kladml_backends_mlflow import MLflowTracker

    return MLflowTracker
