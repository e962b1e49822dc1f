"""Writes the parts of the pages that follow from the code; `python docs/generate.py` brings them up to date.

A page marks such a part with `<!-- generated: NAME -->` and `<!-- end of NAME -->`. The test
`tests/docs/test_generated.py` fails where a page says something else than the code.
"""

from __future__ import annotations

import dataclasses
import html
import inspect
import re
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import click

    from kladml.config import SchemaKey
    from kladml.interfaces import Setting

DOCS = Path(__file__).parent
ROOT = DOCS.parent

_PART = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end of (?P=name) -->)", re.DOTALL)

_OTHER_STATUSES = {
    0: "Done.",
    1: "Your own code failed, or KladML failed unexpectedly.",
    2: "The command was typed wrongly: an unknown option, a missing argument.",
    130: "Interrupted with Ctrl-C (SIGINT), after a checkpoint was saved; a run is marked KILLED.",
    138: "Ended by SIGUSR1, likewise; 158 on macOS.",
    141: "The output was closed, as by `| head`.",
    143: "Ended by SIGTERM, likewise.",
}
"""The exit statuses that are no error's own."""


def regenerated(text: str) -> str:
    """Return a page with every generated part written anew."""
    return _PART.sub(lambda part: f"{part[1]}\n{PARTS[part['name']]().strip()}\n\n{part[3]}", text)


def configuration_keys() -> str:
    """Return a table of keys for each section of the schema."""
    from kladml.config import RunConfig, schema_keys

    sections: dict[str, list[SchemaKey]] = {}
    for key in schema_keys(RunConfig).values():
        sections.setdefault(key.key.rpartition(".")[0], []).append(key)
    tables = []
    for section, keys in sections.items():
        head = f"### Section `{section}`" if section else "### Top level"
        rows = [(f"`{key.key}`", _key_type(key), _default(key.default), key.doc) for key in keys]
        tables += [head, _table(("Key", "Type", "Default", "Meaning"), rows)]
    return "\n\n".join(tables)


def backend_settings() -> str:
    """Return a table of settings for each backend that this repository ships."""
    from kladml.interfaces import settings_of
    from kladml.plugins import PluginIndex, PluginRegistry

    entries = sorted(_shipped_plugins())
    registry = PluginRegistry(PluginIndex(entries))
    parts = []
    for entry in entries:
        if entry.kind in ("hooks", "commands"):
            continue
        backend_class = registry.load(entry.kind, entry.name)
        offered = ", ".join(f"`{name}`" for name in sorted(backend_class.capabilities)) or "none"
        parts.append(f"### {entry.kind} `{entry.name}`")
        parts.append(f"Distribution `{entry.distribution}`. Capabilities: {offered}.")
        rows = [_setting_row(setting) for setting in settings_of(backend_class)]
        parts.append(_table(("Setting", "Type", "Default", "Meaning"), rows) if rows else "It has no settings.")
    return "\n\n".join(parts)


def exit_statuses() -> str:
    """Return a table of the exit statuses of the command."""
    meanings = dict(_OTHER_STATUSES)
    for error in _errors():
        brings_its_own = error.exit_code != getattr(error.__bases__[0], "exit_code", None)
        if brings_its_own and error.exit_code not in _OTHER_STATUSES:
            text = f"`{error.__name__}`: {_first_sentence(error)}"
            meanings[error.exit_code] = f"{meanings.get(error.exit_code, '')} {text}".strip()
    return _table(("Status", "When"), [(f"`{status}`", meanings[status]) for status in sorted(meanings)])


def error_tree() -> str:
    """Return a table of all error classes."""
    rows = [
        (f"`{error.__name__}`", f"`{error.__bases__[0].__name__}`", f"`{error.exit_code}`", _first_sentence(error))
        for error in _errors()
    ]
    return _table(("Error", "Is a", "Status", "When"), rows)


def command_reference() -> str:
    """Return usage, text, options and examples of every command."""
    from kladml_cli.main import kladml

    return "\n\n".join(_command(kladml, "kladml", None))


def _command(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    import click

    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    yield f"{'##' if parent is None or parent.parent is None else '###'} `{context.command_path}`"
    yield f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```"
    yield _prose(command.help or "")
    options = [parameter for parameter in command.get_params(context) if isinstance(parameter, click.Option)]
    rows = [_option_row(option, context) for option in options if not (option.hidden or "--help" in option.opts)]
    if rows:
        yield _table(("Option", "Meaning"), rows)
    if command.epilog:
        yield _prose(command.epilog)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None and not found.hidden:
                yield from _command(found, child, context)


def _prose(text: str) -> str:
    """Return help text as Markdown; what click keeps as it is laid out becomes a code block."""
    parts = []
    for part in inspect.cleandoc(text).split("\n\n"):
        if part.startswith("\b\n"):
            parts.append(f"```sh\n{textwrap.dedent(part[2:])}\n```")
        else:
            parts.append(html.escape(part, quote=False).replace("*", r"\*"))
    return "\n\n".join(parts)


def _option_row(option: click.Option, context: click.Context) -> tuple[str, str]:
    name, meaning = option.get_help_record(context) or (option.opts[0], "")
    return f"`{name}`", meaning


def _key_type(key: SchemaKey) -> str:
    parts = [key.type_name]
    if key.choices:
        parts = [", ".join(f"`{choice}`" for choice in key.choices)]
    if key.least is not None:
        parts.append(f"at least {key.least:g}")
    if key.below is not None:
        parts.append(f"less than {key.below:g}")
    return "; ".join(parts)


def _setting_row(setting: Setting) -> tuple[str, str, str, str]:
    type_name = setting.type_name.replace("str", "text").replace(" | ", " or ").replace("None", "none")
    doc = f"{setting.doc} A secret: only the environment may set it." if setting.secret else setting.doc
    default = "required" if setting.required else _default(setting.default)
    return f"`{setting.name}`", type_name, default, doc


def _default(value: Any) -> str:
    if value is dataclasses.MISSING:
        return "required"
    if value is None:
        return "none"
    if value in ({}, [], ()):
        return "empty"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value != "" else "empty"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _errors() -> list[Any]:
    """Return all error classes in the order in which `kladml.errors` defines them."""
    from kladml import errors

    return [
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.KladMLError)
    ]


def _first_sentence(error: type[Exception]) -> str:
    return " ".join((error.__doc__ or "").split("\n\n", maxsplit=1)[0].split())


def _shipped_plugins() -> Iterator[Any]:
    """Yield the plugins of the repository's own distributions, whatever else is installed."""
    from kladml.plugins import KINDS, PluginEntry

    for file in sorted(ROOT.glob("kladml-*/pyproject.toml")):
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        for kind in KINDS.values():
            for name, value in project.get("entry-points", {}).get(kind.group, {}).items():
                yield PluginEntry(kind.name, name, project["name"], project["version"], value)


PARTS: dict[str, Callable[[], str]] = {
    "backends": backend_settings,
    "commands": command_reference,
    "errors": error_tree,
    "exit-statuses": exit_statuses,
    "keys": configuration_keys,
}


def main() -> None:
    """Rewrite every page that has a generated part."""
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        new = regenerated(text)
        if new != text:
            page.write_text(new, encoding="utf-8")
            print(f"wrote {page.relative_to(ROOT)}", file=sys.stderr)  # noqa: T201 - a script


if __name__ == "__main__":
    main()
