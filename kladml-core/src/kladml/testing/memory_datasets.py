"""The part of the catalog in memory about versions of data sets."""

from __future__ import annotations

import threading
from dataclasses import replace

from kladml.interfaces import CatalogDataset, DatasetNumbers
from kladml.interfaces.dataset_numbers import other_content, unknown_dataset

_OWNER = "kladml.testing.fakes"


class MemoryDatasets(DatasetNumbers):
    """Keeps the versions of data sets in a mapping.

    Attributes:
        datasets: All versions by name and number, also those that were removed.
        removed_datasets: Name and number of those.
    """

    def __init__(self) -> None:
        self.datasets: dict[tuple[str, int], CatalogDataset] = {}
        self.removed_datasets: set[tuple[str, int]] = set()
        self._lock = threading.RLock()

    def add_dataset(self, version: CatalogDataset) -> tuple[CatalogDataset, bool]:
        """Give a version the number of its content, or the next one."""
        with self._lock:
            known = [each for each in self.list_datasets(version.name) if each.number >= version.number]
            same = [each for each in known if each.is_content_of(version)]
            if same:
                return same[-1], False
            given = [number for name, number in self.datasets if name == version.name]
            return self._keep_version(
                replace(version, number=max(version.number, *(last + 1 for last in given), 1))
            ), True

    def note_dataset(self, version: CatalogDataset) -> CatalogDataset:
        """Keep a version under its number."""
        with self._lock:
            known = self.datasets.get((version.name, version.number), version)
            if not known.is_content_of(version):
                raise other_content(version, known, _OWNER)
            return self._keep_version(replace(known, storage=version.storage or known.storage))

    def list_datasets(self, name: str | None = None) -> list[CatalogDataset]:
        """List the versions of a data set, or of all."""
        with self._lock:
            return [
                version
                for key, version in sorted(self.datasets.items(), key=lambda item: item[0])
                if name in (None, version.name) and key not in self.removed_datasets
            ]

    def remove_dataset(self, name: str, number: int) -> CatalogDataset:
        """Forget a version, and remember that its number was given."""
        with self._lock:
            if (name, number) not in self.datasets or (name, number) in self.removed_datasets:
                raise unknown_dataset(name, number, _OWNER)
            self.removed_datasets.add((name, number))
            return self.datasets[name, number]

    def _keep_version(self, version: CatalogDataset) -> CatalogDataset:
        self.datasets[version.name, version.number] = version
        self.removed_datasets.discard((version.name, version.number))
        return version
