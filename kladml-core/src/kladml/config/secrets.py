"""Keeping secrets out of what is shown, stored or logged."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kladml.errors import ConfigError

if TYPE_CHECKING:
    from kladml.interfaces.config import ConfigEntry

_SECRET_KEY = re.compile(
    r"(^|[._-])(password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key(_id)?|secret[_-]?key|private[_-]?key"
    r"|credentials?)$",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/@\s]+@", re.IGNORECASE)

MASK = "***"


def is_secret_key(key: str) -> bool:
    """Tell whether the last part of a dotted key names a secret."""
    return _SECRET_KEY.search(key) is not None


def require_environment(entry: ConfigEntry) -> None:
    """Refuse a secret that does not come from an environment variable; its value is not shown.

    Raises:
        ConfigError: It comes from a file, a flag or an argument.
    """
    if not entry.origin.startswith("$"):
        problem = f"{entry.origin}: {entry.key} is a secret, and secrets are not read from files or flags"
        raise ConfigError(problem, next_step="delete it there and use the environment or the SDK's own credentials")


def redact_text(text: str) -> str:
    """Return the text without the user and password of any URL in it."""
    return _USERINFO.sub(rf"\g<scheme>{MASK}@", text)


def redact(key: str, value: Any) -> Any:
    """Return a value as it may be shown and stored: secrets and passwords in URLs are masked.

    Args:
        key: The dotted key of the value.
        value: The value; mappings and lists are masked inside.
    """
    if isinstance(value, dict):
        return {name: redact(f"{key}.{name}", inner) for name, inner in value.items()}
    if value is not None and is_secret_key(key):
        return MASK
    if isinstance(value, list | tuple):
        return [redact(key, inner) for inner in value]
    return redact_text(value) if isinstance(value, str) else value
