"""The pluggy markers of the project `kladml`."""

import pluggy

PROJECT = "kladml"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as the implementation of a KladML hook."""
