"""KladML's local backends: files, YAML and environment configuration, MLflow on SQLite, a catalog in SQL.

Importing the package imports none of its dependencies; each class is imported at its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kladml_backends_local.catalog import SqlCatalog
    from kladml_backends_local.env_config import EnvConfig
    from kladml_backends_local.storage import LocalStorage
    from kladml_backends_local.tracker import LocalTracker
    from kladml_backends_local.yaml_config import YamlConfig

__all__ = ["EnvConfig", "LocalStorage", "LocalTracker", "SqlCatalog", "YamlConfig"]

_MODULES = {
    "EnvConfig": "env_config",
    "LocalStorage": "storage",
    "LocalTracker": "tracker",
    "SqlCatalog": "catalog",
    "YamlConfig": "yaml_config",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        message = f"module '{__name__}' has no attribute '{name}'"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
