"""The part of the catalog contract about versions of data sets."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from kladml.errors import CapabilityError, DataError
from kladml.interfaces import CatalogDataset
from kladml.testing.catalog_entries import CatalogEntriesContract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kladml.interfaces import CatalogInterface
    from kladml.testing.catalog_entries import Reopen


class CatalogDatasetsContract(CatalogEntriesContract):
    """The rules for versions of data sets, with the capability `datasets`; subclass `CatalogContract` instead."""

    @pytest.fixture
    def numbering(self, catalog: CatalogInterface) -> CatalogInterface:
        """The catalog, where it numbers data sets."""
        if "datasets" not in catalog.capabilities:
            pytest.skip("this catalog does not offer the capability 'datasets'")
        return catalog

    @pytest.fixture
    def dataset(self) -> str:
        """The name of a data set without versions."""
        return f"digits-{uuid.uuid4().hex}"

    def test_catalog_that_cannot_number_data_sets_says_so(self, catalog: CatalogInterface, dataset: str) -> None:
        """Each method of a capability that is not offered raises `CapabilityError`."""
        if "datasets" in catalog.capabilities:
            pytest.skip("this catalog offers the capability 'datasets'")
        calls: list[Callable[[], object]] = [
            lambda: catalog.add_dataset(version_of(dataset)),
            lambda: catalog.note_dataset(version_of(dataset)),
            lambda: catalog.list_datasets(dataset),
            lambda: catalog.get_dataset(dataset, 1),
            lambda: catalog.remove_dataset(dataset, 1),
        ]
        for call in calls:
            with pytest.raises(CapabilityError, match="datasets"):
                call()

    # Numbers

    def test_contents_get_numbers_without_gaps(self, numbering: CatalogInterface, dataset: str) -> None:
        """Every new content gets the next number, past 9, and each data set counts for itself."""
        for number in range(1, 13):
            added, is_new = numbering.add_dataset(version_of(dataset, fingerprint=f"blake2b:{number}"))
            assert (added.number, is_new) == (number, True)
        assert numbering.add_dataset(version_of(f"{dataset}-b"))[0].number == 1

    def test_same_content_gets_the_number_that_it_has(self, numbering: CatalogInterface, dataset: str) -> None:
        """Who adds what others added gets their number; the same files with another target are something else."""
        first = numbering.add_dataset(version_of(dataset))[0]
        numbering.add_dataset(version_of(dataset, fingerprint="blake2b:other"))
        assert numbering.add_dataset(replace(version_of(dataset), files=9)) == (first, False)
        assert numbering.add_dataset(version_of(dataset, target=None))[0].number == 3
        assert numbering.add_dataset(version_of(dataset, target="b"))[0].number == 4
        assert numbering.add_dataset(version_of(dataset, target=None))[0].number == 3

    def test_number_is_no_lower_than_asked(self, numbering: CatalogInterface, dataset: str) -> None:
        """A workspace whose numbers went further without the catalog gets a number after its own.

        So does one that goes back to an older content, which becomes the latest version once more.
        """
        numbering.add_dataset(version_of(dataset))
        added, is_new = numbering.add_dataset(version_of(dataset, 5))
        assert (added.number, is_new) == (5, True)
        assert numbering.add_dataset(version_of(dataset, 4)) == (added, False)
        assert numbering.add_dataset(version_of(dataset, 2, fingerprint="blake2b:other"))[0].number == 6

    def test_threads_never_share_a_number(self, numbering: CatalogInterface, dataset: str) -> None:
        """Who adds at once gets one number for each content, and one content for each number."""
        contents = [f"blake2b:{number // 4}" for number in range(40)]
        with ThreadPoolExecutor(max_workers=4) as pool:
            found = list(pool.map(lambda text: numbering.add_dataset(version_of(dataset, fingerprint=text)), contents))
        assert {version.number for version, _ in found} == {*range(1, 11)}
        assert len({(version.number, version.fingerprint) for version, _ in found}) == 10
        assert [version.fingerprint for version, _ in found] == contents
        assert sum(is_new for _, is_new in found) == 10

    # What is known

    def test_version_reads_back(self, numbering: CatalogInterface, dataset: str) -> None:
        """All that was noted reads back, also what is large, absent or odd."""
        given = version_of(dataset, rows=5_000_000_000, size=7 << 40, target="naïve 模型 %s'", labels=3, storage="s3/a")
        assert numbering.add_dataset(given)[0] == given
        plain = version_of(dataset, 2, fingerprint="blake2b:2", format="files", columns=0, target=None, rows=None)
        assert numbering.note_dataset(plain) == plain
        assert [numbering.get_dataset(dataset, number) for number in (1, 2)] == [given, plain]

    def test_versions_are_listed_by_name_and_number(self, numbering: CatalogInterface, dataset: str) -> None:
        """A name lists its versions alone, in the order of the numbers; without one, all are listed."""
        for name, number in ((f"{dataset}-b", 1), (dataset, 10), (dataset, 2)):
            numbering.note_dataset(version_of(name, number, fingerprint=f"blake2b:{number}"))
        assert [version.number for version in numbering.list_datasets(dataset)] == [2, 10]
        mine = [version.reference for version in numbering.list_datasets() if version.name.startswith(dataset)]
        assert mine == [f"{dataset}@2", f"{dataset}@10", f"{dataset}-b@1"]
        assert numbering.list_datasets(f"{dataset}-c") == []

    def test_noted_version_keeps_its_number(self, numbering: CatalogInterface, dataset: str) -> None:
        """A version from elsewhere keeps its number, which no other content gets, now or later."""
        noted = version_of(dataset, 3)
        assert numbering.note_dataset(noted) == noted
        assert numbering.note_dataset(noted) == noted
        assert numbering.add_dataset(version_of(dataset, fingerprint="blake2b:other"))[0].number == 4
        for other in (version_of(dataset, 3, fingerprint="blake2b:third"), version_of(dataset, 3, target="b")):
            with pytest.raises(DataError, match=f"{dataset}@3"):
                numbering.note_dataset(other)
        assert numbering.get_dataset(dataset, 3) == noted

    def test_storage_is_noted_and_kept(self, numbering: CatalogInterface, dataset: str) -> None:
        """Where a version was put is noted; who notes it again without a storage does not take that away."""
        version = numbering.add_dataset(version_of(dataset))[0]
        for storage in ("s3/team", "local/runs"):
            stored = replace(version, storage=storage)
            assert numbering.note_dataset(stored) == stored
        assert numbering.note_dataset(version) == stored
        assert numbering.get_dataset(dataset, 1) == stored

    # What is removed

    def test_removed_version_is_gone_alone(self, numbering: CatalogInterface, dataset: str) -> None:
        """A version that is removed is told once more and then gone; its number is not given again."""
        versions = [numbering.add_dataset(version_of(dataset, fingerprint=f"blake2b:{n}"))[0] for n in range(3)]
        assert numbering.remove_dataset(dataset, 3) == versions[2]
        assert numbering.list_datasets(dataset) == versions[:2]
        for call in (numbering.get_dataset, numbering.remove_dataset):
            for number in (3, 4):
                with pytest.raises(DataError, match=f"{dataset}@{number}"):
                    call(dataset, number)
        again, is_new = numbering.add_dataset(versions[2])
        assert (again.number, is_new) == (4, True)

    def test_removed_version_comes_back_as_itself_alone(self, numbering: CatalogInterface, dataset: str) -> None:
        """A workspace that still has it can note it again; another content cannot take its number."""
        version = numbering.add_dataset(version_of(dataset))[0]
        numbering.remove_dataset(dataset, 1)
        with pytest.raises(DataError, match=f"{dataset}@1"):
            numbering.note_dataset(version_of(dataset, fingerprint="blake2b:other"))
        assert numbering.list_datasets(dataset) == []
        assert numbering.note_dataset(version) == version
        assert numbering.list_datasets(dataset) == [version]

    # Outliving the object: fixture `reopen`

    def test_versions_outlive_the_object(self, numbering: CatalogInterface, dataset: str, reopened: Reopen) -> None:
        """Another object on the same catalog sees the versions, and numbering goes on after them."""
        version = numbering.add_dataset(version_of(dataset))[0]
        numbering.close()
        with reopened() as second:
            assert second.list_datasets(dataset) == [version]
            assert second.add_dataset(version_of(dataset)) == (version, False)
            assert second.add_dataset(version_of(dataset, target=None))[0].number == 2

    def test_two_objects_share_the_numbers_of_data_sets(
        self, numbering: CatalogInterface, dataset: str, reopened: Reopen
    ) -> None:
        """Objects that add at once, as processes do, agree on the number of each content."""
        with reopened() as second, ThreadPoolExecutor(max_workers=2) as pool:
            orders = (range(20), range(19, -1, -1))
            both = [
                pool.submit(_add_versions, one, dataset, order)
                for one, order in zip((numbering, second), orders, strict=True)
            ]
            first, other = (one.result() for one in both)
        assert first == other
        assert sorted(first.values()) == list(range(1, 21))


def version_of(name: str, number: int = 1, **changes: Any) -> CatalogDataset:
    """Return a version of a data set."""
    made = datetime(2026, 11, 23, 16, 20, 5, tzinfo=UTC)
    version = CatalogDataset(name, number, "blake2b:1", "csv", 139, 1, made, rows=6, columns=3, target="kind", labels=2)
    return replace(version, **changes)


def _add_versions(catalog: CatalogInterface, name: str, contents: Iterable[int]) -> dict[str, int]:
    added = [catalog.add_dataset(version_of(name, fingerprint=f"blake2b:{content}"))[0] for content in contents]
    return {version.fingerprint: version.number for version in added}
