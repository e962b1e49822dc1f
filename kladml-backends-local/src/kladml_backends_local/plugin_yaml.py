"""The plugin `yaml` of kind config."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kladml.plugins import hookimpl

if TYPE_CHECKING:
    from kladml.interfaces import ConfigInterface


@hookimpl
def kladml_register_config() -> type[ConfigInterface]:
    """Return the configuration source."""
    from kladml_backends_local.yaml_config import YamlConfig

    return YamlConfig
