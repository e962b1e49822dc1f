"""The plugin registry: from a name to a checked class, importing only what was selected."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING

import pluggy

from kladml.errors import (
    BrokenPluginError,
    DisabledPluginError,
    IncompatiblePluginError,
    PluginCollisionError,
    UnknownPluginError,
)
from kladml.plugins import spec
from kladml.plugins.index import DISABLED_VARIABLE, PluginIndex
from kladml.plugins.kinds import NAME_PATTERN, PluginKind, kind_named
from kladml.plugins.known import distribution_for, known_names
from kladml.plugins.markers import PROJECT

if TYPE_CHECKING:
    from kladml.interfaces.backend import Backend
    from kladml.plugins.index import PluginEntry


class PluginRegistry:
    """Finds plugins by name and loads the one that was selected.

    ```python
    registry = PluginRegistry()
    storage_class = registry.load("storage", "s3")
    ```

    Creating a registry reads nothing; the index is read once, at the first question. A registry is an
    ordinary object: two of them share nothing.

    Args:
        index: What is installed; the default reads the metadata of the environment.
    """

    def __init__(self, index: PluginIndex | None = None) -> None:
        self._index = index
        self._classes: dict[PluginEntry, type[Backend]] = {}

    @cached_property
    def index(self) -> PluginIndex:
        """The installed plugins."""
        return self._index if self._index is not None else PluginIndex.scan()

    def is_installed(self, kind: str, name: str) -> bool:
        """Tell whether some distribution offers a name, without importing anything."""
        return any(entry.name == name for entry in self.index.of_kind(kind))

    def find(self, kind: str, selector: str) -> PluginEntry:
        """Return the one entry that a selector means, without importing anything.

        Args:
            kind: Name of the kind.
            selector: A name, or `distribution:name` where two distributions offer the same name.

        Raises:
            UnknownPluginError: Nothing installed has that name.
            PluginCollisionError: Two distributions offer the name.
            DisabledPluginError: The plugin is switched off.
        """
        kind_named(kind)
        distribution, _, name = selector.rpartition(":")
        found = [
            entry
            for entry in self.index.of_kind(kind)
            if entry.name == name and (not distribution or entry.is_from(distribution))
        ]
        enabled = [entry for entry in found if not entry.disabled]
        if len(enabled) == 1:
            return _checked_name(enabled[0])
        if enabled:
            raise _collision(enabled)
        if found:
            problem = f"{kind} '{name}' is switched off by {DISABLED_VARIABLE}"
            raise DisabledPluginError(
                problem, owner=found[0].owner, next_step=f"take it out of that variable, or choose another {kind}"
            )
        raise self._unknown(kind, selector, name.lower())

    def load(self, kind: str, selector: str) -> type[Backend]:
        """Import the selected backend plugin and return its class, checked.

        Raises:
            PluginError: The plugin is unknown, ambiguous, disabled, broken or incompatible.
        """
        entry = self.find(kind, selector)
        if entry not in self._classes:
            self._classes[entry] = _check_class(entry, kind_named(kind), load_registered(entry))
        return self._classes[entry]

    def _unknown(self, kind: str, selector: str, name: str) -> UnknownPluginError:
        installed = sorted({entry.name for entry in self.index.of_kind(kind) if not entry.disabled})
        problem = f"no {kind} named '{selector}' is installed"
        problem += f" (installed: {', '.join(installed)})" if installed else f" (no {kind} is installed at all)"
        steps = []
        if close := get_close_matches(name, installed, n=1):
            steps.append(f"did you mean '{close[0]}'?")
        if name not in installed and (distribution := distribution_for(kind, name)):
            steps.append(f"pip install {distribution}")
        elif not steps and (close := get_close_matches(name, self._absent(kind), n=1)):
            steps.append(f"did you mean '{close[0]}'? pip install {distribution_for(kind, close[0])}")
        steps = steps or ["kladml plugins list shows what is installed"]
        return UnknownPluginError(problem, next_step=" or ".join(steps))

    def _absent(self, kind: str) -> list[str]:
        return [name for name in known_names(kind) if not self.is_installed(kind, name)]


def load_module(entry: PluginEntry) -> tuple[object, pluggy.PluginManager]:
    """Import a plugin's module and register it alone with a plugin manager, so that one plugin meets no other.

    Raises:
        BrokenPluginError: The module does not import, or implements a hook that does not exist.
    """
    module_name, _, attribute = entry.value.partition(":")
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(spec)
    try:
        plugin: object = import_module(module_name)
        for part in filter(None, attribute.split(".")):
            plugin = getattr(plugin, part)
        manager.register(plugin, name=str(entry))
        manager.check_pending()
    except (Exception, SystemExit) as error:
        raise _broken(entry, f"cannot be loaded: {_one_line(error)}") from error
    if not manager.get_hookcallers(plugin):
        raise _broken(entry, f"implements no hook {kind_named(entry.kind).hook or 'of kladml.plugins.spec'}")
    return plugin, manager


def load_registered(entry: PluginEntry) -> object:
    """Import a plugin and return what its registration hook returns.

    Raises:
        BrokenPluginError: The plugin does not import, does not implement the hook, or its hook raises.
    """
    kind = kind_named(entry.kind)
    _, manager = load_module(entry)
    hook = getattr(manager.hook, kind.hook or "")
    if not hook.get_hookimpls():
        raise _broken(entry, f"implements no hook {kind.hook}")
    try:
        results = hook()
    except (Exception, SystemExit) as error:
        raise _broken(entry, f"cannot be loaded: {_one_line(error)}") from error
    if not results:
        raise _broken(entry, f"returns nothing from its hook {kind.hook}")
    return results[0]


def _check_class(entry: PluginEntry, kind: PluginKind, registered: object) -> type[Backend]:
    interface = kind.interface
    if not (isinstance(registered, type) and issubclass(registered, interface)):
        raise _broken(entry, f"registers {registered!r}, which is no subclass of {interface.__name__}")
    if inspect.isabstract(registered):
        missing = ", ".join(sorted(registered.__abstractmethods__))
        raise _broken(entry, f"registers {registered.__name__}, which does not implement {missing}")
    if type(registered.api_version) is not int:
        raise _broken(entry, f"declares the api_version {registered.api_version!r}, which is no whole number")
    if registered.api_version not in kind.accepted_versions:
        problem = (
            f"{entry.kind} '{entry.name}' was written for version {registered.api_version} of "
            f"{interface.__name__}, and this kladml-core has version {kind.api_version}"
        )
        step = "kladml-core" if registered.api_version > kind.api_version else entry.distribution
        raise IncompatiblePluginError(problem, owner=entry.owner, next_step=f"pip install --upgrade {step}")
    return registered


def _checked_name(entry: PluginEntry) -> PluginEntry:
    if entry.valid_name:
        return entry
    raise _broken(entry, f"has a name that does not match ^{NAME_PATTERN.pattern}$")


def _collision(entries: list[PluginEntry]) -> PluginCollisionError:
    kind, name = entries[0].kind, entries[0].name
    owners = " and ".join(entry.owner for entry in entries)
    ways = " or ".join(f"'{entry.distribution}:{name}'" for entry in entries)
    return PluginCollisionError(f"{kind} '{name}' is offered by {owners}", next_step=f"select {ways}")


def _broken(entry: PluginEntry, what: str) -> BrokenPluginError:
    return BrokenPluginError(
        f"{entry.kind} '{entry.name}' {what}",
        owner=entry.owner,
        next_step=f"reinstall or upgrade {entry.distribution}, or report it to its authors",
    )


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
