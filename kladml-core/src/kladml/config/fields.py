"""The keys of a dataclass schema, flat: what the documentation, the checks and the suggestions work from."""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import dataclass
from typing import Any
from unicodedata import category

from kladml.config.secrets import is_secret_key


@dataclass(frozen=True, slots=True)
class SchemaKey:
    """One leaf of a schema.

    Attributes:
        key: Dotted key.
        type_name: Type as people write it, such as `int` or `text or none`.
        default: Default value, or `dataclasses.MISSING`.
        doc: One sentence about the key.
        choices: The accepted values, or empty for any.
        least: The least accepted number, or None.
        below: The number that all accepted ones are less than, or None.
        one_line: Whether a text may hold no control character, such as a line break.
        free: Whether any keys may stand below it.
        secret: Whether its value must not be shown.
    """

    key: str
    type_name: str
    default: Any
    doc: str = ""
    choices: tuple[str, ...] = ()
    least: float | None = None
    free: bool = False
    secret: bool = False
    below: float | None = None
    one_line: bool = False

    def complaint(self, value: Any) -> str | None:
        """Return what is wrong with a value of the right type, or None."""
        if self.choices and value not in self.choices:
            return f"must be one of {', '.join(self.choices)}"
        if self.least is not None and isinstance(value, int | float) and not value >= self.least:
            return f"must be at least {self.least:g}"
        if self.below is not None and isinstance(value, int | float) and not value < self.below:
            return f"must be less than {self.below:g}"
        if self.one_line and any(category(character) in ("Cc", "Cs", "Zl", "Zp") for character in str(value)):
            return "must be one line without control characters"
        return None


def schema_keys(schema: type[Any], prefix: str = "") -> dict[str, SchemaKey]:
    """Return the leaf keys of a dataclass and of the dataclasses in it.

    Args:
        schema: The dataclass.
        prefix: What the keys start with, such as `training.`.
    """
    hints = typing.get_type_hints(schema)
    keys: dict[str, SchemaKey] = {}
    for field in dataclasses.fields(schema):
        hint = hints[field.name]
        key = prefix + field.name
        if dataclasses.is_dataclass(hint):
            keys |= schema_keys(typing.cast("type[Any]", hint), f"{key}.")
            continue
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        keys[key] = SchemaKey(
            key,
            _type_name(hint),
            default,
            field.metadata.get("doc", ""),
            field.metadata.get("choices", ()),
            field.metadata.get("least"),
            free=(typing.get_origin(hint) or hint) is dict,
            secret=field.metadata.get("secret", False) or is_secret_key(key),
            below=field.metadata.get("below"),
            one_line=field.metadata.get("one_line", False),
        )
    return keys


def _type_name(hint: Any) -> str:
    names = {str: "text", int: "int", float: "float", bool: "true or false", type(None): "none", Any: "any"}
    if hint in names:
        return names[hint]
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type_name(part) for part in typing.get_args(hint))
    if (origin or hint) is dict:
        return "mapping"
    if (origin or hint) in (list, tuple):
        return "list"
    return getattr(hint, "__name__", str(hint))
