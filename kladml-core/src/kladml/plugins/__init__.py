"""Plugins: entry points are the index, pluggy is the contract."""

from kladml.plugins.index import PluginEntry, PluginIndex
from kladml.plugins.kinds import BACKEND_KINDS, KINDS, PluginKind
from kladml.plugins.lifecycle import LifecycleHooks
from kladml.plugins.markers import hookimpl, hookspec
from kladml.plugins.registry import PluginRegistry
from kladml.plugins.run_info import RunInfo

__all__ = [
    "BACKEND_KINDS",
    "KINDS",
    "LifecycleHooks",
    "PluginEntry",
    "PluginIndex",
    "PluginKind",
    "PluginRegistry",
    "RunInfo",
    "hookimpl",
    "hookspec",
]
