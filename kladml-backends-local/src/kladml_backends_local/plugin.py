"""The plugins `local` of kind storage, `local` of kind tracker and `sql` of kind catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kladml.plugins import hookimpl

if TYPE_CHECKING:
    from kladml.interfaces import CatalogInterface, StorageInterface, TrackerInterface


@hookimpl
def kladml_register_storage() -> type[StorageInterface]:
    """Return the storage in folders."""
    from kladml_backends_local.storage import LocalStorage

    return LocalStorage


@hookimpl
def kladml_register_tracker() -> type[TrackerInterface]:
    """Return the tracker in an MLflow database on SQLite."""
    from kladml_backends_local.tracker import LocalTracker

    return LocalTracker


@hookimpl
def kladml_register_catalog() -> type[CatalogInterface]:
    """Return the catalog in an SQL database."""
    from kladml_backends_local.catalog import SqlCatalog

    return SqlCatalog
