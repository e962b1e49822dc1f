"""The part of the SQL catalog about versions of data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kladml.interfaces import DatasetNumbers

if TYPE_CHECKING:
    from kladml.interfaces import CatalogDataset
    from kladml_backends_local.catalog.database import Database
    from kladml_backends_local.catalog.quick_reading import QuickReader


class SqlDatasets(DatasetNumbers):
    """Numbers versions of data sets; `SqlCatalog` gives the database."""

    @property
    def _database(self) -> Database:
        raise NotImplementedError

    _quick: QuickReader | None

    def add_dataset(self, version: CatalogDataset) -> tuple[CatalogDataset, bool]:
        """Give a version the number of its content, or the next one.

        Raises:
            CatalogError: The database refuses.
        """
        from kladml_backends_local.catalog import dataset_rows

        failure = f"cannot give a version of '{version.name}' its number"
        return self._database.change(failure, lambda connection: dataset_rows.add(connection, version))

    def note_dataset(self, version: CatalogDataset) -> CatalogDataset:
        """Note a version that has its number already.

        Raises:
            DataError: The number was given to another content.
            CatalogError: The database refuses.
        """
        from kladml_backends_local.catalog import dataset_rows

        failure = f"cannot note '{version.reference}'"
        return self._database.change(failure, lambda connection: dataset_rows.note(connection, version))

    def list_datasets(self, name: str | None = None) -> list[CatalogDataset]:
        """List the versions of a data set, or of all, by name and number.

        Raises:
            CatalogError: The database refuses.
        """
        found = None if self._quick is None else self._quick.datasets(name)
        if found is not None:
            return found
        from kladml_backends_local.catalog import dataset_rows

        with self._database.transaction("cannot list its data sets") as connection:
            return dataset_rows.of_name(connection, name)

    def remove_dataset(self, name: str, number: int) -> CatalogDataset:
        """Forget a version; its number is never given again.

        Raises:
            DataError: There is no such version.
            CatalogError: The database refuses.
        """
        from kladml_backends_local.catalog import dataset_rows

        failure = f"cannot forget '{name}@{number}'"
        return self._database.change(failure, lambda connection: dataset_rows.remove(connection, name, number))
