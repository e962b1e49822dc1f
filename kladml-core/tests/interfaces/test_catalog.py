from dataclasses import replace
from datetime import UTC, datetime

import pytest

from kladml.errors import AddressError, CapabilityError
from kladml.interfaces import CatalogInterface, CatalogRun, ExperimentAddress, RunAddress


class MinimalCatalog(CatalogInterface):
    """A catalog of runs that are there already."""

    def __init__(self, *runs):
        self.runs = list(runs)

    def add_run(self, experiment, run_id, backends): ...

    def end_run(self, address, status, metrics): ...

    def list_runs(self, experiment=None):
        return [run for run in self.runs if experiment in (None, run.address.experiment)]


def run_of(text):
    return CatalogRun(RunAddress.parse(text), "0f3c", "RUNNING", datetime.now(UTC))


def test_interface_has_exactly_these_abstract_methods():
    assert CatalogInterface.__abstractmethods__ == {"add_run", "end_run", "list_runs"}


def test_run_is_found_by_its_address():
    catalog = MinimalCatalog(run_of("digits@1"), run_of("other@2"), run_of("digits@2"))
    assert catalog.get_run(RunAddress.parse("digits@2")) is catalog.runs[2]


def test_unknown_run_is_an_address_error_that_says_how_to_see_the_others():
    catalog = MinimalCatalog(run_of("digits@1"))
    with pytest.raises(AddressError) as caught:
        catalog.get_run(RunAddress.parse("digits@2"))
    assert str(caught.value) == "there is no run 'default/default/digits@2'; kladml runs list shows those there are"


def test_catalog_that_cannot_resume_says_so():
    with pytest.raises(CapabilityError, match="MinimalCatalog cannot note that run 'default/default/digits@1' goes on"):
        MinimalCatalog(run_of("digits@1")).resume_run(RunAddress.parse("digits@1"), "0f3c", {})


def test_experiments_are_listed_once_and_sorted():
    catalog = MinimalCatalog(run_of("z@1"), run_of("vision/small/a@1"), run_of("z@2"))
    assert catalog.list_experiments() == [
        ExperimentAddress("default", "default", "z"),
        ExperimentAddress("vision", "small", "a"),
    ]


def test_record_of_a_run_cannot_be_changed_in_place():
    run = run_of("digits@1")
    with pytest.raises(AttributeError):
        run.status = "FINISHED"
    assert replace(run, status="FINISHED").status == "FINISHED"
