"""The state of each installed plugin: what metadata tells, and what loading it tells."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from importlib.machinery import PathFinder
from importlib.util import find_spec
from typing import TYPE_CHECKING

from kladml.errors import BrokenPluginError, PluginError
from kladml.plugins.kinds import COMMANDS, HOOKS
from kladml.plugins.registry import load_module

if TYPE_CHECKING:
    from kladml.plugins import PluginEntry, PluginRegistry

OK = "ok"
DISABLED = "disabled"
COLLISION = "collision"
BROKEN = "broken"

_LONGEST_LOAD = 120.0
"""Seconds after which a plugin that is still loading counts as broken."""


@dataclass(frozen=True, slots=True)
class PluginState:
    """A plugin and how it is.

    Attributes:
        entry: The plugin.
        state: `ok`, `disabled`, `collision` or `broken`.
        problem: What is wrong, or None.
        milliseconds: How long it took to load, or None if that was not measured.
    """

    entry: PluginEntry
    state: str = OK
    problem: str | None = None
    milliseconds: float | None = None

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON-able data."""
        return {
            "kind": self.entry.kind,
            "name": self.entry.name,
            "distribution": self.entry.distribution,
            "version": self.entry.version,
            "state": self.state,
            "problem": self.problem,
            "milliseconds": self.milliseconds,
        }


def installed_states(registry: PluginRegistry, built_in_commands: frozenset[str]) -> list[PluginState]:
    """Return the state of every installed plugin as far as it shows without importing any.

    Args:
        registry: The registry.
        built_in_commands: Commands of KladML itself, which no plugin can replace.
    """
    return [_state(entry, registry, built_in_commands) for entry in registry.index.entries]


def checked_states(states: list[PluginState], registry: PluginRegistry) -> tuple[list[PluginState], PluginError | None]:
    """Load plugins in this process, but for disabled ones.

    Returns:
        Their states then, and an error that names all broken ones, or None.
    """
    checked, errors = [], []
    for state in states:
        began = time.perf_counter()
        try:
            if state.state != DISABLED:
                load(state.entry, registry)
        except PluginError as error:
            checked.append(replace(state, state=BROKEN, problem=error.problem))
            errors.append(error)
        else:
            took = None if state.state == DISABLED else round(1000 * (time.perf_counter() - began), 1)
            checked.append(replace(state, milliseconds=took))
    if len(errors) < 2:  # noqa: PLR2004 - several need an error that names them all
        return checked, next(iter(errors), None)
    names = ", ".join(f"{state.entry} ({state.entry.owner})" for state in checked if state.state == BROKEN)
    problem = f"{len(errors)} of {len(states)} plugins cannot be used: {names}"
    return checked, BrokenPluginError(problem, next_step="reinstall or upgrade them")


def load(entry: PluginEntry, registry: PluginRegistry) -> object:
    """Load a plugin of any kind: return the class of a backend, a command, or a module with lifecycle hooks.

    Raises:
        PluginError: It cannot be used.
    """
    registry.find(entry.kind, selector(entry))
    if entry.kind == HOOKS:
        return load_module(entry)[0]
    if entry.kind == COMMANDS:
        from kladml_cli.plugin_commands import load_plugin_command

        return load_plugin_command(entry)
    return registry.load(entry.kind, selector(entry))


def timed_state(found: PluginState) -> PluginState:
    """Load a plugin in a Python process of its own, so that no plugin profits from what another one imported."""
    entry = found.entry
    command = ["plugins", "check", entry.kind, selector(entry), "--json"]
    try:
        done = subprocess.run(  # noqa: S603 - this very command
            [sys.executable, "-P", "-m", "kladml_cli", *command],
            capture_output=True,
            text=True,
            timeout=_LONGEST_LOAD,
            check=False,
        )
        answer = json.loads(done.stdout)[0]
    except subprocess.TimeoutExpired:
        return replace(found, state=BROKEN, problem=f"is still loading after {_LONGEST_LOAD:.0f} s")
    except (ValueError, LookupError):
        return replace(found, state=BROKEN, problem=f"ended the process with the status {done.returncode}")
    state = found.state if answer["state"] == OK else answer["state"]
    return replace(found, state=state, problem=answer["problem"], milliseconds=answer["milliseconds"])


def selector(entry: PluginEntry) -> str:
    """Return what selects this plugin and no other of the same name."""
    return f"{entry.distribution}:{entry.name}"


def _state(entry: PluginEntry, registry: PluginRegistry, built_in_commands: frozenset[str]) -> PluginState:
    if entry.disabled:
        return PluginState(entry, DISABLED)
    if not entry.valid_name:
        return PluginState(entry, BROKEN, "has a bad name: lower-case letters, digits and - are allowed")
    if missing := _missing_module(entry):
        return PluginState(entry, BROKEN, f"there is no module {missing}")
    rivals = [
        other.owner
        for other in registry.index.of_kind(entry.kind)
        if other.name == entry.name and other != entry and not other.disabled
    ]
    if entry.kind == COMMANDS and entry.name in built_in_commands:
        rivals.append("KladML itself")
    return PluginState(entry, COLLISION, f"also offered by {' and '.join(rivals)}") if rivals else PluginState(entry)


def _missing_module(entry: PluginEntry) -> str | None:
    """Return the module of a plugin if it is not there, without importing even the package around it."""
    top, *parts = entry.value.partition(":")[0].split(".")
    try:
        spec = find_spec(top)
        name = top
        for part in parts:
            if spec is None or spec.submodule_search_locations is None:
                return name if spec is None else f"{name}.{part}"
            name = f"{name}.{part}"
            spec = PathFinder.find_spec(name, spec.submodule_search_locations)
    except (ImportError, ValueError):
        return entry.value
    return name if spec is None else None
