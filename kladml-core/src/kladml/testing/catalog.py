"""The contract of catalogs."""

from __future__ import annotations

import math
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from kladml.errors import AddressError, CapabilityError
from kladml.interfaces import RUN_STATUSES, ExperimentAddress, RunAddress
from kladml.testing.catalog_datasets import CatalogDatasetsContract
from kladml.testing.catalog_deletion import CatalogDeletionContract

if TYPE_CHECKING:
    from kladml.interfaces import CatalogInterface
    from kladml.testing.catalog_entries import Reopen

_END_STATUSES = [status for status in RUN_STATUSES if status != "RUNNING"]


class CatalogContract(CatalogDatasetsContract, CatalogDeletionContract):
    """The rules for a catalog. A subclass defines the fixture `catalog`.

    The catalog may already have runs: each case keeps to experiments of its own. Overriding the fixture
    `reopen` tests as well that runs outlive the object and that two objects share one numbering.
    """

    @pytest.fixture
    def resuming(self, catalog: CatalogInterface) -> CatalogInterface:
        """The catalog, where it can note that a run goes on."""
        if "resume" not in catalog.capabilities:
            pytest.skip("this catalog does not offer the capability 'resume'")
        return catalog

    @pytest.fixture
    def experiment(self) -> ExperimentAddress:
        """An experiment without runs."""
        return ExperimentAddress("contract", "some family", f"digits-{uuid.uuid4().hex}")

    # Numbers

    def test_numbers_start_at_one_without_gaps(self, catalog: CatalogInterface, experiment: ExperimentAddress) -> None:
        """The first run of an experiment is 1, and so on past 9, whatever became of the runs before."""
        addresses = []
        for number in range(1, 13):
            addresses.append(catalog.add_run(experiment, f"run-{number}", _backends()))
            if number % 2:
                catalog.end_run(addresses[-1], "FAILED", {})
        assert addresses == [RunAddress(experiment, str(number)) for number in range(1, 13)]

    def test_every_experiment_counts_for_itself(self, catalog: CatalogInterface, experiment: ExperimentAddress) -> None:
        """Experiments of one name in other families or projects have their own numbers."""
        others = [
            ExperimentAddress("contract", "another family", experiment.experiment),
            ExperimentAddress("contract 2", experiment.family, experiment.experiment),
        ]
        for one in (experiment, *others):
            assert catalog.add_run(one, "run", {}) == RunAddress(one, "1")
        assert catalog.add_run(experiment, "run", {}) == RunAddress(experiment, "2")

    def test_threads_get_distinct_numbers(self, catalog: CatalogInterface, experiment: ExperimentAddress) -> None:
        """Threads that register at once get all numbers from 1, each once: two runs never share a folder."""
        with ThreadPoolExecutor(max_workers=4) as pool:
            found = list(pool.map(lambda number: catalog.add_run(experiment, f"run-{number}", {}), range(40)))
        assert sorted(int(address.label) for address in found) == list(range(1, 41))
        listed = {run.run_id: run.address for run in catalog.list_runs(experiment)}
        assert listed == {f"run-{number}": address for number, address in enumerate(found)}

    # What a run is remembered by

    def test_new_run_is_running(self, catalog: CatalogInterface, experiment: ExperimentAddress) -> None:
        """A run that was registered reads back as it was given, as running, with a start time and no end."""
        address = catalog.add_run(experiment, "0f3c9b7a", _backends())
        run = catalog.get_run(address)
        assert (run.address, run.run_id, run.status) == (address, "0f3c9b7a", "RUNNING")
        assert (run.backends, run.metrics, run.ended_at) == (_backends(), {}, None)
        assert run.started_at.utcoffset() is not None

    @pytest.mark.parametrize("status", _END_STATUSES)
    def test_ended_run_keeps_its_status(
        self, catalog: CatalogInterface, experiment: ExperimentAddress, status: str
    ) -> None:
        """The end status reads back, and only that run ends; a failed one must not look finished."""
        first = catalog.add_run(experiment, "first", _backends())
        second = catalog.add_run(experiment, "second", _backends())
        catalog.end_run(first, status, {"loss": 0.5})
        run = catalog.get_run(first)
        assert (run.run_id, run.status, run.backends) == ("first", status, _backends())
        assert catalog.get_run(second).status == "RUNNING"

    def test_times_have_a_zone(self, catalog: CatalogInterface, experiment: ExperimentAddress) -> None:
        """Start and end carry their time zone: a team's catalog is read in many."""
        address = catalog.add_run(experiment, "run", {})
        catalog.end_run(address, "FINISHED", {})
        run = catalog.get_run(address)
        assert run.ended_at is not None
        assert run.ended_at - run.started_at >= timedelta(0)

    def test_metrics_come_back_exactly(self, catalog: CatalogInterface, experiment: ExperimentAddress) -> None:
        """Final metrics read back to the last bit."""
        metrics = {"loss": 0.1, "val_accuracy": 1 / 3, "tiny": 5e-324, "large": -1e300, "naïve 模型/recall": 1.0}
        address = catalog.add_run(experiment, "run", {})
        catalog.end_run(address, "FINISHED", metrics)
        assert catalog.get_run(address).metrics == metrics

    def test_metrics_that_are_no_numbers_come_back(
        self, catalog: CatalogInterface, experiment: ExperimentAddress
    ) -> None:
        """NaN and infinity are final metrics like others: they are what a failed run leaves."""
        address = catalog.add_run(experiment, "run", {})
        catalog.end_run(address, "FAILED", {"loss": math.nan, "up": math.inf, "down": -math.inf})
        found = catalog.get_run(address).metrics
        assert {key: repr(value) for key, value in found.items()} == {"loss": "nan", "up": "inf", "down": "-inf"}

    # Looking runs up

    def test_list_is_in_the_order_of_starting(self, catalog: CatalogInterface, experiment: ExperimentAddress) -> None:
        """Runs are listed as they started, past the ninth as well, whichever ended first."""
        addresses = [catalog.add_run(experiment, f"run-{number}", {}) for number in range(12)]
        for address in reversed(addresses):
            catalog.end_run(address, "FINISHED", {})
        assert [run.address for run in catalog.list_runs(experiment)] == addresses

    def test_list_of_one_experiment_or_all(self, catalog: CatalogInterface, experiment: ExperimentAddress) -> None:
        """An experiment selects its runs and no others; without one, all runs are listed in order."""
        other = ExperimentAddress("contract", "another family", experiment.experiment)
        addresses = [catalog.add_run(one, "run", {}) for one in (experiment, other, experiment)]
        assert [run.address for run in catalog.list_runs(experiment)] == [addresses[0], addresses[2]]
        assert [run.address for run in catalog.list_runs(other)] == [addresses[1]]
        assert [run.address for run in catalog.list_runs() if run.address in addresses] == addresses
        absent = ExperimentAddress("contract", "absent family", experiment.experiment)
        assert catalog.list_runs(absent) == []

    def test_experiments_are_listed_once(self, catalog: CatalogInterface, experiment: ExperimentAddress) -> None:
        """Every experiment that has runs is listed once, sorted."""
        other = ExperimentAddress("contract", "another family", experiment.experiment)
        for one in (experiment, other, experiment):
            catalog.add_run(one, "run", {})
        found = catalog.list_experiments()
        assert found == sorted(set(found))
        assert {experiment, other} <= set(found)

    @pytest.mark.parametrize("label", ["2", "0", "01", "abc"])
    def test_unknown_run_is_an_address_error(
        self, catalog: CatalogInterface, experiment: ExperimentAddress, label: str
    ) -> None:
        """An address that names no run raises `AddressError` and changes nothing."""
        known = catalog.add_run(experiment, "run", {})
        unknown = RunAddress(experiment, label)
        with pytest.raises(AddressError):
            catalog.get_run(unknown)
        with pytest.raises(AddressError):
            catalog.end_run(unknown, "FAILED", {})
        assert [(run.address, run.status) for run in catalog.list_runs(experiment)] == [(known, "RUNNING")]

    # Going on with a run: capability `resume`

    @pytest.mark.parametrize("status", RUN_STATUSES)
    def test_resumed_run_is_running_again(
        self, resuming: CatalogInterface, experiment: ExperimentAddress, status: str
    ) -> None:
        """A run that goes on keeps its address and its start, has no end, and ends once more; others stay."""
        address = resuming.add_run(experiment, "first", {"storage": "local"})
        other = resuming.add_run(experiment, "other", {})
        if status != "RUNNING":
            resuming.end_run(address, status, {"loss": 0.5})
        started_at = resuming.get_run(address).started_at
        resuming.resume_run(address, "second", _backends())
        run = resuming.get_run(address)
        assert (run.run_id, run.status, run.backends) == ("second", "RUNNING", _backends())
        assert (run.started_at, run.ended_at, run.metrics) == (started_at, None, {})
        resuming.end_run(address, "FINISHED", {"loss": 0.25})
        assert (resuming.get_run(address).status, resuming.get_run(address).metrics) == ("FINISHED", {"loss": 0.25})
        assert [(run.address, run.run_id) for run in resuming.list_runs(experiment)] == [
            (address, "second"), (other, "other"),
        ]  # fmt: skip

    def test_run_from_elsewhere_is_registered_under_its_address(
        self, resuming: CatalogInterface, experiment: ExperimentAddress
    ) -> None:
        """A run that another machine began keeps its number, which no later run gets."""
        address = RunAddress(experiment, "5")
        resuming.resume_run(address, "elsewhere", _backends())
        run = resuming.get_run(address)
        assert (run.address, run.run_id, run.status, run.backends) == (address, "elsewhere", "RUNNING", _backends())
        assert (run.ended_at, run.metrics) == (None, {})
        assert resuming.add_run(experiment, "next", {}) == RunAddress(experiment, "6")
        resuming.resume_run(RunAddress(experiment, "2"), "earlier", {})
        assert resuming.add_run(experiment, "last", {}) == RunAddress(experiment, "7")

    @pytest.mark.parametrize("label", ["0", "01", "abc"])
    def test_run_without_a_number_is_not_registered(
        self, catalog: CatalogInterface, experiment: ExperimentAddress, label: str
    ) -> None:
        """A label that is no number raises `AddressError` and changes nothing; who cannot resume says so."""
        error = AddressError if "resume" in catalog.capabilities else CapabilityError
        with pytest.raises(error):
            catalog.resume_run(RunAddress(experiment, label), "run", {})
        assert catalog.list_runs(experiment) == []
        assert catalog.add_run(experiment, "run", {}) == RunAddress(experiment, "1")

    # Outliving the object: fixture `reopen`

    def test_runs_outlive_the_object(
        self, catalog: CatalogInterface, experiment: ExperimentAddress, reopened: Reopen
    ) -> None:
        """Another object on the same catalog sees the runs, and numbering goes on after them."""
        address = catalog.add_run(experiment, "run", _backends())
        catalog.end_run(address, "FINISHED", {"loss": 0.5})
        expected = catalog.get_run(address)
        catalog.close()
        with reopened() as second:
            assert second.get_run(address) == expected
            assert second.add_run(experiment, "run 2", {}) == RunAddress(experiment, "2")

    def test_two_objects_share_one_numbering(
        self, catalog: CatalogInterface, experiment: ExperimentAddress, reopened: Reopen
    ) -> None:
        """Objects that register at once, as processes do, get distinct numbers without gaps."""
        with reopened() as second, ThreadPoolExecutor(max_workers=2) as pool:
            both = [pool.submit(_add_runs, one, experiment, 20) for one in (catalog, second)]
            labels = [label for one in both for label in one.result()]
        assert sorted(labels) == list(range(1, 41))


def _add_runs(catalog: CatalogInterface, experiment: ExperimentAddress, count: int) -> list[int]:
    return [int(catalog.add_run(experiment, f"run-{number}", {}).label) for number in range(count)]


def _backends() -> dict[str, str]:
    return {"storage": "s3", "tracker": "mlflow", "publisher": "console,redis"}
