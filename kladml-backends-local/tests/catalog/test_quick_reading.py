"""Reading the catalog without SQLAlchemy gives what SQLAlchemy gives, or leaves it to SQLAlchemy."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from kladml.errors import AddressError, CatalogError
from kladml.interfaces import ExperimentAddress, RunAddress
from kladml.testing.catalog_datasets import version_of
from kladml_backends_local import SqlCatalog
from kladml_backends_local.catalog.engine import sqlite_url

DIGITS = ExperimentAddress("default", "default", "digits")
FACES = ExperimentAddress("vision", "cnn", "faces")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "catalog.db"


@pytest.fixture
def quick(file):
    with SqlCatalog(file) as catalog:
        yield catalog


@pytest.fixture
def slow(file):
    with SqlCatalog(sqlite_url(file)) as catalog:
        yield catalog


def test_both_read_the_same(quick, slow):
    for number in range(3):
        address = slow.add_run(DIGITS, f"id{number}", {"storage": "local"})
        slow.end_run(address, "FINISHED", {"loss": 1 / 3, "odd": math.inf})
    slow.add_run(FACES, "naïve 模型", {})
    slow.resume_run(RunAddress(FACES, "7"), "seven", {"tracker": "local"})
    assert quick.list_runs() == slow.list_runs()
    assert quick.list_runs(FACES) == slow.list_runs(FACES)
    assert quick.list_experiments() == slow.list_experiments()
    assert quick.get_run(RunAddress(DIGITS, "2")) == slow.get_run(RunAddress(DIGITS, "2"))
    assert quick.newest_runs(2) == slow.newest_runs(2)
    assert quick.newest_runs(2, DIGITS) == slow.newest_runs(2, DIGITS)
    assert quick.newest_runs(2, DIGITS)[1] == 3
    for given in (version_of("b", rows=None, target=None), version_of("a"), version_of("a", 10), version_of("a", 2)):
        slow.note_dataset(given)
    slow.note_dataset(replace(version_of("gone", 3), storage="s3/team"))
    slow.remove_dataset("gone", 3)
    assert [version.reference for version in quick.list_datasets()] == ["a@1", "a@2", "a@10", "b@1"]
    for name in (None, "a", "gone"):
        assert quick.list_datasets(name) == slow.list_datasets(name)
    for label in ("4", "02", "x", "1.0"):
        for catalog in (quick, slow):
            with pytest.raises(AddressError, match="there is no run"):
                catalog.get_run(RunAddress(DIGITS, label))


def test_reading_does_not_import_sqlalchemy(file, slow, run_python):
    slow.add_run(DIGITS, "id", {})
    code = f"""
import sys
from pathlib import Path
from kladml_backends_local import SqlCatalog
with SqlCatalog(Path({str(file)!r})) as catalog:
    assert len(catalog.list_runs()) == len(catalog.list_experiments()) == catalog.newest_runs(5)[1] == 1
    assert catalog.list_datasets() == []
    catalog.get_run(catalog.list_runs()[0].address)
assert "sqlalchemy" not in sys.modules
"""
    run_python(code)


def test_a_file_that_is_absent_is_made(file, quick):
    assert quick.list_runs() == []
    assert file.exists()


def test_tables_of_another_version_are_left_to_sqlalchemy(file, slow, quick):
    slow.add_run(DIGITS, "id", {})
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE kladml_catalog_version SET version_num = '9999'")
    with pytest.raises(CatalogError, match="9999"):
        quick.list_runs()


def test_a_damaged_file_is_named(file, quick):
    file.write_bytes(b"no database at all" * 100)
    with pytest.raises(CatalogError, match=r"catalog\.db"):
        quick.list_runs()
