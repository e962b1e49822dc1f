"""Configuration from environment variables alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from kladml.config.environment import PREFIX, read_environment
from kladml.interfaces import ConfigInterface
from kladml_backends_local.config_values import ConfigValues
from kladml_backends_local.settings import EnvConfigSettings

if TYPE_CHECKING:
    from kladml.interfaces import ConfigEntry


class EnvConfig(ConfigInterface):
    """Values of environment variables: `KLADML_TRAINING__MAX_EPOCHS=5` gives `training.max_epochs`.

    They are read once, when the object is made.

    Args:
        prefix: How the names of the variables start.
    """

    settings_class: ClassVar[type[EnvConfigSettings]] = EnvConfigSettings
    capabilities: ClassVar[frozenset[str]] = frozenset({"entries"})

    def __init__(self, prefix: str = PREFIX) -> None:
        self.prefix = prefix
        self._values = ConfigValues(read_environment(prefix=prefix))

    def __repr__(self) -> str:
        """Show the prefix."""
        return f"EnvConfig({self.prefix!r})"

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a dotted key, read as a YAML scalar or list; a section gives a nested mapping."""
        return self._values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Give a key a value for this process; the environment itself is not changed."""
        self._values.set(key, value, "EnvConfig.set")

    def entries(self) -> list[ConfigEntry]:
        """Return every leaf; text of environment variables is not yet converted."""
        return self._values.entries()
