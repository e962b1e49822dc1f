"""The contract fails catalogs that break a rule about versions of data sets."""

import pytest

CONTRACT = """
import time
from dataclasses import replace

import pytest

from kladml.errors import DataError
from kladml.interfaces import CatalogInterface
from kladml.testing import CatalogContract
from kladml.testing.fakes import MemoryCatalog
{broken}

class TestBroken(CatalogContract):
    @pytest.fixture
    def catalog(self):
        return Broken()
"""

SAME = "test_same_content_gets_the_number_that_it_has"
LOWEST = "test_number_is_no_lower_than_asked"
THREADS = "test_threads_never_share_a_number"
READS_BACK = "test_version_reads_back"
ORDER = "test_versions_are_listed_by_name_and_number"
NOTED = "test_noted_version_keeps_its_number"
STORAGE = "test_storage_is_noted_and_kept"
GONE = "test_removed_version_is_gone_alone"
BACK = "test_removed_version_comes_back_as_itself_alone"


def test_catalog_that_does_not_declare_that_it_numbers_data_sets(failing_cases):
    source = """
class Broken(MemoryCatalog):
    capabilities = frozenset({"organise", "resume"})
"""
    assert failing_cases(CONTRACT.replace("{broken}", source)) == {
        "test_capabilities_are_declared_where_they_are_implemented",
        "test_catalog_that_cannot_number_data_sets_says_so",
    }


def test_catalog_that_knows_no_data_sets_in_silence(failing_cases):
    source = """
class Broken(MemoryCatalog):
    capabilities = frozenset({"organise", "resume"})
    add_dataset = CatalogInterface.add_dataset
    note_dataset = CatalogInterface.note_dataset
    remove_dataset = CatalogInterface.remove_dataset

    def list_datasets(self, name=None):
        return []
"""
    assert "test_catalog_that_cannot_number_data_sets_says_so" in failing_cases(CONTRACT.replace("{broken}", source))


@pytest.mark.parametrize(
    ("method", "failing"),
    [
        pytest.param(
            """
    def add_dataset(self, version):
        return self._keep_version(replace(version, number=1 + len(self.list_datasets(version.name)))), True
""",
            {SAME, LOWEST, THREADS, NOTED, GONE},
            id="counts what is there",
        ),
        pytest.param(
            """
    def add_dataset(self, version):
        for known in self.list_datasets(version.name):
            if known.fingerprint == version.fingerprint:
                return known, False
        return super().add_dataset(version)
""",
            {SAME, LOWEST},
            id="looks at the fingerprint alone",
        ),
        pytest.param(
            """
    def add_dataset(self, version):
        kept, is_new = super().add_dataset(version)
        return kept, True
""",
            {SAME, LOWEST, THREADS},
            id="says that all is new",
        ),
        pytest.param(
            """
    def add_dataset(self, version):
        known = [each for each in self.list_datasets(version.name) if each.is_content_of(version)]
        last = max((number for name, number in self.datasets if name == version.name), default=0)
        time.sleep(0.01)
        if known and known[-1].number >= version.number:
            return known[-1], False
        return self._keep_version(replace(version, number=max(version.number, last + 1))), True
""",
            {THREADS},
            id="looks and gives in two steps",
        ),
        pytest.param(
            """
    def note_dataset(self, version):
        return self._keep_version(version)
""",
            {NOTED, STORAGE, BACK},
            id="notes anything",
        ),
        pytest.param(
            """
    def note_dataset(self, version):
        kept = super().note_dataset(version)
        return kept if kept.storage is None else self._keep_version(replace(kept, storage="s3"))
""",
            {STORAGE},
            id="forgets the bucket",
        ),
        pytest.param(
            """
    def list_datasets(self, name=None):
        return sorted(super().list_datasets(name), key=lambda version: version.reference)
""",
            {ORDER},
            id="sorts numbers as text",
        ),
        pytest.param(
            """
    def list_datasets(self, name=None):
        return [each for each in super().list_datasets() if name is None or each.name.startswith(name)]
""",
            {ORDER},
            id="takes the start of a name for the name",
        ),
        pytest.param(
            """
    def list_datasets(self, name=None):
        return [replace(each, rows=None) for each in super().list_datasets(name)]
""",
            {READS_BACK, SAME, LOWEST, NOTED, STORAGE, GONE, BACK},
            id="forgets the rows",
        ),
        pytest.param(
            """
    def remove_dataset(self, name, number):
        known = super().remove_dataset(name, number)
        del self.datasets[name, number]
        return known
""",
            {GONE, BACK},
            id="forgets the number, too",
        ),
        pytest.param(
            """
    def remove_dataset(self, name, number):
        gone = super().remove_dataset(name, number)
        self.removed_datasets |= {key for key in self.datasets if key[0] == name}
        return gone
""",
            {GONE},
            id="removes all versions",
        ),
        pytest.param(
            """
    def remove_dataset(self, name, number):
        if (name, number) in self.datasets:
            self.removed_datasets.add((name, number))
            return self.datasets[name, number]
        raise DataError(f"there is no {name}@{number}")
""",
            {GONE},
            id="removes twice",
        ),
    ],
)  # fmt: skip
def test_catalog_that(failing_cases, method, failing):
    found = failing_cases(CONTRACT.replace("{broken}", f"\nclass Broken(MemoryCatalog):{method}"))
    assert found == failing
