"""What arguments and options take, so that a shell can complete it; nothing is imported before it does."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import click
    from click.shell_completion import CompletionItem

    Completer = Callable[[click.Context, click.Parameter, str], list["CompletionItem[str]"]]

WHERE = {
    "checkpoints": "addresses:checkpoints",
    "entries": "addresses:entries",
    "experiments": "addresses:experiments",
    "experiments below": "addresses:experiments_below",
    "parents": "addresses:parents",
    "resumable": "addresses:resumable",
    "runs": "addresses:runs",
    "configs": "files:configs",
    "configs or runs": "addresses:configs_or_runs",
    "data": "files:data",
    "data sets": "files:data_sets",
    "files": "files:files",
    "folders": "files:folders",
    "versions": "files:versions",
    "copy targets": "settings:copy_targets",
    "kinds": "settings:kinds",
    "metrics": "settings:metrics",
    "order": "settings:order",
    "plugins": "settings:plugins",
    "profiles": "settings:profiles",
    "settings": "settings:settings",
}
"""What can be completed, and the function that does it."""


def completes(what: str) -> Completer:
    """Return what click calls to complete a value.

    Args:
        what: One of `WHERE`; `entries`, `parents` and `plugins` may be followed by a level or a kind.
    """
    name, _, more = (what, "", "") if what in WHERE else what.partition(" ")
    module, _, function = WHERE[name].partition(":")

    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        from kladml_cli.completion.surroundings import Surroundings

        found = getattr(import_module(f"kladml_cli.completion.{module}"), function)
        items: list[CompletionItem[str]] = list(found(Surroundings(context), incomplete, *([more] if more else [])))
        return items

    return complete
