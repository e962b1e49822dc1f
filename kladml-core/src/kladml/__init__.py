"""KladML: one interface, N implementations.

Everything here is imported at first use, so that `import kladml` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kladml.config import RunConfig, TrainingConfig
    from kladml.errors import KladMLError
    from kladml.interfaces import (
        CatalogDataset,
        CatalogEntry,
        CatalogInterface,
        CatalogRun,
        ConfigEntry,
        ConfigInterface,
        EntryAddress,
        ExperimentAddress,
        PublisherInterface,
        RunAddress,
        StorageInterface,
        TrackedRun,
        TrackerInterface,
    )
    from kladml.models import BaseModel, MLTask
    from kladml.plugins import PluginRegistry, hookimpl
    from kladml.runner import ExperimentRunner, RunResult
    from kladml.training import TrainerCallback, UniversalTrainer
    from kladml.workspace import Workspace

__version__ = "0.20.0"

_EXPORTS = {
    "BaseModel": "kladml.models",
    "CatalogDataset": "kladml.interfaces",
    "CatalogEntry": "kladml.interfaces",
    "CatalogInterface": "kladml.interfaces",
    "CatalogRun": "kladml.interfaces",
    "ConfigEntry": "kladml.interfaces",
    "ConfigInterface": "kladml.interfaces",
    "EntryAddress": "kladml.interfaces",
    "ExperimentAddress": "kladml.interfaces",
    "ExperimentRunner": "kladml.runner",
    "KladMLError": "kladml.errors",
    "MLTask": "kladml.models",
    "PluginRegistry": "kladml.plugins",
    "PublisherInterface": "kladml.interfaces",
    "RunAddress": "kladml.interfaces",
    "RunConfig": "kladml.config",
    "RunResult": "kladml.runner",
    "StorageInterface": "kladml.interfaces",
    "TrackedRun": "kladml.interfaces",
    "TrackerInterface": "kladml.interfaces",
    "TrainerCallback": "kladml.training",
    "TrainingConfig": "kladml.config",
    "UniversalTrainer": "kladml.training",
    "Workspace": "kladml.workspace",
    "hookimpl": "kladml.plugins",
}

__all__ = [
    "BaseModel",
    "CatalogDataset",
    "CatalogEntry",
    "CatalogInterface",
    "CatalogRun",
    "ConfigEntry",
    "ConfigInterface",
    "EntryAddress",
    "ExperimentAddress",
    "ExperimentRunner",
    "KladMLError",
    "MLTask",
    "PluginRegistry",
    "PublisherInterface",
    "RunAddress",
    "RunConfig",
    "RunResult",
    "StorageInterface",
    "TrackedRun",
    "TrackerInterface",
    "TrainerCallback",
    "TrainingConfig",
    "UniversalTrainer",
    "Workspace",
    "hookimpl",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        message = f"module 'kladml' has no attribute '{name}'"
        raise AttributeError(message)
    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
