"""A database of an earlier version is copied, then migrated; a damaged or locked one is named with its backup."""

from __future__ import annotations

import errno
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from kladml.errors import CatalogError
from kladml.interfaces import EntryAddress, RunAddress
from kladml.testing.catalog_datasets import version_of
from kladml_backends_local import SqlCatalog
from kladml_backends_local.catalog import backup, engine, schema

VERSION_0001 = Path(__file__).with_name("version_0001.sql").read_text(encoding="utf-8")
OPEN = """
import sys
from kladml_backends_local import SqlCatalog
with SqlCatalog(sys.argv[1]) as catalog:
    print(len(catalog.list_runs()))
"""
HOLD = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def path(tmp_path):
    """A database that version 0001 made."""
    path = tmp_path / "catalog.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_0001)
    return path


@pytest.fixture
def copy(path):
    return path.with_name("catalog.db.bak-0001")


@pytest.fixture
def url(path):
    return f"sqlite:///{path.as_posix()}"


def dump(path):
    with closing(sqlite3.connect(path)) as connection:
        return [*connection.iterdump()]


def test_what_an_earlier_version_knew_is_kept(path, url):
    with SqlCatalog(url) as catalog:
        runs = {str(run.address): run for run in catalog.list_runs()}
        digits = catalog.get_entry(EntryAddress.parse("default/default/digits"))
        assert (digits.description, digits.runs, digits.last_run_at) == (
            "",
            2,
            runs["default/default/digits@2"].started_at,
        )
        catalog.describe_entry(digits.address, "Handwritten digits.")
        assert catalog.add_run(RunAddress.parse("digits@2").experiment, "new", {}).label == "3"
    assert [*runs] == [
        "default/default/digits@1",
        "default/default/digits@2",
        "CustomerChurn/DeepLearning/transformer@1",
    ]
    first, second, third = runs.values()
    assert (first.run_id, first.status, first.metrics) == ("0f3c9b7a", "FINISHED", {"val_accuracy": 0.9})
    assert first.backends == {"storage": "local", "tracker": "local"}
    assert repr(second.metrics) == "{'loss': nan}"
    assert (third.status, third.ended_at) == ("RUNNING", None)


def test_copy_is_what_there_was_before(path, url, copy, caplog):
    before = dump(path)
    caplog.set_level("INFO", "kladml_backends_local")
    with SqlCatalog(url) as catalog:
        catalog.check()
    assert dump(copy) == before
    assert str(copy) in caplog.text
    assert sorted(each.name for each in path.parent.iterdir()) == ["catalog.db", "catalog.db.bak-0001"]


def test_version_0002_is_copied_and_gets_data_sets(path, url):
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(schema._MIGRATIONS))
    opened = engine.open_engine(engine.read_url(url))
    with engine.for_writing(opened).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
    opened.dispose()
    before = dump(path)
    with SqlCatalog(path) as catalog:
        assert catalog.list_datasets() == []
        assert len(catalog.list_runs()) == 3
        assert catalog.add_dataset(version_of("digits"))[0].number == 1
    assert dump(path.with_name("catalog.db.bak-0002")) == before


def test_new_and_current_databases_are_not_copied(tmp_path):
    for _ in range(2):
        with SqlCatalog(f"sqlite:///{(tmp_path / 'new.db').as_posix()}") as catalog:
            catalog.check()
    assert [each.name for each in tmp_path.iterdir()] == ["new.db"]


def test_restored_copy_is_migrated_again(path, url, copy):
    for _ in range(2):
        with SqlCatalog(url) as catalog:
            assert len(catalog.list_runs()) == 3
        path.write_bytes(copy.read_bytes())


def test_migration_that_fails_leaves_the_database_and_its_copy(path, url, copy):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE kladml_retired_numbers (in_the_way)")
    before = dump(path)
    with SqlCatalog(url) as catalog, pytest.raises(CatalogError, match="kladml_retired_numbers"):
        catalog.list_runs()
    assert dump(path) == before == dump(copy)


def test_nothing_is_migrated_where_the_copy_cannot_be_written(path, url, copy, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = dump(path)
    with monkeypatch.context() as patch:
        patch.setattr(backup.os, "fsync", full)
        with SqlCatalog(url) as catalog, pytest.raises(CatalogError, match="No space left") as caught:
            catalog.list_runs()
    assert "make room" in str(caught.value)
    assert "version 0001" in str(caught.value)
    assert dump(path) == before
    assert [each.name for each in path.parent.iterdir()] == ["catalog.db"]


def test_processes_that_migrate_at_once_copy_what_there_was(path, url, copy, start_python):
    before = dump(path)
    processes = [start_python(OPEN, url) for _ in range(4)]
    results = [(*process.communicate(timeout=600), process.returncode) for process in processes]
    assert results == [("3\n", "", 0)] * 4
    assert dump(copy) == before


def damage(path):
    """Overwrite the second half of a database, as a bad disk would."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + b"\xff" * (len(content) - len(content) // 2))


def test_damaged_database_is_not_migrated_and_keeps_its_older_copy(path, url, copy):
    copy.write_bytes(path.read_bytes())
    damage(path)
    with SqlCatalog(url) as catalog, pytest.raises(CatalogError) as caught:
        catalog.list_runs()
    assert f"put the backup in its place: {copy}" in str(caught.value)
    assert len(dump(copy)) > 10


def test_damaged_database_is_named_with_its_backup(path, url, copy):
    with SqlCatalog(url) as catalog:
        catalog.check()
        damage(path)
        with pytest.raises(CatalogError) as caught:
            catalog.list_runs()
    for part in (str(path), "malformed", f"put the backup in its place: {copy}", "kladml-backends-local"):
        assert part in str(caught.value)


def test_damaged_database_without_a_backup_says_so(tmp_path):
    path = tmp_path / "catalog.db"
    path.write_bytes(b"no database" * 1_000)
    with SqlCatalog(f"sqlite:///{path.as_posix()}") as catalog, pytest.raises(CatalogError) as caught:
        catalog.list_runs()
    assert "there is no backup" in str(caught.value)


def test_locked_database_is_named_with_who_may_hold_it(path, url, copy, monkeypatch):
    monkeypatch.setattr(engine, "_BUSY_SECONDS", 0.05)
    monkeypatch.setattr(engine, "_READING_SECONDS", 0.05)
    monkeypatch.setattr(engine, "_PATIENCE_SECONDS", 0.05)
    with SqlCatalog(url) as catalog, closing(sqlite3.connect(path, isolation_level=None)) as other:
        catalog.check()
        other.execute("BEGIN EXCLUSIVE")
        for call in (catalog.list_runs, catalog.check):
            with pytest.raises(CatalogError) as caught:
                call()
            for part in (str(path), "database is locked", f"'fuser {path}'", str(copy)):
                assert part in str(caught.value)


def test_waiting_for_another_process_is_said_and_succeeds(path, url, monkeypatch, caplog):
    monkeypatch.setattr(engine, "_PATIENCE_SECONDS", 0.05)
    caplog.set_level("INFO", "kladml_backends_local")
    with SqlCatalog(url) as catalog, closing(sqlite3.connect(path, isolation_level=None)) as other:
        catalog.check()
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as pool:
            adding = pool.submit(catalog.add_run, RunAddress.parse("digits@2").experiment, "run", {})
            while "another process writes to" not in caplog.text and not adding.done():
                time.sleep(0.01)
            other.execute("COMMIT")
            assert adding.result().label == "3"
    assert f"another process writes to {path}; waiting for up to 60 seconds" in caplog.text


@pytest.mark.parametrize("first", ["quickly", "by SQLAlchemy"])
def test_who_only_reads_says_that_it_waits_too_and_gives_up_sooner(path, url, first, monkeypatch, caplog, start_python):
    monkeypatch.setattr(engine, "_BUSY_SECONDS", 600)
    monkeypatch.setattr(engine, "_READING_SECONDS", 0.2)
    monkeypatch.setattr(engine, "_PATIENCE_SECONDS", 0.05)
    caplog.set_level("INFO", "kladml_backends_local")
    with SqlCatalog(url) as catalog:
        catalog.check()
    other = start_python(HOLD, path)
    assert other.stdout.readline() == "held\n"
    with SqlCatalog(path if first == "quickly" else url) as catalog:
        with pytest.raises(CatalogError, match="cannot list its runs: database is locked"):
            catalog.newest_runs(5)
        assert caplog.text.count(f"another process writes to {path}; waiting for up to 0.2 seconds") == 1
        monkeypatch.setattr(engine, "_READING_SECONDS", 600)
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(catalog.newest_runs, 5)
            while "waiting for up to 600" not in caplog.text and not reading.done():
                time.sleep(0.01)
            other.kill()
            assert reading.result()[1] == 3


def test_version_of_the_copy_is_that_of_its_tables(path, url, copy):
    with SqlCatalog(url) as catalog:
        catalog.check()
    assert schema.HEAD == "0003"
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute(f"SELECT version_num FROM {schema.VERSION_TABLE}").fetchall() == [("0001",)]  # noqa: S608 - a constant
