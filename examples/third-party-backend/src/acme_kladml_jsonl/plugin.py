"""The plugin `jsonl` of kind tracker. It imports nothing heavy: the implementation comes in the hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kladml.plugins import hookimpl

if TYPE_CHECKING:
    from kladml import TrackerInterface


@hookimpl
def kladml_register_tracker() -> type[TrackerInterface]:
    """Return the tracker class."""
    from acme_kladml_jsonl.tracker import JsonlTracker

    return JsonlTracker
