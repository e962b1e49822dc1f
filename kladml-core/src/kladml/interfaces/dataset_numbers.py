"""What a catalog may offer beside runs: the versions of data sets, with numbers that all who share it agree on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kladml.errors import DataError
from kladml.interfaces.backend import Backend

if TYPE_CHECKING:
    from kladml.interfaces.catalog_entries import CatalogDataset

_CAPABILITY = "datasets"


class DatasetNumbers(Backend):
    """The part of `CatalogInterface` about versions of data sets, the capability `datasets`.

    The files of a version, and the manifest that says which they are, stay in workspaces and storages. The catalog
    says which number means which content, and what there is: `digits@2` is the same for everybody who shares it.
    A catalog with the capability implements all of these methods but `get_dataset`.
    """

    def add_dataset(self, version: CatalogDataset) -> tuple[CatalogDataset, bool]:
        """Give a version its number. Capability `datasets`.

        Args:
            version: The version. Its number is the lowest that it may get: the next one of its workspace.

        Returns:
            The version with its number, and whether it is new. One that is known under that number or a higher one,
            with the same fingerprint and target, is none: the newest of these is returned. Every other gets the
            next number after all that were ever given, however many ask at once.
        """
        raise self._lacks(_CAPABILITY, f"give '{version.reference}' its number")

    def note_dataset(self, version: CatalogDataset) -> CatalogDataset:
        """Note a version that has its number already. Capability `datasets`.

        It came from another workspace, was made while there was no such catalog, or was put into a storage. One that
        was removed is known again. Later numbers are higher.

        Args:
            version: The version. Where it names no storage, the one that was known stays.

        Returns:
            The version as it is known from now on.

        Raises:
            DataError: The number was given to another content, also to one that was removed.
        """
        raise self._lacks(_CAPABILITY, f"note '{version.reference}'")

    def list_datasets(self, name: str | None = None) -> list[CatalogDataset]:
        """List the versions of a data set, or of all, by name and number. Capability `datasets`."""
        raise self._lacks(_CAPABILITY, "list data sets" if name is None else f"list the versions of '{name}'")

    def remove_dataset(self, name: str, number: int) -> CatalogDataset:
        """Forget a version, whose number is never given again, and return what was known. Capability `datasets`.

        Raises:
            DataError: There is no such version.
        """
        raise self._lacks(_CAPABILITY, f"forget '{name}@{number}'")

    def get_dataset(self, name: str, number: int) -> CatalogDataset:
        """Return one version. Capability `datasets`.

        Raises:
            DataError: There is no such version.
        """
        for version in self.list_datasets(name):
            if version.number == number:
                return version
        raise unknown_dataset(name, number)


def unknown_dataset(name: str, number: int, owner: str | None = None) -> DataError:
    """Return the error for a version that the catalog does not know."""
    problem = f"the catalog knows no '{name}@{number}'"
    return DataError(problem, owner=owner, next_step="'kladml data list' shows those there are")


def other_content(mine: CatalogDataset, known: CatalogDataset, owner: str | None = None) -> DataError:
    """Return the error for a number that was given to another content."""
    here, there = (f"of {each.created_at:%Y-%m-%d}, {each.fingerprint[:20]}…" for each in (mine, known))
    problem = f"{mine.reference} of this workspace ({here}) is another one than that of the catalog ({there})"
    return DataError(problem, owner=owner, next_step="add the data under another name")
