from datetime import UTC, datetime
from threading import Lock

import pytest

from kladml.errors import AddressError
from kladml.interfaces import CatalogInterface, CatalogRun, RunAddress
from kladml.testing import CatalogContract
from kladml.testing.fakes import MemoryCatalog


class MinimalCatalog(CatalogInterface):
    """The three abstract methods and nothing more, on a list that outlives the object."""

    def __init__(self, rows, lock):
        self.rows = rows
        self.lock = lock

    def add_run(self, experiment, run_id, backends):
        with self.lock:
            address = RunAddress(experiment, str(len(self.list_runs(experiment)) + 1))
            self.rows[address] = CatalogRun(address, run_id, "RUNNING", datetime.now(UTC), backends=dict(backends))
            return address

    def end_run(self, address, status, metrics):
        if address not in self.rows:
            raise AddressError(str(address))
        run = self.rows[address]
        end = datetime.now(UTC)
        self.rows[address] = CatalogRun(address, run.run_id, status, run.started_at, end, dict(metrics), run.backends)

    def list_runs(self, experiment=None):
        return [run for run in list(self.rows.values()) if experiment in (None, run.address.experiment)]


class TestMemoryCatalog(CatalogContract):
    @pytest.fixture
    def catalog(self):
        return MemoryCatalog()


class TestMinimalCatalog(CatalogContract):
    @pytest.fixture
    def catalog(self):
        return MinimalCatalog({}, Lock())

    @pytest.fixture
    def reopen(self, catalog):
        return lambda: MinimalCatalog(catalog.rows, catalog.lock)


# What a catalog breaks as well whose numbers follow from the runs that it has.
GIVEN_AGAIN = {
    "test_number_of_a_deleted_run_is_not_given_again",
    "test_experiment_that_is_made_again_goes_on_counting",
}

CONTRACT = """
import time
from dataclasses import replace
from datetime import UTC, datetime
from threading import Lock

import pytest

from kladml.errors import AddressError
from kladml.interfaces import CatalogRun, RunAddress
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


def test_contract_itself_fails_nothing(failing_cases):
    assert failing_cases(broken("class Broken(MemoryCatalog): pass")) == set()


def test_catalog_that_counts_before_it_locks(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def add_run(self, experiment, run_id, backends):
        address = RunAddress(experiment, str(len(self.list_runs(experiment)) + 1))
        time.sleep(0.001)  # another thread counts in the meantime
        with self._lock:
            self._keep(CatalogRun(address, run_id, "RUNNING", datetime.now(UTC), backends=dict(backends)), 0)
        return address
"""
    assert failing_cases(broken(source)) == {
        "test_threads_get_distinct_numbers",
        "test_run_from_elsewhere_is_registered_under_its_address",
        *GIVEN_AGAIN,
    }


def test_catalog_that_counts_from_zero(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def add_run(self, experiment, run_id, backends):
        with self._lock:
            address = RunAddress(experiment, str(len(self.list_runs(experiment))))
            self._keep(CatalogRun(address, run_id, "RUNNING", datetime.now(UTC), backends=dict(backends)), 0)
        return address
"""
    assert failing_cases(broken(source)) == {
        "test_numbers_start_at_one_without_gaps",
        "test_every_experiment_counts_for_itself",
        "test_threads_get_distinct_numbers",
        "test_unknown_run_is_an_address_error",
        "test_run_from_elsewhere_is_registered_under_its_address",
        "test_run_without_a_number_is_not_registered",
        "test_runs_join_the_entry_that_was_made",
        *GIVEN_AGAIN,
    }


def test_catalog_that_counts_all_experiments_together(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def add_run(self, experiment, run_id, backends):
        with self._lock:
            address = RunAddress(experiment, str(len(self.runs) + 1))
            self._keep(CatalogRun(address, run_id, "RUNNING", datetime.now(UTC), backends=dict(backends)), 0)
        return address
"""
    assert failing_cases(broken(source)) == {
        "test_every_experiment_counts_for_itself",
        "test_run_from_elsewhere_is_registered_under_its_address",
        *GIVEN_AGAIN,
    }


def test_catalog_that_counts_running_runs_only(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def add_run(self, experiment, run_id, backends):
        with self._lock:
            running = sum(run.status == "RUNNING" for run in self.list_runs(experiment))
            address = RunAddress(experiment, str(running + 1))
            self._keep(CatalogRun(address, run_id, "RUNNING", datetime.now(UTC), backends=dict(backends)), 0)
        return address
"""
    assert failing_cases(broken(source)) == {
        "test_numbers_start_at_one_without_gaps",
        "test_run_from_elsewhere_is_registered_under_its_address",
        *GIVEN_AGAIN,
    }


def test_catalog_that_ignores_the_family(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def list_runs(self, experiment=None):
        name = experiment and experiment.experiment
        return [run for run in super().list_runs() if name in (None, run.address.experiment.experiment)]
"""
    assert failing_cases(broken(source)) == {"test_list_of_one_experiment_or_all"}


def test_catalog_that_sorts_numbers_as_text(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def list_runs(self, experiment=None):
        return sorted(super().list_runs(experiment), key=lambda run: str(run.address))
"""
    assert failing_cases(broken(source)) == {
        "test_list_is_in_the_order_of_starting",
        "test_list_of_one_experiment_or_all",
    }


def test_catalog_that_reads_labels_as_numbers(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def get_run(self, address):
        for run in self.list_runs(address.experiment):
            if address.label.isdigit() and int(run.address.label) == int(address.label):
                return run
        raise AddressError("no such run")
"""
    assert failing_cases(broken(source)) == {"test_unknown_run_is_an_address_error"}


def test_catalog_that_loses_the_status(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def end_run(self, address, status, metrics):
        super().end_run(address, "FINISHED", metrics)
"""
    assert failing_cases(broken(source)) == {"test_ended_run_keeps_its_status"}


def test_catalog_that_ends_unknown_runs_in_silence(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def end_run(self, address, status, metrics):
        try:
            super().end_run(address, status, metrics)
        except AddressError:
            pass
"""
    assert failing_cases(broken(source)) == {"test_unknown_run_is_an_address_error"}


def test_catalog_that_loses_the_time_zone(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def list_runs(self, experiment=None):
        return [replace(run, started_at=run.started_at.replace(tzinfo=None)) for run in super().list_runs(experiment)]
"""
    assert failing_cases(broken(source)) == {
        "test_new_run_is_running",
        "test_times_have_a_zone",
        "test_entry_knows_when_its_newest_run_started",
        "test_deleted_run_is_gone_alone",
    }


def test_catalog_that_drops_nan(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def end_run(self, address, status, metrics):
        super().end_run(address, status, {key: value for key, value in metrics.items() if value == value})
"""
    assert failing_cases(CONTRACT.replace("{broken}", source)) == {"test_metrics_that_are_no_numbers_come_back"}


def test_catalog_that_forgets_at_the_end_of_the_process(failing_cases):
    source = """
class Broken(MemoryCatalog):
    pass

class TestForgetful(CatalogContract):
    @pytest.fixture
    def catalog(self):
        return Broken()

    @pytest.fixture
    def reopen(self):
        return Broken
"""
    assert failing_cases(broken(source)) == {
        "test_runs_outlive_the_object",
        "test_two_objects_share_one_numbering",
        "test_entries_outlive_the_object",
        "test_versions_outlive_the_object",
        "test_two_objects_share_the_numbers_of_data_sets",
    }


def test_catalog_whose_resumed_run_keeps_its_end(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def resume_run(self, address, run_id, backends):
        before = {run.address: run.ended_at for run in self.runs}
        super().resume_run(address, run_id, backends)
        index = self._index_of(address)
        self.runs[index] = replace(self.runs[index], ended_at=before.get(address))
"""
    assert failing_cases(broken(source)) == {"test_resumed_run_is_running_again"}


def test_catalog_that_resumes_as_a_new_run(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def resume_run(self, address, run_id, backends):
        if self._index_of(address) is None:
            super().resume_run(address, run_id, backends)
        else:
            self.add_run(address.experiment, run_id, backends)
"""
    assert failing_cases(broken(source)) == {"test_resumed_run_is_running_again"}


def test_catalog_that_gives_the_number_of_a_run_from_elsewhere_again(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def add_run(self, experiment, run_id, backends):
        with self._lock:
            address = RunAddress(experiment, str(len(self.list_runs(experiment)) + 1))
            self._keep(CatalogRun(address, run_id, "RUNNING", datetime.now(UTC), backends=dict(backends)), 0)
        return address
"""
    assert failing_cases(broken(source)) == {
        "test_run_from_elsewhere_is_registered_under_its_address",
        *GIVEN_AGAIN,
    }


def test_catalog_that_registers_labels_of_others(failing_cases):
    source = """
class Broken(MemoryCatalog):
    def resume_run(self, address, run_id, backends):
        if address.label.isdecimal():
            super().resume_run(address, run_id, backends)
        else:
            self.add_run(address.experiment, run_id, backends)
"""
    assert failing_cases(broken(source)) == {"test_run_without_a_number_is_not_registered"}
