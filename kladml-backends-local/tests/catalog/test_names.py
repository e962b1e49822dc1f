"""Names for completion come from the file at once, or not at all, and nothing is written."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from kladml.interfaces import ExperimentAddress
from kladml_backends_local.catalog import SqlCatalog
from kladml_backends_local.catalog.names import CatalogNames

DIGITS = ExperimentAddress("vision", "cnn", "digits")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "catalog.db"
    with SqlCatalog(path) as catalog:
        for number in range(3):
            address = catalog.add_run(DIGITS, f"{number:032x}", {})
            catalog.end_run(address, "FINISHED", {"loss": 1.0, f"metric_{number}": 0.5})
        catalog.add_run(ExperimentAddress("vision", "rnn", "text"), "f" * 32, {})
    return path


def test_names(file):
    names = CatalogNames(file)
    assert names.entries("project") == [("vision",)]
    assert names.entries("family") == [("vision", "cnn"), ("vision", "rnn")]
    assert names.entries("experiment") == [("vision", "cnn", "digits"), ("vision", "rnn", "text")]
    assert [str(one) for one in names.experiments_with_runs()] == ["vision/cnn/digits", "vision/rnn/text"]
    assert [label for label, _ in names.labels(DIGITS)] == ["3", "2", "1"]
    assert names.labels(DIGITS)[0][1].startswith("FINISHED 2")
    assert names.metrics() == ["loss", "metric_0", "metric_1", "metric_2"]


def all_of(names):
    return [names.entries("project"), names.labels(DIGITS), names.metrics(), names.experiments_with_runs()]


def test_a_file_that_is_absent_or_damaged_has_none(tmp_path):
    file = tmp_path / "catalog.db"
    assert all_of(CatalogNames(file)) == [[], [], [], []]
    assert not file.exists()
    file.write_bytes(b"no database" * 100)
    assert all_of(CatalogNames(file)) == [[], [], [], []]


def test_a_file_that_is_locked_has_none(file):
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        assert all_of(CatalogNames(file)) == [[], [], [], []]
