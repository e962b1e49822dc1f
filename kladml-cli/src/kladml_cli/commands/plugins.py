"""`kladml plugins`: which are installed, what they can do, and whether they load."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from kladml_cli.completion.attach import completes
from kladml_cli.groups import CommandGroup
from kladml_cli.options import global_options
from kladml_cli.settings_options import json_option
from kladml_cli.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Callable

    from kladml.interfaces import Setting
    from kladml_cli.plugin_states import PluginState

GROUP_EPILOG = """\
Examples:

\b
  kladml plugins list
  kladml plugins show storage s3
  kladml plugins check
"""

LIST_EPILOG = """\
Examples:

\b
  kladml plugins list
  kladml plugins list storage --json
  kladml plugins list --time

KLADML_DISABLED_PLUGINS=storage/s3,some-distribution switches plugins off.
"""

SHOW_EPILOG = """\
Example:

\b
  kladml plugins show storage s3
"""

CHECK_EPILOG = """\
Examples:

\b
  kladml plugins check
  kladml plugins check tracker mlflow

The exit status is 4 if a plugin is broken.
"""

_STYLES: dict[str, dict[str, Any]] = {"broken": {"fg": "red"}, "collision": {"fg": "yellow"}, "disabled": {"dim": True}}


@click.group(cls=CommandGroup, epilog=GROUP_EPILOG)
def plugins() -> None:
    """See which plugins are installed; check them.

    A plugin has a kind (storage, config, tracker, publisher, catalog, hooks, commands), and a name that is
    unique in its kind.
    """


@plugins.command(name="list", epilog=LIST_EPILOG)
@click.argument("kind", required=False, shell_complete=completes("kinds"))
@click.option("--time", "with_time", is_flag=True, help="Load each plugin in a process of its own, and time it.")
@json_option
@global_options()
def list_plugins(*, kind: str | None, with_time: bool, as_json: bool) -> None:
    """List the installed plugins, all or those of one KIND.

    Without --time nothing is imported: a plugin is 'broken' if its module is missing or its name is not
    allowed, and other faults show when it is loaded.
    """
    found = _installed(kind)
    if with_time:
        from kladml_cli.progress import bar

        with bar("loading", len(found)) as progress:
            found = [_timed(state, progress) for state in found]
    _print(found, as_json=as_json, with_time=with_time)


@plugins.command(epilog=SHOW_EPILOG)
@click.argument("kind", shell_complete=completes("kinds"))
@click.argument("name", shell_complete=completes("plugins"))
@json_option
@global_options()
def show(*, kind: str, name: str, as_json: bool) -> None:
    """Show one plugin: whose it is, what it can do, and its settings with types, defaults and meaning."""
    from kladml.plugins import PluginRegistry
    from kladml_cli.plugin_description import describe
    from kladml_cli.terminal import print_json

    description = describe(kind, name, PluginRegistry())
    if as_json:
        print_json(description.as_dict())
        return
    for label, text in description.facts.items():
        echo(f"{label:<{max(map(len, description.facts))}}  {text}")
    if description.settings:
        # What the configuration comes from cannot be configured in it.
        given = "as arguments in Python" if kind == "config" else f"in the section {kind}.{name} of the configuration"
        echo()
        echo(f"Settings, {given}:")
    for setting in description.settings:
        _print_setting(setting)


@plugins.command(epilog=CHECK_EPILOG)
@click.argument("kind", required=False, shell_complete=completes("kinds"))
@click.argument("name", required=False, shell_complete=completes("plugins"))
@json_option
@global_options()
def check(*, kind: str | None, name: str | None, as_json: bool) -> None:
    """Load the plugins, all or those of KIND or the one with a NAME, and check that they keep the contract."""
    from kladml.plugins import PluginRegistry
    from kladml_cli.plugin_states import checked_states

    registry = PluginRegistry()
    found = _installed(kind)
    if kind is not None and name is not None:
        entry = registry.find(kind, name)
        found = [state for state in found if state.entry == entry]
    checked, error = checked_states(found, registry)
    _print(checked, as_json=as_json, with_time=True)
    if error is not None:
        raise error


def _installed(kind: str | None) -> list[PluginState]:
    from kladml.plugins import PluginRegistry
    from kladml.plugins.kinds import kind_named
    from kladml_cli.main import COMMANDS
    from kladml_cli.plugin_states import installed_states

    if kind is not None:
        kind_named(kind)
    states = installed_states(PluginRegistry(), frozenset(COMMANDS))
    return [state for state in states if kind in (None, state.entry.kind)]


def _timed(state: PluginState, progress: Callable[[int], object]) -> PluginState:
    from kladml_cli.plugin_states import BROKEN, DISABLED, timed_state

    timed = state if state.state in (BROKEN, DISABLED) else timed_state(state)
    progress(1)
    return timed


def _print(found: list[PluginState], *, as_json: bool, with_time: bool) -> None:
    from kladml_cli.terminal import print_json, print_table

    if as_json:
        print_json([state.as_dict() for state in found])
        return
    rows = []
    for state in found:
        entry = state.entry
        milliseconds = "" if state.milliseconds is None else f"{state.milliseconds:.0f} ms"
        status = state.state if state.problem is None else f"{state.state}: {state.problem}"
        cells = (entry.kind, entry.name, entry.distribution, entry.version)
        rows.append((*cells, milliseconds, status) if with_time else (*cells, status))
    header = ("KIND", "NAME", "DISTRIBUTION", "VERSION", *(["TIME"] if with_time else []), "STATE")
    print_table(header, rows, [_STYLES.get(state.state, {}) for state in found])


def _print_setting(setting: Setting) -> None:
    import textwrap

    from kladml_cli.terminal import width

    default = "required" if setting.required else f"default {_text(setting.default)}"
    secret = ", secret: from the environment only" if setting.secret else ""
    echo(f"  {setting.name}: {setting.type_name}, {default}{secret}")
    if setting.doc:
        click.echo(textwrap.fill(setting.doc, width(), initial_indent="      ", subsequent_indent="      "))


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
