"""The part of the catalog contract about what is deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kladml.errors import AddressError, NotEmptyError
from kladml.interfaces import EntryAddress, Removal, RunAddress
from kladml.testing.catalog_entries import CatalogEntriesContract, below, experiment_in

if TYPE_CHECKING:
    from kladml.interfaces import CatalogInterface


class CatalogDeletionContract(CatalogEntriesContract):
    """The rules for deleting, with the capability `organise`; subclass `CatalogContract` instead."""

    @pytest.mark.parametrize("path", ["", "/a", "/a/x"])
    def test_empty_entry_is_deleted_alone(self, organising: CatalogInterface, project: EntryAddress, path: str) -> None:
        """What has nothing inside goes, and what it stands in stays; its description does not come back."""
        address = EntryAddress.parse(f"{project}{path}")
        organising.create_entry(address, "gone")
        assert organising.delete_entry(address) == Removal(address)
        with pytest.raises(AddressError):
            organising.get_entry(address)
        for above in address.lineage[:-1]:
            assert organising.get_entry(above).description == ""
        assert organising.create_entry(address).description == ""

    @pytest.mark.parametrize("path", ["", "/a", "/a/x"])
    def test_entry_with_something_inside_is_not_deleted(
        self, organising: CatalogInterface, project: EntryAddress, path: str
    ) -> None:
        """What is not empty stays as it is, unless all of it is meant to go."""
        run = organising.add_run(experiment_in(project, "a/x"), "run", {})
        with pytest.raises(NotEmptyError):
            organising.delete_entry(EntryAddress.parse(f"{project}{path}"))
        assert organising.get_entry(below(project, "a/x")).runs == 1
        assert organising.get_run(run).run_id == "run"

    def test_recursive_deletion_takes_what_it_says_and_no_more(
        self, organising: CatalogInterface, project: EntryAddress
    ) -> None:
        """A dry run tells exactly what goes and changes nothing; the deletion tells the same; the rest stays."""
        runs = [organising.add_run(experiment_in(project, path), "run", {}) for path in ("a/x", "b/x", "a/y", "a/x")]
        organising.create_entry(below(project, "a/empty"))
        family = below(project, "a")
        inside = tuple(below(project, path) for path in ("a/empty", "a/x", "a/y"))
        expected = Removal(family, inside, (runs[0], runs[2], runs[3]))
        assert organising.delete_entry(family, dry_run=True) == expected
        assert organising.get_entry(project).runs == 4
        assert organising.delete_entry(family, recursive=True) == expected
        left = organising.get_entry(project)
        assert (left.families, left.experiments, left.runs) == (1, 1, 1)
        for run in expected.runs:
            with pytest.raises(AddressError):
                organising.get_run(run)
        assert [run.address for run in organising.list_runs() if run.address in runs] == [runs[1]]
        assert not {each for each in organising.list_experiments() if EntryAddress.of(each) in inside}

    @pytest.mark.parametrize("path", ["", "/a", "/a/x"])
    def test_changing_what_is_not_there_is_an_address_error(
        self, organising: CatalogInterface, project: EntryAddress, path: str
    ) -> None:
        """Describing and deleting an address that names nothing raise `AddressError` and make nothing."""
        address = EntryAddress.parse(f"{project}{path}")
        with pytest.raises(AddressError):
            organising.describe_entry(address, "text")
        for dry_run in (True, False):
            with pytest.raises(AddressError):
                organising.delete_entry(address, recursive=True, dry_run=dry_run)
        with pytest.raises(AddressError):
            organising.get_entry(project)

    def test_deleted_run_is_gone_alone(self, organising: CatalogInterface, project: EntryAddress) -> None:
        """A run that is deleted is told once more and then gone; its experiment and the other runs stay."""
        experiment = experiment_in(project, "a/x")
        runs = [organising.add_run(experiment, f"run {number}", {}) for number in range(3)]
        expected = organising.get_run(runs[1])
        assert organising.delete_run(runs[1]) == expected
        assert [run.address for run in organising.list_runs(experiment)] == [runs[0], runs[2]]
        for call in (organising.get_run, organising.delete_run):
            with pytest.raises(AddressError):
                call(runs[1])
        organising.delete_run(runs[0])
        organising.delete_run(runs[2])
        assert organising.get_entry(below(project, "a/x")).runs == 0

    def test_number_of_a_deleted_run_is_not_given_again(
        self, organising: CatalogInterface, project: EntryAddress
    ) -> None:
        """The newest run's number is not given again either: its folder may be left."""
        experiment = experiment_in(project, "a/x")
        organising.add_run(experiment, "run", {})
        organising.delete_run(organising.add_run(experiment, "run", {}))
        assert organising.add_run(experiment, "run", {}) == RunAddress(experiment, "3")

    @pytest.mark.parametrize("path", ["", "/a", "/a/x"])
    def test_experiment_that_is_made_again_goes_on_counting(
        self, organising: CatalogInterface, project: EntryAddress, path: str
    ) -> None:
        """An experiment that was deleted, alone or with what it stood in, goes on after its last number."""
        experiment = experiment_in(project, "a/x")
        for expected in ("1", "2", "3"):
            assert organising.add_run(experiment, "run", {}).label == expected
            organising.delete_entry(EntryAddress.parse(f"{project}{path}"), recursive=True)
        organising.create_entry(below(project, "a/x"))
        assert organising.add_run(experiment, "run", {}).label == "4"
        assert organising.add_run(experiment_in(project, "a/y"), "run", {}).label == "1"
