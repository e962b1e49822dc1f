"""Which distribution brings a name that is not installed, so that the error can say what to install."""

from __future__ import annotations

_KNOWN = {
    ("storage", "local"): "kladml-backends-local",
    ("storage", "s3"): "kladml-backends-aws",
    ("config", "yaml"): "kladml-backends-local",
    ("config", "env"): "kladml-backends-local",
    ("tracker", "local"): "kladml-backends-local",
    ("tracker", "mlflow"): "kladml-backends-mlflow",
    ("publisher", "console"): "kladml-backends-console",
    ("publisher", "redis"): "kladml-backends-redis",
    ("catalog", "sql"): "kladml-backends-local",
}


def known_names(kind: str) -> list[str]:
    """Return the names of a kind that KladML's distributions bring, installed or not."""
    return [name for of_kind, name in _KNOWN if of_kind == kind]


def distribution_for(kind: str, name: str) -> str | None:
    """Return the KladML distribution that ships a plugin, or None if it is none of ours."""
    return _KNOWN.get((kind, name))
