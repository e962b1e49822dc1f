"""The tables, their migrations and their version."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

import kladml
from kladml.errors import CatalogError
from kladml.interfaces import ExperimentAddress
from kladml_backends_local import SqlCatalog
from kladml_backends_local.catalog import schema
from kladml_backends_local.catalog.engine import open_engine, sqlite_url
from kladml_backends_local.catalog.tables import metadata

DIGITS = ExperimentAddress("default", "default", "digits")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "catalog.db"


@pytest.fixture
def engine(path):
    engine = open_engine(sqlite_url(path))
    schema.ensure_schema(engine)
    return engine


@pytest.fixture
def url(path):
    return f"sqlite:///{path.as_posix()}"


def set_version(path, version):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE {schema.VERSION_TABLE} SET version_num = ?", (version,))  # noqa: S608 - a constant


def test_head_is_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", str(schema._MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]


def test_migrations_make_the_tables_as_they_are_declared(engine):
    options = {"version_table": schema.VERSION_TABLE, "compare_type": True}
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
        migrated = inspect(connection)
        for table in metadata.sorted_tables:
            unique = {constraint["name"] for constraint in migrated.get_unique_constraints(table.name)}
            assert unique == {each.name for each in table.constraints if each.name.startswith("uq_")}


def test_tables_share_a_database_with_those_of_others(path, url):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("CREATE TABLE projects (x)")
    with SqlCatalog(url) as catalog:
        catalog.add_run(DIGITS, "a", {})
    with closing(sqlite3.connect(path)) as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {name for name in names if not name.startswith("kladml_")} == {"alembic_version", "projects"}


def test_database_of_a_newer_version_is_refused_and_unchanged(engine, path, url):
    set_version(path, "0999")
    before = path.read_bytes()
    with SqlCatalog(url) as catalog, pytest.raises(CatalogError) as caught:
        catalog.add_run(DIGITS, "a", {})
    for part in ("0999", schema.HEAD, kladml.__version__, "pip install --upgrade kladml-backends-local"):
        assert part in str(caught.value)
    assert path.read_bytes() == before


def test_migration_that_fails_leaves_nothing(path, url):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE kladml_runs (in_the_way)")
    with SqlCatalog(url) as catalog, pytest.raises(CatalogError, match="kladml_runs"):
        catalog.list_runs()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("kladml_runs",)]


def test_current_database_is_opened_without_alembic(engine, url, run_python):
    program = """
import sys
from kladml_backends_local import SqlCatalog
with SqlCatalog(sys.argv[1]) as catalog:
    catalog.check()
    catalog.list_runs()
print("alembic" in sys.modules)
"""
    assert run_python(program, url) == "False\n"


def test_new_database_is_made_in_silence(path, url, run_python):
    assert run_python(f"from kladml_backends_local import SqlCatalog; SqlCatalog({url!r}).check()") == ""
    assert path.is_file()
