"""Checking one selected backend's settings against what its class declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kladml.config.secrets import require_environment
from kladml.config.values import build, unknown_key
from kladml.config.yaml_file import Unparsed
from kladml.errors import MissingSettingError
from kladml.interfaces.settings import settings_of

if TYPE_CHECKING:
    from kladml.config.resolve import ResolvedConfig
    from kladml.interfaces import Backend


def backend_settings(
    config: ResolvedConfig, kind: str, name: str, backend_class: type[Backend], owner: str | None = None
) -> Any:
    """Return the settings of a selected backend, ready for its `from_settings`.

    Args:
        config: The resolved configuration.
        kind: Kind of the backend.
        name: Name of its block in the section of the kind.
        backend_class: The class; its `settings_class` or its `__init__` says which settings there are.
        owner: The distribution that owns the class, named in errors.

    Returns:
        An instance of `settings_class`, or a dict of `__init__` arguments when the class declares none.

    Raises:
        UnknownKeyError: A setting is not one of the class's.
        WrongTypeError: A setting has another type.
        MissingSettingError: A setting without default is not given.
        ConfigError: A setting that the class declares secret does not come from the environment.
    """
    entries = config.settings(kind, name)
    prefix = f"{kind}.{name}."
    declared = settings_of(backend_class)
    secret = {setting.name for setting in declared if setting.secret}
    # As settings() renames them, and as a variable may have written them.
    config.secret_keys.update(f"{kind}.{block}.{key}" for block in (name, name.replace("-", "_")) for key in secret)
    for entry in entries:
        if entry.key in config.secret_keys:
            require_environment(entry)
    if backend_class.settings_class is not None:
        return build(backend_class.settings_class, entries, prefix=prefix, owner=owner)
    known = [prefix + setting.name for setting in declared]
    values = {}
    for entry in entries:
        if entry.key not in known:
            raise unknown_key(entry, known, owner)
        values[entry.key[len(prefix) :]] = entry.value.parsed() if isinstance(entry.value, Unparsed) else entry.value
    for setting in declared:
        if setting.required and setting.name not in values:
            problem = f"the setting {prefix}{setting.name} ({setting.type_name}) is missing"
            raise MissingSettingError(problem, owner=owner, next_step="give it in kladml.yaml or with --set")
    return values
