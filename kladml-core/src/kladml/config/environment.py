"""Configuration from `KLADML_*` environment variables."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kladml.config.yaml_file import Unparsed
from kladml.interfaces.config import ConfigEntry

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "KLADML_"
RESERVED = frozenset(
    {
        "KLADML_CONFIG_SOURCE",
        "KLADML_DISABLED_PLUGINS",
        "KLADML_LOG_FORMAT",
        "KLADML_PROFILE",
        "KLADML_RANK_REPORTS",
        "KLADML_REDIS_PASSWORD",
        "KLADML_RELIABILITY",
        "KLADML_REQUIRE_SERVICES",
        "KLADML_WORKSPACE",
    }
)
"""Variables that are no configuration keys, with meanings of their own."""


def read_environment(environ: Mapping[str, str] | None = None, prefix: str = PREFIX) -> list[ConfigEntry]:
    """Read the variables that start with a prefix as configuration entries.

    `KLADML_TRAINING__MAX_EPOCHS=5` gives `training.max_epochs`: a double underscore stands for the dot.

    Args:
        environ: The variables; the process's own by default.
        prefix: How the variables start.

    Returns:
        Entries whose values are `Unparsed` text, in the order of their keys.
    """
    environ = os.environ if environ is None else environ
    return [
        ConfigEntry(name[len(prefix) :].lower().replace("__", "."), Unparsed(environ[name]), f"${name}")
        for name in sorted(environ)
        if name.startswith(prefix) and name not in RESERVED and environ[name] != ""
    ]
