"""What SQLite's errors say of a database."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def is_damaged(error: BaseException) -> bool:
    """Tell whether SQLite says that a file is no database, or a damaged one."""
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_locked(error: BaseException | None) -> bool:
    """Tell whether SQLite says that another process holds the database."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def what_to_do(database: Path, error: BaseException, otherwise: str | None = None) -> str:
    """Return what a reader can do about a tracking database.

    Args:
        database: The database.
        error: What was raised, maybe because of an error of SQLite's.
        otherwise: What can be done where the database is not damaged.
    """
    found: BaseException | None = error
    while found is not None and not is_damaged(found):
        found = found.__cause__ or found.__context__
    if found is None:
        return otherwise or f"see the database {database}"
    return (
        f"move {database} away, and a new one is made; runs keep their parameters, final values and files without it, "
        f"and 'sqlite3 {database.name} .recover' may save their curves"
    )


def _code(error: BaseException | None) -> int | None:
    """Return SQLite's own code of an error, without its extension."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF
