"""The contract fails catalogs that break a rule about projects, families and experiments."""

CONTRACT = """
from dataclasses import replace

import pytest

from kladml.errors import AddressError
from kladml.interfaces import EntryAddress
from kladml.testing import CatalogContract
from kladml.testing.fakes import MemoryCatalog
{broken}

class TestBroken(CatalogContract):
    @pytest.fixture
    def catalog(self):
        return Broken()
"""


def broken(source):
    return CONTRACT.format(broken=source)


def test_catalog_that_does_not_declare_that_it_organises(failing_cases):
    source = """
class Broken(MemoryCatalog):
    capabilities = frozenset({"datasets", "resume"})
"""
    assert failing_cases(broken(source)) == {
        "test_capabilities_are_declared_where_they_are_implemented",
        "test_catalog_that_cannot_organise_says_so",
    }


def test_catalog_that_forgets_in_silence_what_it_cannot_organise(failing_cases):
    source = """
class Broken(MemoryCatalog):
    capabilities = frozenset({"datasets", "resume"})

    def delete_run(self, address):
        pass
"""
    assert "test_catalog_that_cannot_organise_says_so" in failing_cases(broken(source))


def test_catalog_that_sees_entries_with_runs_only(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def list_entries(self, level, below=None):
        return [entry for entry in super().list_entries(level, below) if entry.runs]
"""
    failing = failing_cases(broken(source))
    assert {"test_created_entry_reads_back", "test_deleted_run_is_gone_alone"} <= failing


def test_catalog_that_counts_what_is_right_below_only(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def list_entries(self, level, below=None):
        found = super().list_entries(level, below)
        return [entry if level == "experiment" else replace(entry, runs=0) for entry in found]
"""
    assert failing_cases(broken(source)) == {
        "test_runs_show_what_they_stand_in",
        "test_recursive_deletion_takes_what_it_says_and_no_more",
    }


def test_catalog_that_shows_the_first_run_as_the_last(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def list_entries(self, level, below=None):
        found = super().list_entries(level, below)
        return [replace(entry, last_run_at=entry.last_run_at and self.runs[0].started_at) for entry in found]
"""
    assert failing_cases(broken(source)) == {"test_entry_knows_when_its_newest_run_started"}


def test_catalog_that_takes_the_start_of_a_name_for_the_name(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def list_entries(self, level, below=None):
        found = super().list_entries(level)
        if below is not None:
            super().list_entries(level, below)
            found = [entry for entry in found if str(entry.address).startswith(str(below))]
        return [entry for entry in found if entry.address.level == level]
"""
    assert failing_cases(broken(source)) == {"test_entries_are_listed_by_level_and_sorted"}


def test_catalog_that_lists_what_is_below_nothing(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def list_entries(self, level, below=None):
        try:
            return super().list_entries(level, below)
        except AddressError:
            return []
"""
    assert failing_cases(broken(source)) == {"test_unknown_entry_is_an_address_error"}


def test_catalog_that_names_no_nearest_entry(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def get_entry(self, address):
        try:
            return super().get_entry(address)
        except AddressError:
            raise AddressError(f"there is no '{address}'") from None
"""
    assert failing_cases(CONTRACT.replace("{broken}", source)) == {"test_unknown_entry_is_an_address_error"}


def test_catalog_that_describes_what_stands_above_as_well(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def create_entry(self, address, description=""):
        created = super().create_entry(address, description)
        for above in address.lineage[:-1]:
            self.describe_entry(above, description)
        return created
"""
    failing = failing_cases(broken(source))
    assert {"test_created_entry_reads_back", "test_description_is_replaced"} <= failing


def test_catalog_that_replaces_what_is_there(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def create_entry(self, address, description=""):
        if address in self._known():
            return self.describe_entry(address, description)
        return super().create_entry(address, description)
"""
    assert failing_cases(broken(source)) == {"test_created_entry_is_not_made_twice"}


def test_catalog_that_makes_what_it_is_to_describe(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def describe_entry(self, address, description):
        if address not in self._known():
            return self.create_entry(address, description)
        return super().describe_entry(address, description)
"""
    assert failing_cases(broken(source)) == {"test_changing_what_is_not_there_is_an_address_error"}


def test_catalog_that_takes_any_description(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def describe_entry(self, address, description):
        created = self.get_entry(address).created_at
        self.entries[address] = (description, created)
        return self.get_entry(address)

    def create_entry(self, address, description=""):
        super().create_entry(address)
        return self.describe_entry(address, description)
"""
    assert failing_cases(broken(source)) == {"test_description_that_harms_is_refused"}


def test_catalog_that_makes_before_it_refuses(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def create_entry(self, address, description=""):
        super().create_entry(address)
        return self.describe_entry(address, description)
"""
    assert failing_cases(broken(source)) == {"test_description_that_harms_is_refused"}


def test_catalog_that_flattens_descriptions(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def describe_entry(self, address, description):
        super().describe_entry(address, description)
        return super().describe_entry(address, " ".join(description.split()))
"""
    failing = failing_cases(broken(source))
    assert {"test_created_entry_reads_back", "test_description_is_replaced"} <= failing


def test_catalog_that_deletes_what_is_not_empty(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def delete_entry(self, address, *, recursive=False, dry_run=False):
        return super().delete_entry(address, recursive=True, dry_run=dry_run)
"""
    assert failing_cases(broken(source)) == {"test_entry_with_something_inside_is_not_deleted"}


def test_catalog_that_deletes_in_a_dry_run(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def delete_entry(self, address, *, recursive=False, dry_run=False):
        return super().delete_entry(address, recursive=recursive or dry_run)
"""
    assert failing_cases(broken(source)) == {"test_recursive_deletion_takes_what_it_says_and_no_more"}


def test_catalog_that_leaves_the_runs(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def delete_entry(self, address, *, recursive=False, dry_run=False):
        runs = self.runs
        removal = super().delete_entry(address, recursive=recursive, dry_run=dry_run)
        self.runs = runs
        return removal
"""
    assert failing_cases(broken(source)) == {
        "test_recursive_deletion_takes_what_it_says_and_no_more",
        "test_experiment_that_is_made_again_goes_on_counting",
    }


def test_catalog_that_tells_the_runs_of_all(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def delete_entry(self, address, *, recursive=False, dry_run=False):
        runs = tuple(run.address for run in self.runs)
        return replace(super().delete_entry(address, recursive=recursive, dry_run=dry_run), runs=runs)
"""
    assert failing_cases(broken(source)) == {"test_recursive_deletion_takes_what_it_says_and_no_more"}


def test_catalog_that_deletes_what_stands_above(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def delete_entry(self, address, *, recursive=False, dry_run=False):
        removal = super().delete_entry(address, recursive=recursive, dry_run=dry_run)
        if not dry_run:
            for above in address.lineage[:-1]:
                if not any(other.is_below(above) for other in self._known()):
                    self.entries.pop(above, None)
        return removal
"""
    assert failing_cases(broken(source)) == {"test_empty_entry_is_deleted_alone"}


def test_catalog_whose_experiment_goes_with_its_last_run(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def delete_run(self, address):
        run = super().delete_run(address)
        if not self.list_runs(address.experiment):
            self.entries.pop(EntryAddress.of(address.experiment))
        return run
"""
    failing = failing_cases(broken(source))
    assert "test_deleted_run_is_gone_alone" in failing


def test_catalog_that_starts_an_experiment_anew(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def delete_entry(self, address, *, recursive=False, dry_run=False):
        removal = super().delete_entry(address, recursive=recursive, dry_run=dry_run)
        if not dry_run:
            self._last_numbers.clear()
        return removal
"""
    assert failing_cases(broken(source)) == {"test_experiment_that_is_made_again_goes_on_counting"}


def test_catalog_that_gives_the_last_number_again(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def delete_run(self, address):
        run = super().delete_run(address)
        labels = [int(other.address.label) for other in self.list_runs(address.experiment)]
        self._last_numbers[address.experiment] = max(labels, default=0)
        return run
"""
    assert failing_cases(broken(source)) == {"test_number_of_a_deleted_run_is_not_given_again"}
