"""Bringing a catalog's tables to the version that this distribution knows."""

from __future__ import annotations

import time
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import Column, MetaData, String, Table, inspect, select
from sqlalchemy.exc import DBAPIError

import kladml
from kladml.errors import CatalogError
from kladml_backends_local.catalog.backup import back_up
from kladml_backends_local.catalog.engine import for_writing, shown
from kladml_backends_local.catalog.version import HEAD, VERSION_TABLE
from kladml_backends_local.settings import OWNER

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

_MIGRATIONS = Path(__file__).parent / "migrations"
_ATTEMPTS = 20
_SECONDS_BETWEEN_ATTEMPTS = 0.5

# Alembic keeps the connection that it migrates in a global variable: two threads would take each other's.
_one_at_a_time = Lock()

_version = Table(VERSION_TABLE, MetaData(), Column("version_num", String(32)))


def ensure_schema(engine: Engine) -> None:
    """Make or migrate the tables where they are not of the current version; an SQLite file is copied before that.

    Alembic is imported only then: its import costs more than everything else that a catalog does.

    Raises:
        CatalogError: A newer distribution made the tables, or the file cannot be copied.
    """
    with engine.connect() as connection:
        if _revision(connection) == HEAD:
            return
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with _one_at_a_time, for_writing(engine).begin() as connection:
                _migrate(connection)
        except DBAPIError:
            # A server lets two processes begin the same migration, and one of them fails. It waits for the other.
            with engine.connect() as connection:
                if _revision(connection) == HEAD:
                    return
            if attempt == _ATTEMPTS or engine.dialect.name == "sqlite":
                raise
            time.sleep(_SECONDS_BETWEEN_ATTEMPTS)
        else:
            return


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    revision: str | None = connection.scalar(select(_version.c.version_num))
    return revision


def _migrate(connection: Connection) -> None:
    revision = _revision(connection)
    if revision == HEAD:  # another process was first
        return
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        problem = (
            f"the catalog {shown(connection.engine.url)} has version {revision}, "
            f"and {OWNER} {kladml.__version__} knows versions up to {HEAD}"
        )
        raise CatalogError(problem, owner=OWNER, next_step=f"pip install --upgrade {OWNER}, or choose another catalog")
    if revision is not None and connection.dialect.name == "sqlite":
        back_up(connection, revision)
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
