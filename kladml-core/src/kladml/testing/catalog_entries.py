"""The part of the catalog contract about projects, families and experiments."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

import pytest

from kladml.errors import AddressError, CapabilityError, CatalogError
from kladml.interfaces import LEVELS, EntryAddress, ExperimentAddress
from kladml.testing.backend import BackendContract

if TYPE_CHECKING:
    from kladml.interfaces import CatalogInterface

Reopen = Callable[[], "CatalogInterface"]
"""Opens the same catalog once more, as another process would."""


class CatalogEntriesContract(BackendContract):
    """The fixtures of the catalog contract and its rules for the hierarchy; subclass `CatalogContract` instead."""

    kind: ClassVar[str] = "catalog"
    optional: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "datasets": ("add_dataset", "note_dataset", "list_datasets", "remove_dataset"),
        "organise": ("create_entry", "describe_entry", "delete_entry", "delete_run"),
        "resume": ("resume_run",),
    }

    @pytest.fixture
    def catalog(self) -> CatalogInterface:
        """The catalog under test: a new object for each case."""
        raise NotImplementedError(self._missing("catalog"))

    @pytest.fixture
    def backend(self, catalog: CatalogInterface) -> CatalogInterface:
        """The catalog, for the rules of all kinds."""
        return catalog

    @pytest.fixture
    def reopen(self, catalog: CatalogInterface) -> Reopen | None:
        """A function that opens what `catalog` has open a second time, or None where that is impossible."""
        del catalog
        return None

    @pytest.fixture
    def reopened(self, reopen: Reopen | None) -> Reopen:
        """The function `reopen`, where there is one."""
        if reopen is None:
            pytest.skip("override the fixture 'reopen' to prove that runs outlive the object")
        return reopen

    @pytest.fixture
    def organising(self, catalog: CatalogInterface) -> CatalogInterface:
        """The catalog, where it can be organised."""
        if "organise" not in catalog.capabilities:
            pytest.skip("this catalog does not offer the capability 'organise'")
        return catalog

    @pytest.fixture
    def project(self) -> EntryAddress:
        """A project that is not there yet."""
        return EntryAddress((f"contract {uuid.uuid4().hex}",))

    # Seeing the hierarchy

    def test_runs_show_what_they_stand_in(self, catalog: CatalogInterface, project: EntryAddress) -> None:
        """Runs alone make their project, family and experiment known, with what is inside of each counted.

        Project with family `a` (experiment `x` with two runs, `y` with one) and family `b` (`x` with one).
        """
        for path in ("a/x", "a/x", "a/y", "b/x"):
            catalog.add_run(experiment_in(project, path), "run", {})
        found = {}
        for path in ("", "/a", "/a/x", "/a/y", "/b", "/b/x"):
            entry = catalog.get_entry(EntryAddress.parse(f"{project}{path}"))
            found[path] = (entry.families, entry.experiments, entry.runs)
        assert found == {
            "": (2, 3, 4), "/a": (0, 2, 3), "/a/x": (0, 0, 2), "/a/y": (0, 0, 1), "/b": (0, 1, 1), "/b/x": (0, 0, 1),
        }  # fmt: skip

    def test_entry_knows_when_its_newest_run_started(self, catalog: CatalogInterface, project: EntryAddress) -> None:
        """Every entry was made no later than its runs, and knows the start of the newest, with time zone."""
        old, new = (catalog.add_run(experiment_in(project, path), "run", {}) for path in ("a/x", "b/x"))
        catalog.end_run(old, "FINISHED", {})
        entry, newest = catalog.get_entry(project), catalog.get_run(new).started_at
        assert entry.last_run_at == newest
        assert entry.created_at.utcoffset() is not None
        assert entry.created_at - catalog.get_run(old).started_at < timedelta(seconds=5)
        assert catalog.get_entry(below(project, "a")).last_run_at == catalog.get_run(old).started_at

    def test_entries_are_listed_by_level_and_sorted(self, catalog: CatalogInterface, project: EntryAddress) -> None:
        """A level lists each of its entries once, sorted; an address keeps the list to what stands in it."""
        other = EntryAddress((f"{project} too",))
        for path in ("b/x", "a/y", "a/x", "a/x"):
            catalog.add_run(experiment_in(project, path), "run", {})
        catalog.add_run(experiment_in(other, "a/x"), "run", {})
        listed = {level: [entry.address for entry in catalog.list_entries(level, project)] for level in LEVELS}
        assert listed == {
            "project": [],
            "family": [below(project, "a"), below(project, "b")],
            "experiment": [below(project, "a/x"), below(project, "a/y"), below(project, "b/x")],
        }
        in_family = [entry.address for entry in catalog.list_entries("experiment", below(project, "a"))]
        assert in_family == [below(project, "a/x"), below(project, "a/y")]
        for level in LEVELS:
            everything = [entry.address for entry in catalog.list_entries(level)]
            assert everything == sorted(set(everything))
        projects = [entry.address for entry in catalog.list_entries("project")]
        assert {project, other} <= set(projects)

    @pytest.mark.parametrize("path", ["", "/a", "/a/x"])
    def test_unknown_entry_is_an_address_error(
        self, catalog: CatalogInterface, project: EntryAddress, path: str
    ) -> None:
        """An address that names nothing raises `AddressError`, which names the nearest one that there is."""
        catalog.add_run(ExperimentAddress(f"{project}1", "a", "x"), "run", {})
        unknown = EntryAddress.parse(f"{project}{path}")
        for ask in (catalog.get_entry, lambda address: catalog.list_entries("experiment", address)):
            with pytest.raises(AddressError) as caught:
                ask(unknown)
            assert f"'{project}1{path}'" in str(caught.value)

    def test_catalog_that_cannot_organise_says_so(self, catalog: CatalogInterface, project: EntryAddress) -> None:
        """Each method of a capability that is not offered raises `CapabilityError`, and changes nothing."""
        if "organise" in catalog.capabilities:
            pytest.skip("this catalog offers the capability 'organise'")
        address = catalog.add_run(experiment_in(project, "a/x"), "run", {})
        before = catalog.list_runs(address.experiment)
        calls: list[Callable[[], object]] = [
            lambda: catalog.create_entry(below(project, "b")),
            lambda: catalog.describe_entry(project, "text"),
            lambda: catalog.delete_entry(project, recursive=True),
            lambda: catalog.delete_run(address),
        ]
        for call in calls:
            with pytest.raises(CapabilityError, match="organise"):
                call()
        assert catalog.list_runs(address.experiment) == before

    # Making and describing: capability `organise`

    @pytest.mark.parametrize("path", ["", "/a", "/a/x"])
    def test_created_entry_reads_back(self, organising: CatalogInterface, project: EntryAddress, path: str) -> None:
        """An entry that was made is listed without a run, with its description; what it stands in is made, too."""
        address = EntryAddress.parse(f"{project}{path}")
        entry = organising.create_entry(address, _DESCRIPTION)
        assert (entry.address, entry.description, entry.runs, entry.last_run_at) == (address, _DESCRIPTION, 0, None)
        assert entry.created_at.utcoffset() is not None
        assert organising.get_entry(address) == entry
        assert entry in organising.list_entries(address.level)
        for above in address.lineage[:-1]:
            assert organising.get_entry(above).description == ""

    @pytest.mark.parametrize("made_by_run", [False, True])
    def test_created_entry_is_not_made_twice(
        self, organising: CatalogInterface, project: EntryAddress, *, made_by_run: bool
    ) -> None:
        """Making what is there already, also through a run, raises `AddressError` and changes nothing."""
        address = below(project, "a/x")
        if made_by_run:
            organising.add_run(experiment_in(project, "a/x"), "run", {})
        else:
            organising.create_entry(address, "first")
        before = [organising.get_entry(each) for each in address.lineage]
        for each in address.lineage:
            with pytest.raises(AddressError):
                organising.create_entry(each, "second")
        assert [organising.get_entry(each) for each in address.lineage] == before

    def test_runs_join_the_entry_that_was_made(self, organising: CatalogInterface, project: EntryAddress) -> None:
        """A run of an experiment that was made before is its first, and leaves the description alone."""
        address = below(project, "a/x")
        made = organising.create_entry(address, "kept")
        assert organising.add_run(experiment_in(project, "a/x"), "run", {}).label == "1"
        entry = organising.get_entry(address)
        assert (entry.description, entry.created_at, entry.runs) == ("kept", made.created_at, 1)

    def test_description_is_replaced(self, organising: CatalogInterface, project: EntryAddress) -> None:
        """A description can be given to any entry, replaced and taken away; others keep theirs."""
        organising.create_entry(below(project, "a/x"), "of the experiment")
        for text in (_DESCRIPTION, "short", ""):
            assert organising.describe_entry(project, text).description == text
            assert organising.get_entry(project).description == text
        assert organising.get_entry(below(project, "a/x")).description == "of the experiment"
        assert organising.get_entry(below(project, "a")).description == ""

    @pytest.mark.parametrize("text", ["\x1b[31mred", "nul\0", "bell\a", "line\rline", "half a pair \ud800", "x" * 2001])
    def test_description_that_harms_is_refused(
        self, organising: CatalogInterface, project: EntryAddress, text: str
    ) -> None:
        """Control characters other than line breaks and tabs are refused before anything is made."""
        with pytest.raises(CatalogError):
            organising.create_entry(project, text)
        with pytest.raises(AddressError):
            organising.get_entry(project)
        organising.create_entry(project, "kept")
        with pytest.raises(CatalogError):
            organising.describe_entry(project, text)
        assert organising.get_entry(project).description == "kept"

    def test_entries_outlive_the_object(
        self, organising: CatalogInterface, project: EntryAddress, reopened: Reopen
    ) -> None:
        """Another object on the same catalog sees entries, descriptions and what was deleted."""
        organising.create_entry(below(project, "a/x"), _DESCRIPTION)
        organising.delete_run(organising.add_run(experiment_in(project, "a/x"), "run", {}))
        organising.create_entry(below(project, "b"))
        organising.delete_entry(below(project, "b"))
        expected = organising.get_entry(below(project, "a/x"))
        organising.close()
        with reopened() as second:
            assert second.get_entry(below(project, "a/x")) == expected
            assert [entry.address for entry in second.list_entries("family", project)] == [below(project, "a")]
            assert second.add_run(experiment_in(project, "a/x"), "run", {}).label == "2"


_DESCRIPTION = "Who leaves, and when?\n\tnaïve 模型 🙂 'quoted' \\ %s"


def below(project: EntryAddress, path: str) -> EntryAddress:
    """Return the address of what stands in a project."""
    return EntryAddress.parse(f"{project}/{path}")


def experiment_in(project: EntryAddress, path: str) -> ExperimentAddress:
    """Return an experiment of a project."""
    return ExperimentAddress.parse(f"{project}/{path}")
