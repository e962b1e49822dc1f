"""The settings of a backend class: their names, types, defaults and documentation."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from dataclasses import MISSING, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kladml.interfaces.backend import Backend


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a backend.

    Attributes:
        name: Name of the field or parameter.
        type_name: Its type as written.
        default: Its default, or `dataclasses.MISSING` when it must be given.
        doc: One sentence about it; empty if the class gives none.
        secret: Whether only the environment may set it.
    """

    name: str
    type_name: str
    default: Any
    doc: str = ""
    secret: bool = False

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is MISSING


def settings_of(backend_class: type[Backend]) -> list[Setting]:
    """List the settings of a backend class: the fields of its dataclass, or its `__init__` parameters."""
    if backend_class.settings_class is not None:
        hints = _hints(backend_class.settings_class)
        fields = dataclasses.fields(backend_class.settings_class)
        return [_from_field(field, hints.get(field.name, field.type)) for field in fields if field.init]
    if backend_class.__init__ is object.__init__:
        return []
    parameters = list(inspect.signature(backend_class.__init__).parameters.values())[1:]
    return [
        Setting(
            parameter.name,
            _type_name(parameter.annotation),
            MISSING if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in parameters
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]


def _hints(settings_class: type[Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(settings_class)
    except NameError:  # a type that is imported for type checkers only; its name as written will do
        return {}


def _from_field(field: dataclasses.Field[Any], hint: Any) -> Setting:
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return Setting(
        field.name, _type_name(hint), default, field.metadata.get("doc", ""), field.metadata.get("secret", False)
    )


def _type_name(hint: Any) -> str:
    if hint is inspect.Parameter.empty:
        return "any"
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
