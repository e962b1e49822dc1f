"""Which database a URL names, and what of it is shown."""

from __future__ import annotations

import traceback

import pytest

from kladml.errors import CatalogError
from kladml.interfaces import BackendContext, ExperimentAddress
from kladml_backends_local import SqlCatalog
from kladml_backends_local.catalog.engine import open_engine, read_url, shown, sqlite_url
from kladml_backends_local.settings import SqlCatalogSettings

SECRET = "hunter2-s3cret"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"postgresql+psycopg://me:{SECRET}@db.example:5433/team?sslpassword={SECRET}",
            "postgresql+psycopg://db.example:5433/team",
        ),
        (f"mysql://me:{SECRET}@db.example/team", "mysql://db.example/team"),
        ("sqlite:////srv/catalog.db", "/srv/catalog.db"),
    ],
)
def test_shown_database_has_neither_user_nor_password_nor_options(text, expected):
    assert shown(read_url(text)) == expected
    assert repr(SqlCatalog(text)) == f"SqlCatalog({expected!r})"


@pytest.mark.parametrize(
    "text",
    [
        "",
        SECRET,
        f"postgresql://me:{SECRET}@host:port/team",
        f"no such database://me:{SECRET}@host/team",
        f"unknown://me:{SECRET}@host/team",
        f"postgresql+absent://me:{SECRET}@host/team",
    ],
)
def test_url_that_cannot_be_used_is_an_error_without_the_password(text):
    with pytest.raises(CatalogError) as caught:
        SqlCatalog(text).check()
    told = "".join(traceback.format_exception(caught.value))
    assert SECRET not in told.replace(repr(text), "").replace(f'"{text}"', "")
    assert "kladml-backends-local" in str(caught.value)


def test_password_may_stand_apart_from_the_url(tmp_path):
    url = read_url("postgresql+psycopg://me@db.example/team", SECRET)
    assert url.password == SECRET
    assert SECRET not in str(url)
    catalog = SqlCatalog.from_settings(
        SqlCatalogSettings("postgresql+psycopg://me@db.example/team", SECRET), BackendContext(workspace=tmp_path)
    )
    assert SECRET not in repr(catalog)
    assert SECRET not in repr(vars(catalog)) + repr(vars(catalog._database))


def test_password_in_a_drivers_message_is_masked(tmp_path):
    """A real message of SQLite's repeats a name here, as a server's may repeat what it was sent."""
    engine = open_engine(sqlite_url(tmp_path / "catalog.db"))
    catalog = SqlCatalog(f"postgresql+psycopg://me:{SECRET}@db.example/team")
    with (
        pytest.raises(CatalogError, match=r"cannot be read: no such table: \*\*\*") as caught,
        catalog._database._errors("cannot be read"),
        engine.connect() as connection,
    ):
        connection.exec_driver_sql(f'SELECT * FROM "{SECRET}"')  # noqa: S608 - no user's text
    assert SECRET not in "".join(traceback.format_exception(caught.value, limit=0))


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
def test_database_in_memory_is_refused(url):
    with pytest.raises(CatalogError, match="memory"):
        SqlCatalog(url)


def test_odd_paths_work(tmp_path, monkeypatch):
    for folder in ("with space", "naïve 模型", "hash#"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        with SqlCatalog() as catalog:
            catalog.add_run(ExperimentAddress("a", "b", "c"), "run", {})
        assert (tmp_path / folder / ".kladml" / "catalog.db").is_file()


@pytest.mark.parametrize("folder", ["percent%20", "why?", "100%"])
def test_workspace_whose_path_no_url_can_hold_works(tmp_path, folder):
    workspace = tmp_path / folder
    with SqlCatalog.from_settings(SqlCatalogSettings(), BackendContext(workspace=workspace)) as catalog:
        catalog.add_run(ExperimentAddress("a", "b", "c"), "run", {})
    assert [path.name for path in tmp_path.iterdir()] == [folder]
    assert (workspace / ".kladml" / "catalog.db").is_file()
