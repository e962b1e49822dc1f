"""Copies of an SQLite database from before each migration."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from kladml.errors import CatalogError
from kladml.files.whole import written_whole
from kladml.log import get_logger
from kladml_backends_local.settings import OWNER

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

log = get_logger(__name__)

_INFIX = ".bak-"


def back_up(connection: Connection, revision: str) -> Path:
    """Copy the database of a connection to a file beside it, `NAME.bak-REVISION`; an older one of that name goes.

    The caller's transaction keeps others from writing meanwhile, and must not have written itself.

    Args:
        connection: A connection to an SQLite file.
        revision: The version of the database's tables.

    Raises:
        CatalogError: The copy cannot be written, or the database is damaged, in which case an older copy stays.
    """
    database = Path(connection.execute(text("PRAGMA database_list")).one()[2])
    backup = database.with_name(f"{database.name}{_INFIX}{revision}")
    try:
        with written_whole(backup) as temporary:
            with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(temporary)) as target:
                source.backup(target)
                ((state, *_), *_) = target.execute("PRAGMA quick_check(1)").fetchall()
            if state != "ok":
                raise sqlite3.DatabaseError(state)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
    except (OSError, sqlite3.Error) as error:
        problem = f"the catalog {database} is of version {revision} and cannot be copied before it is changed: {error}"
        next_step = "make room on the disk, or see that the folder can be written to"
        if is_damaged(error):
            next_step = what_to_restore(database)
        raise CatalogError(problem, owner=OWNER, next_step=next_step) from error
    log.info(f"the catalog {database} is brought from version {revision} to a newer one; {backup} is a copy of it")
    return backup


def newest_backup(database: Path) -> Path | None:
    """Return the newest copy of a database, or None."""
    copies = [path for path in database.parent.glob(f"{_escaped(database.name)}{_INFIX}*") if path.is_file()]
    return max(copies, key=lambda path: path.name, default=None)


def is_damaged(error: BaseException) -> bool:
    """Tell whether SQLite says that a file is no database, or a damaged one."""
    codes = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    if not isinstance(error, sqlite3.DatabaseError):
        return False
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF in codes


def is_locked(error: BaseException) -> bool:
    """Tell whether SQLite says that another process holds the database."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def what_to_restore(database: Path) -> str:
    """Return what a reader can do about a damaged database."""
    backup = newest_backup(database)
    if backup is None:
        return f"there is no backup: move {database.name} away to begin a new one; the folders of runs stay"
    return f"move it away and put the backup in its place: {backup}, from before its last migration"


def what_to_wait_for(database: Path) -> str:
    """Return what a reader can do about a database that another process holds."""
    backup = newest_backup(database)
    copy = "" if backup is None else f"; {backup} is a backup from before its last migration"
    return f"wait for the process that writes to it, which 'fuser {database}' names, or end it{copy}"


def _escaped(name: str) -> str:
    from glob import escape

    return escape(name)
