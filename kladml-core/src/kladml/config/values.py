"""Checking entries against a dataclass schema with OmegaConf."""

from __future__ import annotations

import dataclasses
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from kladml.config.environment import PREFIX
from kladml.config.fields import SchemaKey, schema_keys
from kladml.config.secrets import is_secret_key, redact_text
from kladml.config.yaml_file import Unparsed
from kladml.errors import ConfigError, MissingSettingError, UnknownKeyError, WrongTypeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kladml.interfaces.config import ConfigEntry


def build(schema: type[Any], entries: Iterable[ConfigEntry], *, prefix: str = "", owner: str | None = None) -> Any:
    """Return an instance of a dataclass with the values of entries, all checked.

    Args:
        schema: The dataclass; its fields may be dataclasses.
        entries: Values by dotted key, later ones over earlier ones.
        prefix: What every key starts with; it is part of the keys in errors, and taken off for the schema.
        owner: Who defines the schema, named in errors.

    Raises:
        UnknownKeyError: A key is not in the schema; names the nearest one that is.
        WrongTypeError: A value has another type or is out of range.
        MissingSettingError: A key without default is not given.
    """
    keys = schema_keys(schema, prefix)
    entries = [*entries]
    if not entries and all(key.default is not dataclasses.MISSING for key in keys.values()):
        return schema()  # as OmegaConf would build it, without the time that its import takes
    from omegaconf import OmegaConf

    tree = OmegaConf.structured(schema)
    _unlock(tree)
    given = set()
    for entry in entries:
        key = _find(entry, keys, owner)
        value = _plain_value(entry, key)
        complaint = _assign(tree, entry.key[len(prefix) :], value, key, inside=entry.key != key.key)
        if complaint is not None:
            shown = "" if key.secret or is_secret_key(entry.key) else f", not {redact_text(repr(value))}"
            problem = f"{entry.origin}: {entry.key} {complaint}{shown}"
            step = f"what it is: {key.doc}" if key.doc else "kladml config show lists all keys"
            raise WrongTypeError(problem, owner=owner, next_step=step)
        given.add(key.key)
    for key in keys.values():
        if key.default is dataclasses.MISSING and key.key not in given:
            problem = f"the setting {key.key} ({key.type_name}) is missing"
            variable = _variable(key.key)
            raise MissingSettingError(
                problem, owner=owner, next_step=f"give it in kladml.yaml, as {variable} or with --set {key.key}=…"
            )
    return OmegaConf.to_object(tree)


def unknown_key(entry: ConfigEntry, known: Sequence[str], owner: str | None = None) -> UnknownKeyError:
    """Return the error for a key that no schema has, with the nearest one that is."""
    close = get_close_matches(entry.key, known, n=1, cutoff=0.6)
    if not close:  # a typo in a section's name leaves the last part intact
        tails = {key.rpartition(".")[2]: key for key in known}
        close = [tails[name] for name in get_close_matches(entry.key.rpartition(".")[2], tails, n=1, cutoff=0.8)]
    problem = f"{entry.origin}: unknown key {entry.key}"
    right = [_variable(key) if entry.origin.startswith("$") else key for key in close]
    step = f"did you mean {right[0]}?" if right else "kladml config show lists all keys"
    return UnknownKeyError(problem, owner=owner, next_step=step)


def _variable(key: str) -> str:
    return f"${PREFIX}{key.upper().replace('.', '__')}"


def _find(entry: ConfigEntry, keys: dict[str, SchemaKey], owner: str | None) -> SchemaKey:
    if entry.key in keys:
        return keys[entry.key]
    for key in keys.values():
        if key.free and entry.key.startswith(f"{key.key}."):
            return key
    if any(known.startswith(f"{entry.key}.") for known in keys):
        problem = f"{entry.origin}: {entry.key} is a section, not a value"
        raise WrongTypeError(problem, owner=owner, next_step="put keys below it")
    raise unknown_key(entry, list(keys), owner)


def _plain_value(entry: ConfigEntry, key: SchemaKey) -> Any:
    value = entry.value
    if isinstance(value, Unparsed):
        is_text = key.type_name.startswith("text")
        nothing = "none" in key.type_name and value.lower() in ("null", "none", "~")
        value = None if nothing else str(value) if is_text else value.parsed()
    if isinstance(value, str) and "${" in value:
        problem = f"{entry.origin}: {entry.key} contains ${{…}}, and configuration is data without interpolation"
        raise ConfigError(problem, next_step="write the value itself, or set it by an environment variable")
    return value


def _unlock(tree: Any) -> None:
    """Let values be put in: OmegaConf locks what comes from a frozen dataclass."""
    from omegaconf import DictConfig, OmegaConf

    OmegaConf.set_readonly(tree, value=False)
    for name in tree:
        if not OmegaConf.is_missing(tree, name) and isinstance(tree[name], DictConfig):
            _unlock(tree[name])


def _assign(tree: Any, path: str, value: Any, key: SchemaKey, *, inside: bool) -> str | None:
    """Put a value into the tree; return what is wrong with it, or None.

    Args:
        tree: OmegaConf's structured configuration.
        path: Dotted path in the tree.
        value: The value.
        key: The schema's key that the path is, or lies below.
        inside: Whether the path lies below the key.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(value, bool) and not inside and key.type_name.startswith(("int", "float", "text")):
        return f"must be {key.type_name}"  # OmegaConf would take true for 1
    if value is None and key.free and not inside:
        value = {}
    try:
        OmegaConf.update(tree, path, value, merge=True, force_add=key.free)
    except (OmegaConfBaseException, ValueError, TypeError):
        return f"must be {key.type_name}"
    return None if key.free else key.complaint(OmegaConf.select(tree, path))
