"""Completing names of plugins, profiles and metrics, and keys of the configuration with their values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kladml.plugins.kinds import KINDS
from kladml_cli.completion.surroundings import item

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.shell_completion import CompletionItem

    from kladml.config.fields import SchemaKey
    from kladml_cli.completion.surroundings import Surroundings

_NONE = "none"
_COPIED = ("storage", "tracker")


def kinds(_: Surroundings, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete a kind of plugins."""
    for kind in KINDS.values():
        if kind.name.startswith(incomplete):
            yield item(kind.name)


def plugins(here: Surroundings, incomplete: str, kind: str = "") -> Iterator[CompletionItem[str]]:
    """Complete the name of an installed plugin, of one kind or of the kind that was typed before."""
    for name, owner in _installed(kind or here.given("kind")):
        if name.startswith(incomplete):
            yield item(name, owner)


def copy_targets(_: Surroundings, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete `storage=NAME,tracker=NAME`."""
    before, comma, last = incomplete.rpartition(",")
    kind, equals, _name = last.partition("=")
    for each in _COPIED:
        if not equals and f"{each}=" not in before and each.startswith(kind):
            yield item(f"{before}{comma}{each}=", goes_on=True)
        elif equals and each == kind:
            for name, owner in _installed(each):
                if (text := f"{each}={name}").startswith(last):
                    yield item(f"{before}{comma}{text}", owner)


def profiles(here: Surroundings, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete a profile of the workspace's configuration, or of the run's file."""
    for name in _profiles(here):
        if name.startswith(incomplete):
            yield item(name)


def metrics(here: Surroundings, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete the name of a metric that the newest runs have."""
    for name in _metrics(here):
        if name.startswith(incomplete):
            yield item(name)


def order(here: Surroundings, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete what runs are sorted by, largest first with a minus."""
    names = [*_metrics(here), "seconds", "started_at", "number", "status"]
    for text in (*names, *(f"-{name}" for name in names)):
        if text.startswith(incomplete):
            yield item(text)


def settings(here: Surroundings, incomplete: str) -> Iterator[CompletionItem[str]]:
    """Complete `KEY=VALUE`: the key, then what it may be."""
    from kladml.config import BACKEND_SECTIONS, RunConfig, schema_keys

    name, equals, _ = incomplete.partition("=")
    keys = schema_keys(RunConfig)
    if equals:
        key = keys.get(name)
        for value in _values(here, name, key):
            if (text := f"{name}={value}").startswith(incomplete):
                yield item(text)
        return
    for key in keys.values():
        text = f"{key.key}{'.' if key.free else '='}"
        if text.startswith(incomplete):
            yield item(text, key.doc, goes_on=True)
    for section in BACKEND_SECTIONS:
        if (text := f"{section}.use=").startswith(incomplete):
            yield item(text, "Which is selected, by name.", goes_on=True)


def _values(here: Surroundings, name: str, key: SchemaKey | None) -> list[str]:
    from kladml_cli.completion.files import data

    section, _, leaf = name.partition(".")
    if leaf == "use":
        return [*(plugin for plugin, _ in _installed(section)), _NONE]
    if key is None:
        return []
    if name in ("data.train", "data.val"):
        return [found.value for found in data(here, "") if found.type == "plain"]
    if name.endswith(".monitor"):
        return _metrics(here)
    return ["true", "false"] if key.type_name == "true or false" else list(key.choices)


def _installed(kind: str | None) -> list[tuple[str, str]]:
    """Return the usable plugins of a kind with their owners."""
    from kladml.plugins import PluginIndex

    entries = PluginIndex.scan().entries
    return [(one.name, one.owner) for one in entries if one.kind == kind and one.valid_name and not one.disabled]


def _metrics(here: Surroundings) -> list[str]:
    return [] if here.catalog is None else here.catalog.metrics()


def _profiles(here: Surroundings) -> list[str]:
    from kladml.config.layers import split_profiles

    return [*split_profiles(here.in_files)[1]]
