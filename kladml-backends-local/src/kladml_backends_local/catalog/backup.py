"""Copies of an SQLite database from before each migration."""

from __future__ import annotations

import glob
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
from kladml_backends_local.sqlite_errors import is_damaged

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

log = get_logger(__name__)

_INFIX = ".bak-"


class _DamagedError(sqlite3.DatabaseError):
    """What SQLite's own check found wrong in a copy."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


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
                raise _DamagedError(state)
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
    copies = [path for path in database.parent.glob(f"{glob.escape(database.name)}{_INFIX}*") if path.is_file()]
    return max(copies, key=lambda path: path.name, default=None)


def what_to_restore(database: Path) -> str:
    """Return what a reader can do about a damaged database."""
    backup = newest_backup(database)
    if backup is None:
        step = "to begin a new one, which counts on from the runs that are kept here"
        return f"there is no backup: move {database.name} away {step}"
    return f"move it away and put the backup in its place: {backup}, from before its last migration"


def what_to_wait_for(database: Path) -> str:
    """Return what a reader can do about a database that another process holds."""
    backup = newest_backup(database)
    copy = "" if backup is None else f"; {backup} is a backup from before its last migration"
    return f"wait for the process that writes to it, which 'fuser {database}' names, or end it{copy}"
