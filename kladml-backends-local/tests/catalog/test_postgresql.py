"""The catalog of a team, in a real PostgreSQL."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text

from kladml.errors import CatalogError
from kladml.interfaces import EntryAddress, ExperimentAddress
from kladml.testing import CatalogContract
from kladml_backends_local import SqlCatalog
from kladml_backends_local.catalog import schema
from kladml_backends_local.catalog.engine import open_engine, read_url
from kladml_backends_local.catalog.tables import metadata

pytestmark = pytest.mark.service

DIGITS = ExperimentAddress("default", "default", "digits")
REGISTER = """
import sys
from kladml.interfaces import ExperimentAddress
from kladml_backends_local import SqlCatalog
with SqlCatalog(sys.argv[1]) as catalog:
    for number in range(10):
        print(catalog.add_run(ExperimentAddress("default", "default", "digits"), "run", {}).label)
"""
DELETE = """
import sys
from kladml.errors import AddressError
from kladml.interfaces import EntryAddress
from kladml_backends_local import SqlCatalog
with SqlCatalog(sys.argv[1]) as catalog:
    for _ in range(20):
        try:
            removal = catalog.delete_entry(EntryAddress(("default",)), recursive=True)
        except AddressError:
            continue
        print(*(run.label for run in removal.runs), sep="\\n")
"""
ADD_DATA = """
import sys
from kladml.testing.catalog_datasets import version_of
from kladml_backends_local import SqlCatalog
with SqlCatalog(sys.argv[1]) as catalog:
    for content in range(20):
        print(catalog.add_dataset(version_of("digits", fingerprint=f"blake2b:{content}"))[0].number)
"""


class TestSqlCatalogInPostgresql(CatalogContract):
    @pytest.fixture
    def catalog(self, shared_postgresql_url):
        with SqlCatalog(shared_postgresql_url) as catalog:
            yield catalog

    @pytest.fixture
    def reopen(self, shared_postgresql_url):
        return lambda: SqlCatalog(shared_postgresql_url)


@pytest.fixture
def finished(start_python):
    """Run programs at once to their ends and return what each printed; all must succeed in silence."""

    def run(*sources, url):
        processes = [start_python(source, url) for source in sources]
        results = [(*process.communicate(timeout=600), process.returncode) for process in processes]
        assert [(errors, code) for _, errors, code in results] == [("", 0)] * len(sources)
        return [[int(word) for word in output.split()] for output, _, _ in results]

    return run


def test_eight_processes_make_the_tables_and_a_new_experiment_and_number_without_gaps(finished, postgresql_url):
    labels = finished(*[REGISTER] * 8, url=postgresql_url)
    assert sorted(label for of_one in labels for label in of_one) == list(range(1, 81))
    with SqlCatalog(postgresql_url) as catalog:
        assert sorted(int(run.address.label) for run in catalog.list_runs()) == list(range(1, 81))
        assert [str(entry.address) for entry in catalog.list_entries("experiment")] == [str(DIGITS)]


def test_runs_that_start_while_their_project_is_deleted_have_distinct_numbers(finished, postgresql_url):
    with SqlCatalog(postgresql_url) as catalog:
        catalog.check()
        *given, deleted = finished(*[REGISTER] * 4, DELETE, url=postgresql_url)
        labels = sorted(label for of_one in given for label in of_one)
        assert labels == list(range(1, 41))
        left = [int(run.address.label) for run in catalog.list_runs()]
    assert sorted([*left, *deleted]) == labels


def test_workspaces_that_add_at_once_agree_on_the_number_of_each_content(finished, postgresql_url):
    """From the first row on: the tables, the data set and its versions are made by six processes together."""
    first, *others = finished(*[ADD_DATA] * 6, url=postgresql_url)
    assert others == [first] * 5
    assert sorted(first) == list(range(1, 21))
    with SqlCatalog(postgresql_url) as catalog:
        assert [version.number for version in catalog.list_datasets("digits")] == list(range(1, 21))


def test_migrations_make_the_tables_as_they_are_declared(postgresql_url):
    engine = open_engine(read_url(postgresql_url))
    schema.ensure_schema(engine)
    options = {"version_table": schema.VERSION_TABLE, "compare_type": True}
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
    engine.dispose()


def test_database_of_version_0001_is_migrated(postgresql_url):
    made = datetime(2026, 11, 23, 15, 31, 42, 765340, tzinfo=UTC)
    engine = open_engine(read_url(postgresql_url))
    config = Config()
    config.set_main_option("script_location", str(schema._MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for statement in (
            "INSERT INTO kladml_projects (name, created_at) VALUES ('default', :now)",
            "INSERT INTO kladml_families (project_id, name, created_at) VALUES (1, 'default', :now)",
            "INSERT INTO kladml_experiments (family_id, name, created_at, last_number) VALUES (1, 'digits', :now, 4)",
        ):
            connection.execute(text(statement), {"now": made.replace(tzinfo=None)})
    engine.dispose()
    with SqlCatalog(postgresql_url) as catalog:
        entry = catalog.get_entry(EntryAddress.of(DIGITS))
        assert (entry.description, entry.created_at, entry.runs) == ("", made, 0)
        assert catalog.add_run(DIGITS, "run", {}).label == "5"


def test_entries_are_sorted_as_elsewhere(postgresql_url):
    """A server's collation would put `a b` after `a-b` and capitals beside small letters."""
    with SqlCatalog(postgresql_url) as catalog:
        for name in ("b", "a-b", "a b", "B", "a.b"):
            catalog.create_entry(EntryAddress((name,)))
        assert [str(entry.address) for entry in catalog.list_entries("project")] == ["B", "a b", "a-b", "a.b", "b"]


def test_times_do_not_depend_on_the_zone_of_the_server(postgresql_url):
    with SqlCatalog(f"{postgresql_url}?options=-c%20timezone%3DAsia%2FTokyo") as catalog:
        address = catalog.add_run(DIGITS, "run", {})
    with SqlCatalog(postgresql_url) as catalog:
        assert abs(datetime.now(UTC) - catalog.get_run(address).started_at) < timedelta(minutes=5)


def test_server_that_is_away_is_an_error_without_the_password():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    url = f"postgresql://me:hunter2-s3cret@127.0.0.1:{port}/team"
    with (
        SqlCatalog(url) as catalog,
        pytest.raises(CatalogError, match=f"127.0.0.1:{port}/team cannot be used") as caught,
    ):
        catalog.check()
    assert "hunter2" not in str(caught.value)


def test_database_that_is_not_there_is_named(postgresql_port):
    with (
        SqlCatalog(f"postgresql://kladml@127.0.0.1:{postgresql_port}/absent") as catalog,
        pytest.raises(CatalogError, match='database "absent" does not exist'),
    ):
        catalog.check()
