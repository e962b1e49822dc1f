"""The configuration interface: a source of values by dotted key."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kladml.interfaces.backend import Backend

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """One value of a configuration and where it comes from.

    Attributes:
        key: Dotted key, such as `training.max_epochs`.
        value: A scalar, a list, or an empty dict; text is converted to the key's type later.
        origin: What a person would look at to change it: `kladml.yaml:7`, `$KLADML_MODEL__REF`, `--set`.
    """

    key: str
    value: Any
    origin: str


class ConfigInterface(Backend):
    """Gives the values that a run is configured with.

    A complete source, and the hook that offers it under a name:

    ```python
    from kladml import ConfigInterface

    class EtcdConfig(ConfigInterface):
        def __init__(self, prefix="kladml"):
            self.prefix = prefix
            self.values = {}

        def get(self, key, default=None):
            return self.values.get(key, default)

        def set(self, key, value):
            self.values[key] = value
    ```
    ```python
    from kladml.plugins import hookimpl

    @hookimpl
    def kladml_register_config():
        from my_package.config import EtcdConfig
        return EtcdConfig
    ```

    Keys are dotted (`training.max_epochs`). A source with only these two methods is asked for every key of
    the schema; one that can list its entries is checked for misspelt keys as well.

    Capabilities: `entries` (`entries`).
    """

    @abstractmethod
    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a dotted key, or `default` when the source does not have it.

        A key of a whole section (`training`) may return a mapping, or the default.
        """

    @abstractmethod
    def set(self, key: str, value: Any) -> None:
        """Give a key a value for this process; a later `get` returns it. Nothing is written to disk."""

    def entries(self) -> Iterable[ConfigEntry]:
        """Return every value that the source has, one per leaf key. Capability `entries`."""
        raise self._lacks("entries", "list its entries")
