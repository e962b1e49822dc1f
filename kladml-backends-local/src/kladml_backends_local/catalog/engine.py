"""Opening the database of a catalog: SQLite in the workspace, or any database that SQLAlchemy speaks to."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from kladml.errors import CatalogError
from kladml.log import get_logger
from kladml_backends_local.settings import OWNER
from kladml_backends_local.sqlite_errors import is_locked

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

log = get_logger(__name__)

_BUSY_SECONDS = 60
_READING_SECONDS = 10
"""How long who only reads waits: a person looks at the screen, and nothing is lost."""
_PATIENCE_SECONDS = 1
"""How long it is waited in silence, and how long an interrupt may take."""
_CONNECT_SECONDS = 10
_DRIVER = "psycopg"
_BEGIN = "sqlite_begin"
_FIRST_READ = "SELECT 1 FROM sqlite_master LIMIT 1"


def sqlite_url(path: Path) -> URL:
    """Return the URL of an SQLite file."""
    return URL.create("sqlite", database=str(path))


def read_url(text: str | URL, password: str | None = None, folder: Path | None = None) -> URL:
    """Read a database URL.

    Args:
        text: The URL, or one that was read already.
        password: The password, where the URL has none.
        folder: What the path of an SQLite file is relative to; the current folder if not given.

    Raises:
        CatalogError: The text is no URL, or names an SQLite database in memory.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # The cause repeats the URL, and with it a password.
        problem = "the URL of the catalog's database cannot be read"
        raise CatalogError(
            problem,
            owner=OWNER,
            next_step="write it as sqlite:///catalog.db or postgresql+psycopg://user@host/database",
        ) from None
    if password is not None:
        url = url.set(password=password)
    if not _is_sqlite(url):
        # SQLAlchemy 2.0 takes another driver for it than 2.1; this is the one that the extra brings.
        return url.set(drivername=f"postgresql+{_DRIVER}") if url.drivername == "postgresql" else url
    if url.database in (None, "", ":memory:") or "memory" in url.query.values():
        problem = "an SQLite database in memory keeps no catalog"
        raise CatalogError(problem, owner=OWNER, next_step="name a file, such as sqlite:///catalog.db")
    if str(url.database).startswith("file:"):
        return url
    return url.set(database=str((folder or Path.cwd()) / Path(str(url.database)).expanduser()))


def shown(url: URL) -> str:
    """Return a database as errors and logs name it: without user, password and options."""
    if _is_sqlite(url):
        return str(url.database)
    where = f"{url.host or ''}{f':{url.port}' if url.port else ''}"
    return f"{url.drivername}://{where}/{url.database or ''}"


def open_engine(url: URL) -> Engine:
    """Return an engine whose transactions on SQLite are real ones.

    Raises:
        CatalogError: The driver of the database is not installed, or SQLite's folder cannot be made.
    """
    try:
        if not _is_sqlite(url):
            return create_engine(_impatient(url), pool_pre_ping=True)
        path = Path(str(url.database))
        if not str(path).startswith("file:"):
            path.parent.mkdir(parents=True, exist_ok=True)
        # A connection per transaction costs next to nothing on SQLite, and none stays open across a fork.
        engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": _PATIENCE_SECONDS})
    except (ImportError, ArgumentError) as error:  # ArgumentError: SQLAlchemy knows no such database
        problem = f"the driver of the catalog's database {shown(url)} cannot be loaded: {error}"
        extra = f"pip install '{OWNER}[postgresql]'" if url.get_driver_name() == _DRIVER else "install it"
        raise CatalogError(problem, owner=OWNER, next_step=f"{extra}, or correct the URL") from error
    except OSError as error:
        problem = f"the folder of the catalog {shown(url)} cannot be made: {error}"
        raise CatalogError(problem, owner=OWNER, next_step="choose a folder that you may write to") from error
    event.listen(engine, "connect", _check_references)
    event.listen(engine, "begin", _begin)
    return engine


def for_writing(engine: Engine) -> Engine:
    """Return the same engine with transactions that write: on SQLite one at a time, from their beginning.

    A transaction that begins by reading and then writes would fail, instead of wait, where another process
    writes in between.
    """
    return engine.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})


def cause(error: Exception, url: URL) -> str:
    """Return what a database said, in one line and without the password."""
    original = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    text = next(iter(str(original).strip().splitlines()), type(original).__name__)
    return text.replace(str(url.password), "***") if url.password else text


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _impatient(url: URL) -> URL:
    """Return the URL with a limit on connecting, without which a server that is away would stop a run for minutes."""
    if url.get_backend_name() != "postgresql" or "connect_timeout" in url.query:
        return url
    return url.update_query_dict({"connect_timeout": str(_CONNECT_SECONDS)})


def _check_references(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    # Python's sqlite3 alone would begin a transaction at the first change, not at the first read.
    begin = connection.get_execution_options().get(_BEGIN)
    if begin is not None:
        _take(connection, begin, _BUSY_SECONDS)
    else:
        connection.exec_driver_sql("BEGIN")  # asks nobody; the first read does, and holds what it gets to the end
        _take(connection, _FIRST_READ, _READING_SECONDS)
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {round(_BUSY_SECONDS * 1000)}")


def _take(connection: Connection, statement: str, seconds: float) -> None:
    """Execute what takes SQLite's lock; if another process has it, say so and wait."""
    deadline: float | None = None
    while True:
        try:
            connection.exec_driver_sql(statement)
        except OperationalError as error:
            if not is_locked(error.orig) or (deadline is not None and monotonic() >= deadline):
                raise
            if deadline is None:
                deadline = monotonic() + seconds
                name = shown(connection.engine.url)
                log.info(f"another process writes to {name}; waiting for up to {seconds} seconds")
        else:
            return
