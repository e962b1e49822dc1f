"""The screens that stand beside the runs, imported when they are opened."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kladml_cli.ui.base import KladmlScreen

_SCREENS = {
    "data": "data_screen:DataScreen",
    "configs": "configs_screen:ConfigsScreen",
    "plugins": "plugins_screen:PluginsScreen",
    "logs": "logs_screen:LogsScreen",
}


def open_screen(name: str) -> KladmlScreen:
    """Return a new screen: `data`, `configs`, `plugins` or `logs`."""
    module, _, attribute = _SCREENS[name].partition(":")
    screen: KladmlScreen = getattr(import_module(f"kladml_cli.ui.{module}"), attribute)()
    return screen
