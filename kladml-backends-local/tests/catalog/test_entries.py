"""Projects, families and experiments in an SQL database, beyond the contract."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from kladml.errors import AddressError, CatalogError
from kladml.interfaces import EntryAddress, ExperimentAddress, RunAddress
from kladml_backends_local import SqlCatalog

DIGITS = ExperimentAddress("default", "default", "digits")
PROJECT = EntryAddress(("default",))
DELETE = """
import sys
from kladml.errors import AddressError
from kladml.interfaces import EntryAddress
from kladml_backends_local import SqlCatalog
with SqlCatalog(sys.argv[1]) as catalog:
    for _ in range(5):
        try:
            removal = catalog.delete_entry(EntryAddress(("default",)), recursive=True)
        except AddressError:
            continue
        print(*(run.label for run in removal.runs), sep="\\n")
"""
REGISTER = """
import sys
from kladml.interfaces import ExperimentAddress
from kladml_backends_local import SqlCatalog
with SqlCatalog(sys.argv[1]) as catalog:
    for number in range(10):
        print(catalog.add_run(ExperimentAddress("default", "default", "digits"), "run", {}).label)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "catalog.db"


@pytest.fixture
def url(path):
    return f"sqlite:///{path.as_posix()}"


@pytest.fixture
def catalog(url):
    with SqlCatalog(url) as catalog:
        yield catalog


def test_many_runs_and_experiments_are_deleted_whole(catalog, path):
    catalog.add_run(DIGITS, "first", {})
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            """
            WITH RECURSIVE numbers(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2000)
            INSERT INTO kladml_experiments (family_id, name, created_at, last_number)
            SELECT 1, 'e' || n, '2026-01-01 00:00:00.000000', 5 FROM numbers;
            INSERT INTO kladml_runs (experiment_id, number, run_id, status, started_at, metrics, backends)
            SELECT id, 5, 'run', 'FINISHED', '2026-01-01 00:00:00.000000', '{}', '{}' FROM kladml_experiments;
            """
        )
    assert catalog.get_entry(PROJECT).runs == 2001
    removal = catalog.delete_entry(PROJECT, recursive=True)
    assert (len(removal.below), len(removal.runs)) == (2001, 2001)
    assert (catalog.list_entries("project"), catalog.list_runs()) == ([], [])
    assert catalog.add_run(ExperimentAddress("default", "default", "e7"), "run", {}).label == "6"


def test_experiment_is_deleted_and_made_again_any_number_of_times(catalog):
    for number in range(1, 5):
        assert catalog.add_run(DIGITS, "run", {}).label == str(number)
        catalog.delete_entry(EntryAddress.of(DIGITS), recursive=True)
    # One that gave no number forgets none.
    catalog.create_entry(EntryAddress.of(DIGITS))
    catalog.delete_entry(EntryAddress.of(DIGITS))
    assert catalog.add_run(DIGITS, "run", {}).label == "5"


def test_run_that_goes_on_after_its_deletion_keeps_its_number(catalog):
    first = catalog.add_run(DIGITS, "run", {})
    catalog.delete_entry(PROJECT, recursive=True)
    catalog.resume_run(first, "run", {})
    assert catalog.add_run(DIGITS, "run", {}) == RunAddress(DIGITS, "2")


def test_unknown_entries_name_the_nearest(catalog):
    catalog.create_entry(EntryAddress.parse("CustomerChurn/DeepLearning/transformer"))
    with pytest.raises(AddressError) as caught:
        catalog.get_entry(EntryAddress.parse("CustomerChurn/DepLearning"))
    assert str(caught.value) == (
        "there is no family 'CustomerChurn/DepLearning' (kladml-backends-local); did you mean "
        "'CustomerChurn/DeepLearning'? 'kladml family list' shows those there are"
    )
    for call in (catalog.delete_entry, lambda address: catalog.list_entries("experiment", address)):
        with pytest.raises(AddressError, match="did you mean 'CustomerChurn/DeepLearning/transformer'"):
            call(EntryAddress.parse("CustomerChurn/DeepLearning/transfromer"))


def test_names_differ_in_case(catalog):
    catalog.create_entry(EntryAddress(("churn",)), "small")
    catalog.create_entry(EntryAddress(("Churn",)), "large")
    assert [entry.description for entry in catalog.list_entries("project")] == ["large", "small"]


def test_entry_below_its_own_level_lists_nothing(catalog):
    catalog.create_entry(EntryAddress.parse("a/b/c"))
    assert catalog.list_entries("family", EntryAddress.parse("a/b")) == []
    assert catalog.list_entries("project", EntryAddress.parse("a/b/c")) == []


def test_deletion_that_fails_leaves_everything(catalog, path):
    runs = [catalog.add_run(DIGITS, "run", {}) for _ in range(3)]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TRIGGER no BEFORE DELETE ON kladml_families BEGIN SELECT RAISE(FAIL, 'the disk is gone'); END"
        )
    with pytest.raises(CatalogError, match=r"cannot delete 'default': .*the disk is gone"):
        catalog.delete_entry(PROJECT, recursive=True)
    assert [run.address for run in catalog.list_runs()] == runs
    assert catalog.add_run(DIGITS, "run", {}).label == "4"


def test_runs_that_start_while_their_project_is_deleted_have_distinct_numbers(start_python, url):
    processes = [start_python(source, url) for source in [REGISTER] * 3 + [DELETE]]
    results = [(*process.communicate(timeout=600), process.returncode) for process in processes]
    assert [(errors, code) for _, errors, code in results] == [("", 0)] * 4
    given = sorted(int(label) for output, _, _ in results[:3] for label in output.split())
    assert given == list(range(1, 31))
    with SqlCatalog(url) as catalog:
        left = {run.address.label for run in catalog.list_runs()}
    deleted = results[3][0].split()
    assert sorted(map(int, [*left, *deleted])) == given
