"""The catalog of projects, families, experiments and runs in an SQL database."""

from kladml_backends_local.catalog.catalog import SqlCatalog

__all__ = ["SqlCatalog"]
