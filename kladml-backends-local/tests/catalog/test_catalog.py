"""The catalog in an SQL database."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from kladml.errors import AddressError, CatalogError
from kladml.interfaces import BackendContext, ExperimentAddress, RunAddress
from kladml.testing import CatalogContract
from kladml.workspace import Workspace
from kladml_backends_local import SqlCatalog
from kladml_backends_local.settings import SqlCatalogSettings

DIGITS = ExperimentAddress("default", "default", "digits")
REGISTER = """
import sys
from kladml.interfaces import ExperimentAddress
from kladml_backends_local import SqlCatalog
with SqlCatalog("sqlite:///state/catalog.db") as catalog:
    for number in range(10):
        address = catalog.add_run(ExperimentAddress("default", "default", "digits"), sys.argv[1], {})
        print(address.label)
"""


class TestSqlCatalog(CatalogContract):
    @pytest.fixture
    def url(self, tmp_path):
        return f"sqlite:///{(tmp_path / 'catalog.db').as_posix()}"

    @pytest.fixture
    def catalog(self, url):
        with SqlCatalog(url) as catalog:
            yield catalog

    @pytest.fixture
    def reopen(self, url):
        return lambda: SqlCatalog(url)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "catalog.db"


@pytest.fixture
def catalog(path):
    with SqlCatalog(f"sqlite:///{path.as_posix()}") as catalog:
        yield catalog


def rows(path, query):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_eight_processes_that_start_at_once_number_without_gaps(start_python, tmp_path):
    processes = [start_python(REGISTER, name) for name in "abcdefgh"]
    results = [(*process.communicate(timeout=600), process.returncode) for process in processes]
    assert [(errors, code) for _, errors, code in results] == [("", 0)] * 8
    labels = [int(label) for output, _, _ in results for label in output.split()]
    assert sorted(labels) == list(range(1, 81))
    stored = rows(tmp_path / "state" / "catalog.db", "SELECT number FROM kladml_runs ORDER BY id")
    assert stored == [(number,) for number in range(1, 81)]
    counts = "SELECT (SELECT count(*) FROM kladml_projects), (SELECT count(*) FROM kladml_experiments)"
    assert rows(tmp_path / "state" / "catalog.db", counts) == [(1, 1)]


def test_failed_registration_leaves_no_gap(catalog, path):
    catalog.add_run(DIGITS, "a", {})
    with pytest.raises(CatalogError, match="cannot register"):
        catalog.add_run(DIGITS, "b", {"storage": object()})
    assert catalog.add_run(DIGITS, "c", {}) == RunAddress(DIGITS, "2")
    new = ExperimentAddress("new project", "default", "digits")
    with pytest.raises(CatalogError):
        catalog.add_run(new, "d", {"storage": object()})
    assert rows(path, "SELECT name FROM kladml_projects") == [("default",)]


def test_times_are_kept_in_utc(catalog, path, monkeypatch):
    before = datetime.now(timezone(timedelta(hours=-9)))
    address = catalog.add_run(DIGITS, "a", {})
    catalog.end_run(address, "FINISHED", {})
    run = catalog.get_run(address)
    assert before - timedelta(seconds=1) <= run.started_at <= run.ended_at <= datetime.now(UTC) + timedelta(seconds=1)
    assert run.started_at.tzinfo is UTC
    ((stored,),) = rows(path, "SELECT started_at FROM kladml_runs")
    assert datetime.fromisoformat(stored).replace(tzinfo=UTC) == run.started_at


def test_metrics_are_plain_json_in_the_database(catalog, path):
    address = catalog.add_run(DIGITS, "a", {})
    catalog.end_run(address, "FAILED", {"loss": math.nan, "val_accuracy": 0.5})
    assert rows(path, "SELECT metrics FROM kladml_runs") == [('{"loss": "nan", "val_accuracy": 0.5}',)]


def test_unknown_status_is_refused(catalog):
    address = catalog.add_run(DIGITS, "a", {})
    with pytest.raises(CatalogError, match="DONE"):
        catalog.end_run(address, "DONE", {})
    assert catalog.get_run(address).status == "RUNNING"


@pytest.mark.parametrize("label", ["99999999999999999999", "1_0", "1.0"])
def test_label_that_only_looks_like_a_number_is_no_run(catalog, label):
    for _ in range(10):
        catalog.add_run(DIGITS, "a", {})
    with pytest.raises(AddressError, match="kladml runs list"):
        catalog.get_run(RunAddress(DIGITS, label))


def test_ten_thousand_runs_are_listed_whole(catalog, path):
    catalog.add_run(DIGITS, "first", {"storage": "local"})
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            """
            WITH RECURSIVE numbers(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10000)
            INSERT INTO kladml_runs (experiment_id, number, run_id, status, started_at, metrics, backends)
            SELECT experiment_id, n, 'run-' || n, 'FINISHED', started_at, '{"loss": 0.5}', backends
            FROM numbers, kladml_runs
            """
        )
    listed = catalog.list_runs(DIGITS)
    assert [run.address.label for run in listed] == [str(number) for number in range(1, 10_001)]
    assert (listed[-1].run_id, listed[-1].metrics, listed[-1].backends) == (
        "run-10000",
        {"loss": 0.5},
        {"storage": "local"},
    )
    assert catalog.get_run(RunAddress(DIGITS, "5000")) == listed[4999]


def test_default_database_lies_in_the_workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SqlCatalog() as catalog:
        catalog.add_run(DIGITS, "a", {})
    assert (tmp_path / ".kladml" / "catalog.db").is_file()
    assert Workspace.find().root == tmp_path


def test_settings_are_relative_to_the_workspace(tmp_path, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    context = BackendContext(workspace=tmp_path)
    with SqlCatalog.from_settings(SqlCatalogSettings(), context) as catalog:
        catalog.check()
    with SqlCatalog.from_settings(SqlCatalogSettings(url="sqlite:///team/runs.db"), context) as catalog:
        catalog.check()
    assert (tmp_path / ".kladml" / "catalog.db").is_file()
    assert (tmp_path / "team" / "runs.db").is_file()


def test_relative_path_of_a_url_is_relative_to_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with SqlCatalog("sqlite:///runs.db") as catalog:
        monkeypatch.chdir("/")
        catalog.check()
    assert (tmp_path / "runs.db").is_file()


def test_check_of_a_damaged_database_names_it(catalog, path):
    path.write_bytes(b"no database" * 1_000)
    with pytest.raises(CatalogError, match="not a database") as caught:
        catalog.check()
    assert str(path) in str(caught.value)
    assert "kladml-backends-local" in str(caught.value)


def test_folder_that_cannot_be_made_is_a_catalog_error(blocked):
    with pytest.raises(CatalogError, match="cannot be made"):
        SqlCatalog(f"sqlite:///{blocked.as_posix()}/catalog.db").check()


def test_closed_catalog_opens_again(catalog):
    address = catalog.add_run(DIGITS, "a", {})
    catalog.close()
    assert catalog.get_run(address).run_id == "a"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux lists a process's open files there")
def test_no_connection_stays_open_between_calls(catalog, path):
    catalog.add_run(DIGITS, "a", {})
    assert path.samefile(catalog._database.url.database)
    open_files = [link.resolve() for link in Path("/proc/self/fd").iterdir()]
    assert path not in open_files


def test_a_new_catalog_counts_on_from_the_runs_that_are_kept(tmp_path):
    """After a catalog was lost, or another was chosen, no run writes over the files of an earlier one."""
    state = Workspace.create(tmp_path).state
    for name in ("1", "7", "earlier-ab", "12345678901"):
        (state / "runs/default/default/digits" / name).mkdir(parents=True)
    context = BackendContext(workspace=tmp_path)
    for settings in (SqlCatalogSettings(), SqlCatalogSettings(url="sqlite:///team.db")):
        with SqlCatalog.from_settings(settings, context) as catalog:
            assert [catalog.add_run(DIGITS, "a" * 32, {}).label for _ in range(2)] == ["8", "9"]
            assert catalog.add_run(ExperimentAddress("default", "default", "other"), "a" * 32, {}).label == "1"
