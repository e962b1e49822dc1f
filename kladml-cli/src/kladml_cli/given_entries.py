"""The configuration entries that an invocation's options gave."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click

    from kladml.interfaces import ConfigEntry

_ENTRIES = "kladml_cli.entries"


def entries_of(context: click.Context) -> list[ConfigEntry]:
    """Return the configuration entries that the options of this invocation gave, in the order of the flags."""
    entries: list[ConfigEntry] = context.meta.setdefault(_ENTRIES, [])
    return entries
