"""The layers of a configuration, lowest first: source, run file, profile, environment, overrides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kladml.config.fields import schema_keys
from kladml.config.schema import RunConfig
from kladml.config.yaml_file import Unparsed
from kladml.errors import ConfigError, UnknownKeyError
from kladml.interfaces.config import ConfigEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kladml.interfaces.config import ConfigInterface

BACKEND_SECTIONS = ("storage", "tracker", "publisher", "catalog")
"""Sections of the form `{use: NAME, NAME: {…settings…}}`."""

PROFILES = "profiles"

_MISSING = object()


def flatten(values: Mapping[str, Any], origin: str, prefix: str = "") -> Iterator[ConfigEntry]:
    """Yield a nested mapping as entries, one per leaf."""
    for name, value in values.items():
        key = f"{prefix}{name}"
        if hasattr(value, "items") and value:
            yield from flatten(value, origin, f"{key}.")
        else:
            yield ConfigEntry(key, value, origin)


def from_source(source: ConfigInterface) -> list[ConfigEntry]:
    """Read everything that a configuration source has.

    A source that cannot list its entries is asked for every key of the schema and for every section with
    free keys.
    """
    if "entries" in source.capabilities:
        return list(source.entries())
    origin = type(source).__name__
    entries = []
    for key in (*schema_keys(RunConfig), *BACKEND_SECTIONS, *(f"{name}.use" for name in BACKEND_SECTIONS)):
        value = source.get(key, _MISSING)
        if value is not _MISSING and value is not None:
            entries += list(flatten({key: value}, origin))
    return entries


def from_overrides(overrides: Iterable[str]) -> list[ConfigEntry]:
    """Read `a.b=c` texts.

    Raises:
        ConfigError: A text has no `=` or no key.
    """
    entries = []
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            problem = f"--set {override} is no key=value"
            raise ConfigError(problem, next_step="write it as --set training.max_epochs=5")
        entries.append(ConfigEntry(key.strip(), Unparsed(text.strip()), "--set"))
    return entries


def split_profiles(entries: Iterable[ConfigEntry]) -> tuple[list[ConfigEntry], dict[str, list[ConfigEntry]]]:
    """Separate the `profiles` section: return the other entries, and the entries of each profile."""
    plain: list[ConfigEntry] = []
    profiles: dict[str, list[ConfigEntry]] = {}
    for entry in entries:
        section, _, rest = entry.key.partition(".")
        if section != PROFILES:
            plain.append(entry)
            continue
        name, _, key = rest.partition(".")
        entries_of_profile = profiles.setdefault(name, []) if name else []
        if key:
            entries_of_profile.append(ConfigEntry(key, entry.value, f"{entry.origin} (profile {name})"))
    return plain, profiles


def pick_profile(profiles: Mapping[str, list[ConfigEntry]], name: str | None) -> list[ConfigEntry]:
    """Return the entries of the chosen profile.

    Raises:
        UnknownKeyError: The profile is not defined.
    """
    if name is None:
        return []
    if name not in profiles:
        known = ", ".join(sorted(profiles)) or "none"
        problem = f"there is no profile '{name}' (defined: {known})"
        raise UnknownKeyError(problem, next_step="define it under profiles: in kladml.yaml")
    return profiles[name]
