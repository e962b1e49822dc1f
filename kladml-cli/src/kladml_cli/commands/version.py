"""`kladml version`."""

from __future__ import annotations

from contextlib import suppress

import click

from kladml_cli.options import global_options
from kladml_cli.settings_options import json_option

EPILOG = """\
Example:

\b
  kladml version --json
"""

_OTHERS = ("torch", "accelerate")


@click.command(epilog=EPILOG)
@json_option
@global_options()
def version(*, as_json: bool) -> None:
    """Show the installed versions of KladML.

    Every distribution of KladML and every one that brings a plugin is named, then what a report of a fault
    should say besides.
    """
    import platform

    from kladml_cli.terminal import print_json, print_table

    ours, others = _installed()
    others |= {"python": platform.python_version(), "platform": platform.platform()}
    if as_json:
        print_json({"distributions": ours, **others})
        return
    print_table(("DISTRIBUTION", "VERSION"), [*ours.items(), *others.items()])


def _installed() -> tuple[dict[str, str], dict[str, str]]:
    """Return the versions of KladML's distributions and of those with plugins, and of what they run on."""
    import importlib_metadata

    from kladml.plugins import PluginIndex

    versions: dict[str, str] = {}
    for distribution in importlib_metadata.distributions():
        with suppress(LookupError, TypeError, OSError):  # damaged metadata
            # The first on the path is the one that imports see.
            versions.setdefault(distribution.name, distribution.version)
    with_plugins = {entry.distribution for entry in PluginIndex.scan().entries}
    ours = {name for name in versions if name == "kladml" or name.startswith("kladml-")} | with_plugins
    return {name: versions[name] for name in sorted(ours)}, {name: versions.get(name, "") for name in _OTHERS}
