"""Configuration values by dotted key, each with its origin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kladml.config.layers import flatten
from kladml.config.yaml_file import Unparsed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kladml.interfaces import ConfigEntry


class ConfigValues:
    """The leaves of a tree of values; a later value replaces what stood at, above or below its key.

    Args:
        entries: The values, lowest layer first.
    """

    def __init__(self, entries: Iterable[ConfigEntry] = ()) -> None:
        self._entries: dict[str, ConfigEntry] = {}
        for entry in entries:
            self._put(entry)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, the nested mapping of a section, or the default."""
        if key in self._entries:
            return _plain(self._entries[key].value)
        start = f"{key}."
        section: dict[str, Any] = {}
        for entry in self._entries.values():
            if entry.key.startswith(start):
                *parents, name = entry.key[len(start) :].split(".")
                inner = section
                for parent in parents:
                    inner = inner.setdefault(parent, {})
                inner[name] = _plain(entry.value)
        return section or default

    def set(self, key: str, value: Any, origin: str) -> None:
        """Give a key a value; a mapping replaces the whole section."""
        self._remove_below(key)
        for entry in flatten({key: value}, origin):
            self._put(entry)

    def entries(self) -> list[ConfigEntry]:
        """Return every leaf, in the order in which the keys came up."""
        return list(self._entries.values())

    def _put(self, entry: ConfigEntry) -> None:
        self._remove_below(entry.key)
        above = entry.key.rpartition(".")[0]
        while above:
            self._entries.pop(above, None)
            above = above.rpartition(".")[0]
        self._entries[entry.key] = entry

    def _remove_below(self, key: str) -> None:
        for known in [known for known in self._entries if known.startswith(f"{key}.")]:
            del self._entries[known]


def _plain(value: Any) -> Any:
    return value.parsed() if isinstance(value, Unparsed) else value
