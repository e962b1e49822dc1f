"""Resolving layers into one checked configuration whose every value knows its origin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kladml.config.fields import schema_keys
from kladml.config.layers import BACKEND_SECTIONS, pick_profile, split_profiles
from kladml.config.schema import RunConfig
from kladml.config.secrets import MASK, is_secret_key, redact, require_environment
from kladml.config.values import build, unknown_key
from kladml.config.yaml_file import Unparsed
from kladml.errors import ConfigError, WrongTypeError
from kladml.interfaces.config import ConfigEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

OFF = "none"
"""The name that switches a backend off."""


@dataclass(frozen=True)
class ResolvedConfig:
    """A checked configuration.

    Attributes:
        run: The typed values of everything but the backends.
        entries: What was set, by key; keys that are not here have their defaults.
        secret_keys: Keys that a backend's class declares secret, known once its settings were checked; their
            values are masked wherever the configuration is shown or stored.
    """

    run: RunConfig
    entries: dict[str, ConfigEntry] = field(default_factory=dict)
    secret_keys: set[str] = field(default_factory=set)

    def selected(self, kind: str) -> list[str] | None:
        """Return the names selected for a backend kind, an empty list for none, or None if nothing was said.

        Raises:
            WrongTypeError: The section's `use` is neither a name nor a list of names.
        """
        entry = self.entries.get(f"{kind}.use")
        if entry is None:
            return None
        value = entry.value.parsed() if isinstance(entry.value, Unparsed) else entry.value
        names = [] if value in (None, OFF, False) else value if isinstance(value, list) else [value]
        if not all(isinstance(name, str) for name in names):
            problem = f"{entry.origin}: {entry.key} must be a name or a list of names, not {value!r}"
            raise WrongTypeError(problem, next_step=f"write {kind}: {{use: NAME}}")
        return [name for name in names if name != OFF]

    def settings(self, kind: str, name: str) -> list[ConfigEntry]:
        """Return the entries of one backend's block, with their full keys.

        A block's name is matched with `_` for `-` as well, because environment variables know no `-`.
        """
        wanted = f"{kind}.{name}."
        found = []
        for entry in self.entries.values():
            key = entry.key.replace(f"{kind}.{name.replace('-', '_')}.", wanted, 1)
            if key.startswith(wanted):
                found.append(ConfigEntry(key, entry.value, entry.origin))
        return found

    def rows(self) -> list[ConfigEntry]:
        """Return every value with its origin, defaults included and secrets masked, in the order of the schema."""
        rows = []
        for key in schema_keys(RunConfig).values():
            if key.key in self.entries:
                rows.append(self._shown(self.entries[key.key], self._typed(key.key)))
            elif not any(name.startswith(f"{key.key}.") for name in self.entries):
                rows.append(ConfigEntry(key.key, key.default, "default"))
            rows += [
                self._shown(entry, entry.value)
                for name, entry in self.entries.items()
                if key.free and name.startswith(f"{key.key}.")
            ]
        backends = [entry for key, entry in self.entries.items() if key.partition(".")[0] in BACKEND_SECTIONS]
        return rows + [self._shown(entry, entry.value) for entry in sorted(backends, key=lambda entry: entry.key)]

    def as_dict(self) -> dict[str, Any]:
        """Return all values as nested plain data with secrets masked: what is stored with a run."""
        tree: dict[str, Any] = {}
        for row in self.rows():
            *sections, leaf = row.key.split(".")
            node = tree
            for section in sections:
                node = node.setdefault(section, {})
            node[leaf] = row.value
        return tree

    def _typed(self, key: str) -> Any:
        value: Any = self.run
        for part in key.split("."):
            value = getattr(value, part)
        return value

    def _shown(self, entry: ConfigEntry, value: Any) -> ConfigEntry:
        plain = value.parsed() if isinstance(value, Unparsed) else value
        secret = entry.key in self.secret_keys and plain is not None
        return ConfigEntry(entry.key, MASK if secret else redact(entry.key, plain), entry.origin)


def resolve(
    files: Sequence[ConfigEntry] = (),
    environment: Iterable[ConfigEntry] = (),
    overrides: Iterable[ConfigEntry] = (),
    *,
    profile: str | None = None,
) -> ResolvedConfig:
    """Merge layers, lowest first: files, the chosen profile, environment, overrides; check all of it.

    Settings of backends that are not selected are kept but not checked; those of selected ones are checked by
    `backend_settings`, when their class is known.

    Args:
        files: Entries of the configuration source and then of the run's file.
        environment: Entries of environment variables.
        overrides: Entries of flags and of arguments in code.
        profile: Name of the profile to apply.

    Raises:
        ConfigError: A key is unknown, a value does not fit, the profile is not defined, or a secret stands in
            a file.
    """
    keys = schema_keys(RunConfig)
    plain, profiles = split_profiles(files)
    entries: dict[str, ConfigEntry] = {}
    for entry in (*plain, *pick_profile(profiles, profile), *environment, *overrides):
        if not _is_empty_section(entry, keys):
            _put(entries, _section_shorthand(entry))
    known = [*keys, *(f"{kind}.use" for kind in BACKEND_SECTIONS)]
    for entry in entries.values():
        section, _, rest = entry.key.partition(".")
        if section in BACKEND_SECTIONS:
            _check_backend_entry(entry, rest, known)
    ours = [entry for entry in entries.values() if entry.key.partition(".")[0] not in BACKEND_SECTIONS]
    try:
        run = build(RunConfig, ours)
    except ConfigError:
        _reraise_with_sections(ours, known)
        raise
    return ResolvedConfig(run, entries)


def _put(entries: dict[str, ConfigEntry], entry: ConfigEntry) -> None:
    """Set an entry; one that replaces a whole section or list takes the keys below it away."""
    if not (isinstance(entry.value, dict) and not entry.value):
        for key in [key for key in entries if key.startswith(f"{entry.key}.")]:
            del entries[key]
    entries.pop(entry.key, None)
    entries[entry.key] = entry


def _is_empty_section(entry: ConfigEntry, known: Iterable[str]) -> bool:
    """Tell whether an entry is a section whose keys are all commented out, which says nothing."""
    if entry.value is not None:
        return False
    return entry.key in BACKEND_SECTIONS or any(key.startswith(f"{entry.key}.") for key in known)


def _section_shorthand(entry: ConfigEntry) -> ConfigEntry:
    """Read `storage: s3` as `storage: {use: s3}`."""
    if entry.key in BACKEND_SECTIONS and not isinstance(entry.value, dict):
        return ConfigEntry(f"{entry.key}.use", entry.value, entry.origin)
    return entry


def _check_backend_entry(entry: ConfigEntry, rest: str, known: list[str]) -> None:
    if rest and rest != "use" and "." not in rest and not isinstance(entry.value, dict) and entry.value is not None:
        raise unknown_key(entry, known)
    if is_secret_key(entry.key):
        require_environment(entry)


def _reraise_with_sections(entries: list[ConfigEntry], known: list[str]) -> None:
    """Prefer a misspelt section (`storag:`) to a complaint about the keys in it."""
    sections = {key.partition(".")[0] for key in known}
    for entry in entries:
        if entry.key.partition(".")[0] not in sections:
            raise unknown_key(entry, known) from None
