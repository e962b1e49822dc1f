"""The database of a catalog: opened at its first use, with transactions and errors that say what could not be done."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import IntegrityError, NoResultFound, SQLAlchemyError

from kladml.errors import CatalogError
from kladml_backends_local.catalog.backup import what_to_restore, what_to_wait_for
from kladml_backends_local.catalog.engine import cause, for_writing, open_engine, shown
from kladml_backends_local.catalog.schema import ensure_schema
from kladml_backends_local.settings import OWNER
from kladml_backends_local.sqlite_errors import is_damaged, is_locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import URL
    from sqlalchemy.engine import Connection, Engine

_Result = TypeVar("_Result")

_ATTEMPTS = 10


class Database:
    """A database whose tables are made, or brought to the current version, at the first use.

    Args:
        url: Where it is.
    """

    def __init__(self, url: URL) -> None:
        self.url = url
        self._engine: Engine | None = None
        self._opening = Lock()

    def __str__(self) -> str:
        """Return the database as errors and logs name it."""
        return shown(self.url)

    def close(self) -> None:
        """Close every connection; a later use opens them again."""
        with self._opening:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    @contextmanager
    def transaction(self, failure: str, *, write: bool = False) -> Iterator[Connection]:
        """Give a connection in a transaction, which is rolled back when the block raises.

        Args:
            failure: What the catalog cannot do if this fails, such as `cannot list its runs`.
            write: Whether the transaction changes something.

        Raises:
            CatalogError: The database refuses.
        """
        with self._errors(failure), self._begin(write=write) as connection:
            yield connection

    def change(self, failure: str, work: Callable[[Connection], _Result]) -> _Result:
        """Do work in a transaction that another process may get in the way of.

        On a server, another process may make or delete the same project, family or experiment at the same moment.
        The work is then done again, on what is there by then.

        Args:
            failure: What the catalog cannot do if this fails.
            work: What to do, given the connection.

        Raises:
            CatalogError: The database refuses.
        """
        with self._errors(failure):
            for _ in range(_ATTEMPTS - 1):
                with suppress(IntegrityError, NoResultFound), self._begin(write=True) as connection:
                    return work(connection)
            with self._begin(write=True) as connection:
                return work(connection)

    @contextmanager
    def _begin(self, *, write: bool) -> Iterator[Connection]:
        engine = self._open()
        with (for_writing(engine) if write else engine).begin() as connection:
            yield connection

    def _open(self) -> Engine:
        with self._opening:
            if self._engine is None:
                engine = open_engine(self.url)
                try:
                    ensure_schema(engine)
                except BaseException:
                    engine.dispose()
                    raise
                self._engine = engine
            return self._engine

    @contextmanager
    def _errors(self, failure: str) -> Iterator[None]:
        """Turn an error of SQLAlchemy's into a `CatalogError` that says what the catalog cannot do."""
        try:
            yield
        except SQLAlchemyError as error:
            problem = f"the catalog {self} {failure}: {cause(error, self.url)}"
            # A driver's message may repeat the password, and a chained cause is printed with --traceback.
            hides = self.url.password is not None and str(self.url.password) in str(error)
            raise CatalogError(problem, owner=OWNER, next_step=self._next_step(error)) from (None if hides else error)

    def _next_step(self, error: SQLAlchemyError) -> str:
        original = getattr(error, "orig", None)
        if original is not None and self.url.get_backend_name() == "sqlite":
            database = Path(str(self.url.database))
            if is_locked(original):
                return what_to_wait_for(database)
            if is_damaged(original):
                return what_to_restore(database)
        return "check the address, the permissions and the space on the disk"
