"""Commands that plugins bring, in the entry-point group `kladml.commands`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kladml.errors import BrokenPluginError, UnknownPluginError
from kladml.plugins import PluginRegistry
from kladml.plugins.kinds import COMMANDS
from kladml.plugins.registry import load_registered

if TYPE_CHECKING:
    from kladml.plugins import PluginEntry


def find_plugin_command(name: str) -> click.Command | None:
    """Return the command that a plugin brings under a name, or None if no plugin does.

    Raises:
        PluginError: A plugin has that name and cannot be used.
    """
    try:
        entry = PluginRegistry().find(COMMANDS, name)
    except UnknownPluginError:
        return None
    return load_plugin_command(entry)


def load_plugin_command(entry: PluginEntry) -> click.Command:
    """Import a plugin and return its command.

    Raises:
        BrokenPluginError: It does not import, or brings no command.
    """
    command = load_registered(entry)
    if isinstance(command, click.Command):
        return command
    problem = f"{entry.kind} '{entry.name}' registers {command!r}, which is no click.Command"
    raise BrokenPluginError(problem, owner=entry.owner, next_step=f"report it to the authors of {entry.distribution}")


def plugin_command_names() -> list[str]:
    """Return the names of the commands that plugins bring."""
    entries = PluginRegistry().index.of_kind(COMMANDS)
    return [entry.name for entry in entries if entry.valid_name and not entry.disabled]
