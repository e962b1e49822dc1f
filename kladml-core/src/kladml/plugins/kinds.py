"""The kinds of plugins: their entry-point group, their hook and their interface, in one place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

from kladml.errors import UnknownPluginError

if TYPE_CHECKING:
    from kladml.interfaces.backend import Backend

NAME_PATTERN = re.compile(r"[a-z][a-z0-9-]*")
"""What a plugin may be called; names are unique per kind."""

HOOKS = "hooks"
COMMANDS = "commands"


@dataclass(frozen=True, slots=True)
class PluginKind:
    """One kind of plugin.

    Attributes:
        name: What users call it, such as `storage`.
        hook: The hook that a plugin of this kind implements, or None where any lifecycle hook will do.
        interface_path: `module:Class` of the interface, or None where no class is registered.
        api_version: Current version of the interface; the registry also accepts the version before it.
    """

    name: str
    hook: str | None = None
    interface_path: str | None = None
    api_version: int = 1

    @property
    def group(self) -> str:
        """Name of the entry-point group."""
        return f"kladml.{self.name}"

    @property
    def accepted_versions(self) -> tuple[int, ...]:
        """The values of `api_version` that the registry accepts: the current one and, if any, the one before."""
        return tuple(range(max(1, self.api_version - 1), self.api_version + 1))

    @property
    def interface(self) -> type[Backend]:
        """The interface class of a backend kind."""
        if self.interface_path is None:
            problem = f"plugins of kind '{self.name}' have no backend interface"
            raise UnknownPluginError(problem)
        module, _, name = self.interface_path.partition(":")
        return cast("type[Backend]", getattr(import_module(module), name))


def _backend(name: str) -> PluginKind:
    path = f"kladml.interfaces.{name}:{name.capitalize()}Interface"
    return PluginKind(name, hook=f"kladml_register_{name}", interface_path=path)


BACKEND_KINDS = tuple(_backend(name) for name in ("storage", "config", "tracker", "publisher", "catalog"))
KINDS = {
    kind.name: kind
    for kind in (*BACKEND_KINDS, PluginKind(HOOKS), PluginKind(COMMANDS, hook="kladml_register_command"))
}


def kind_named(name: str) -> PluginKind:
    """Return the kind with a name.

    Raises:
        UnknownPluginError: There is no such kind.
    """
    try:
        return KINDS[name]
    except KeyError:
        problem = f"'{name}' is no kind of plugin"
        raise UnknownPluginError(problem, next_step=f"choose one of {', '.join(KINDS)}") from None
