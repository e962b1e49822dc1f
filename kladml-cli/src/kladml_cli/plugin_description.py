"""What one plugin is: its owner, its abilities and its settings."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, dataclass, field
from typing import TYPE_CHECKING

import click

from kladml.interfaces import Backend, Setting, settings_of
from kladml.plugins.registry import load_module
from kladml_cli.plugin_states import load

if TYPE_CHECKING:
    from kladml.plugins import PluginEntry, PluginRegistry


@dataclass(frozen=True)
class PluginDescription:
    """A plugin, described.

    Attributes:
        facts: What is known of it, by label.
        settings: Its settings, if it is a backend.
    """

    facts: dict[str, str]
    settings: list[Setting] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        settings = [
            {
                "name": setting.name,
                "type": setting.type_name,
                "default": None if setting.default is MISSING else setting.default,
                "required": setting.required,
                "secret": setting.secret,
                "doc": setting.doc,
            }
            for setting in self.settings
        ]
        return {**{label.replace(" ", "_"): text for label, text in self.facts.items()}, "settings": settings}


def describe(kind: str, name: str, registry: PluginRegistry) -> PluginDescription:
    """Load a plugin and describe it.

    Raises:
        PluginError: It is not installed, or cannot be used.
    """
    entry = registry.find(kind, name)
    loaded = load(entry, registry)
    facts = {
        "kind": entry.kind,
        "name": entry.name,
        "distribution": entry.distribution,
        "version": entry.version,
        "module": entry.value,
    }
    if isinstance(loaded, type) and issubclass(loaded, Backend):
        facts |= {
            "class": f"{loaded.__module__}.{loaded.__qualname__}",
            "about": _first_sentence(loaded),
            "api version": str(loaded.api_version),
            "capabilities": ", ".join(sorted(loaded.capabilities)) or "none",
        }
        return PluginDescription(facts, settings_of(loaded))
    if isinstance(loaded, click.Command):
        return PluginDescription({**facts, "about": loaded.get_short_help_str(limit=200)})
    return PluginDescription({**facts, "hooks": ", ".join(_hooks(entry))})


def _first_sentence(documented: object) -> str:
    lines = (inspect.getdoc(documented) or "").strip().splitlines()
    return lines[0] if lines else ""


def _hooks(entry: PluginEntry) -> list[str]:
    plugin, manager = load_module(entry)
    return sorted(caller.name for caller in manager.get_hookcallers(plugin) or [])
