"""Making MLflow's SQLite database, whole, once, however many processes start at the same moment."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from kladml.errors import TrackerError
from kladml_backends_local.mlflow_import import quiet_import
from kladml_backends_local.settings import OWNER
from kladml_backends_local.sqlite_errors import what_to_do

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

_UNQUOTABLE = re.compile(r"\?|%[0-9A-Fa-f]{2}")
_LOCK_SECONDS = 300
_BUSY_SECONDS = 20


def database_uri(database: Path) -> str:
    """Return the URI with which MLflow opens a database, such as `sqlite:////home/me/.kladml/mlflow.db`.

    Raises:
        TrackerError: The path holds what means something else in a URI.
    """
    path = database.as_posix()
    # SQLAlchemy takes the rest for options or a quoted character; a quoted path misleads MLflow in turn.
    if found := _UNQUOTABLE.search(path):
        problem = f"MLflow opens no database whose path holds '{found[0]}': {database}"
        raise TrackerError(problem, owner=OWNER, next_step="rename the folder, or set tracker.local.database")
    return f"sqlite:///{path}"


def ensure_database(database: Path, artifacts: Path) -> None:
    """Make the database unless it is there.

    MLflow builds it under another name, and it gets its own name when it is complete: a process that is
    killed half-way leaves nothing that the next one would take for a database. MLflow itself has no such
    protection: of eight processes that open a missing database at once, one succeeds.

    Args:
        database: Absolute path of the database.
        artifacts: Absolute path of the folder in which runs keep their files.

    Raises:
        TrackerError: The folder cannot be written to, or MLflow cannot make its tables.
    """
    if _is_made(database):
        return
    from filelock import FileLock, Timeout

    lock = database.with_name(f"{database.name}.lock")
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=_LOCK_SECONDS):
            if not _is_made(database):
                _make(database, artifacts)
    except Timeout as error:
        problem = f"another process has been making {database} for {_LOCK_SECONDS} s"
        raise TrackerError(problem, owner=OWNER, next_step=f"end that process, or delete {lock}") from error
    except (OSError, NotImplementedError) as error:  # a file system without locks
        problem = f"the tracking database {database} cannot be made: {error}"
        raise TrackerError(problem, owner=OWNER, next_step="choose a folder that you may write to") from error


def open_store(database: Path, artifacts: Path) -> SqlAlchemyStore:
    """Open a database with MLflow's own store.

    Raises:
        TrackerError: MLflow cannot use the database: its tables are another version's, or the disk refuses.
    """
    with quiet_import():
        from mlflow.exceptions import MlflowException
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
        from sqlalchemy.exc import SQLAlchemyError

        uri = database_uri(database)
        try:
            return SqlAlchemyStore(uri, artifacts.as_uri())
        except (MlflowException, SQLAlchemyError) as error:
            from mlflow.version import VERSION

            problem = f"MLflow {VERSION} cannot use {database}: {reason(error)}"
            step = f"back it up and run mlflow db upgrade {uri}, or upgrade mlflow"
            raise TrackerError(problem, owner=OWNER, next_step=what_to_do(database, error, step)) from error


def check_database(database: Path, *, write: bool = False) -> None:
    """Prove, without MLflow, that a file is a database of MLflow's.

    MLflow would try a broken file for a minute and a half before it gives up.

    Args:
        database: The database.
        write: Prove as well that it can be written to.

    Raises:
        TrackerError: It is none, or cannot be read or written.
    """
    uri = f"{database.as_uri()}?mode={'rw' if write else 'ro'}"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
            connection.execute("SELECT version_num FROM alembic_version").fetchone()
            if write:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        problem = f"the tracking database {database} cannot be used: {error}"
        step = "check its permissions and the space on the disk, or move the file away and a new one is made"
        raise TrackerError(problem, owner=OWNER, next_step=what_to_do(database, error, step)) from error


def reason(error: BaseException) -> str:
    """Return what went wrong in one line: the database's own words where there are some below MLflow's."""
    found: BaseException | None = error
    while found is not None:
        original = getattr(found, "orig", None)  # SQLAlchemy's name for the error of the driver
        if isinstance(original, BaseException):
            error = original
            break
        found = found.__cause__ or found.__context__
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _is_made(database: Path) -> bool:
    # An empty file is what SQLite leaves when it is asked for a database and nothing is written.
    try:
        return database.is_file() and database.stat().st_size > 0
    except OSError:  # gone in between
        return False


def _make(database: Path, artifacts: Path) -> None:
    unfinished = database.with_name(f"{database.name}.new")
    # Beside the database itself too: SQLite would write the log of one that was deleted into the new one.
    for path in (unfinished, database):
        for ending in ("-journal", "-wal", "-shm"):
            path.with_name(f"{path.name}{ending}").unlink(missing_ok=True)
    unfinished.unlink(missing_ok=True)
    store = open_store(unfinished, artifacts)
    store.engine.dispose()
    # Of processes that open it at once, none has to switch while others read.
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(unfinished)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    unfinished.replace(database)
