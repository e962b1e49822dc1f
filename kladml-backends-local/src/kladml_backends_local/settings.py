"""The settings of the local backends, and the name under which their errors say whose they are."""

from __future__ import annotations

from dataclasses import dataclass, field

OWNER = "kladml-backends-local"


@dataclass(frozen=True, slots=True)
class LocalStorageSettings:
    """Settings of the storage `local`."""

    root: str = field(
        default="data", metadata={"doc": "Folder that holds the buckets; a relative path is relative to the workspace."}
    )


@dataclass(frozen=True, slots=True)
class YamlConfigSettings:
    """Settings of the configuration source `yaml`."""

    path: str | None = field(
        default=None,
        metadata={"doc": "The YAML file, relative to the workspace; kladml.yaml, which may be absent, if not given."},
    )


@dataclass(frozen=True, slots=True)
class EnvConfigSettings:
    """Settings of the configuration source `env`."""

    prefix: str = field(default="KLADML_", metadata={"doc": "How the names of the environment variables start."})


@dataclass(frozen=True, slots=True)
class LocalTrackerSettings:
    """Settings of the tracker `local`."""

    database: str = field(
        default=".kladml/mlflow.db",
        metadata={"doc": "MLflow's SQLite database; a relative path is relative to the workspace."},
    )
    artifacts: str = field(
        default=".kladml/artifacts",
        metadata={"doc": "Folder for the files of runs in a database that is made anew, relative to the workspace."},
    )


@dataclass(frozen=True, slots=True)
class SqlCatalogSettings:
    """Settings of the catalog `sql`."""

    url: str | None = field(
        default=None,
        metadata={"doc": "SQLAlchemy URL of the database; sqlite:///.kladml/catalog.db in the workspace if not given."},
    )
    password: str | None = field(
        default=None,
        metadata={"doc": "Password of the database, where the URL has none.", "secret": True},
    )
