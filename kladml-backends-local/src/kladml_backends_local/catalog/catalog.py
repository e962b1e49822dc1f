"""Projects, families, experiments and runs in an SQL database."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from kladml.errors import AddressError, CatalogError
from kladml.interfaces import RUN_STATUSES, CatalogInterface, CatalogRun, ExperimentAddress, RunAddress
from kladml_backends_local.catalog.engine import cause, for_writing, open_engine, read_url, shown, sqlite_url
from kladml_backends_local.catalog.rows import EXPERIMENTS, RUNS, add_run, is_experiment, is_run, resume_run
from kladml_backends_local.catalog.schema import ensure_schema
from kladml_backends_local.catalog.tables import experiments, families, projects, runs
from kladml_backends_local.settings import OWNER, SqlCatalogSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import URL, ColumnElement
    from sqlalchemy.engine import Connection, Engine

    from kladml.interfaces import BackendContext

_Result = TypeVar("_Result")

DATABASE_NAME = "catalog.db"

_ATTEMPTS = 10
_COLUMNS = (
    experiments.c.id,
    projects.c.name,
    families.c.name,
    experiments.c.name,
    runs.c.number,
    runs.c.run_id,
    runs.c.status,
    runs.c.started_at,
    runs.c.ended_at,
    runs.c.metrics,
    runs.c.backends,
)


class SqlCatalog(CatalogInterface):
    """Remembers runs in SQLite, or in any database that SQLAlchemy speaks to.

    The tables are made, or brought to the current version, at the first use.

    Args:
        url: SQLAlchemy URL of the database; the SQLite file `.kladml/catalog.db` in the workspace of the
            current folder by default, which is made a workspace if it is none.
        password: Password of the database, where the URL has none.

    Raises:
        CatalogError: The URL is malformed.
    """

    settings_class: ClassVar[type[SqlCatalogSettings]] = SqlCatalogSettings
    capabilities: ClassVar[frozenset[str]] = frozenset({"resume"})

    def __init__(self, url: str | URL | None = None, password: str | None = None) -> None:
        if url is None:
            from kladml.workspace import Workspace

            url = sqlite_url(Workspace.ensure().state / DATABASE_NAME)
        self._url = read_url(url, password)
        self._engine: Engine | None = None
        self._opening = Lock()

    @classmethod
    def from_settings(cls, settings: SqlCatalogSettings, context: BackendContext) -> Self:
        """Build the catalog; the path of an SQLite file is relative to the workspace."""
        if settings.url is not None:
            return cls(read_url(settings.url, settings.password, context.workspace))
        from kladml.workspace import Workspace

        return cls(sqlite_url(Workspace(context.workspace).state / DATABASE_NAME))

    def __repr__(self) -> str:
        """Show the database, without user and password."""
        return f"SqlCatalog({shown(self._url)!r})"

    def check(self) -> None:
        """Open the database, bring its tables to the current version, and prove that it can be written to.

        Raises:
            CatalogError: It cannot, or a newer distribution made its tables.
        """
        with self._errors("cannot be used"), self._transaction(write=True) as connection:
            connection.execute(update(projects).where(projects.c.id == -1).values(name=projects.c.name))

    def close(self) -> None:
        """Close every connection; a later use opens them again."""
        with self._opening:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def add_run(self, experiment: ExperimentAddress, run_id: str, backends: Mapping[str, str]) -> RunAddress:
        """Register a run that starts now; project, family and experiment are made where they are new.

        Raises:
            CatalogError: The database refuses.
        """
        number = self._register(
            f"cannot register a run of '{experiment}'",
            lambda connection: add_run(connection, experiment, run_id, backends),
        )
        return RunAddress(experiment, str(number))

    def resume_run(self, address: RunAddress, run_id: str, backends: Mapping[str, str]) -> None:
        """Note that a run goes on, or register it under its address where another machine began it.

        Raises:
            AddressError: The run is not known, and its label is no number that a catalog gives.
            CatalogError: The database refuses.
        """
        known = self._register(
            f"cannot note that '{address}' goes on",
            lambda connection: resume_run(connection, address, run_id, backends),
        )
        if not known:
            raise self._no_run(address)

    def end_run(self, address: RunAddress, status: str, metrics: Mapping[str, float]) -> None:
        """Note how a run ended.

        Raises:
            AddressError: There is no such run.
            CatalogError: The status is not one of `RUN_STATUSES`, or the database refuses.
        """
        if status not in RUN_STATUSES:
            problem = f"'{status}' is no status of a run"
            raise CatalogError(problem, owner=OWNER, next_step=f"use one of {', '.join(RUN_STATUSES)}")
        ended = {"status": status, "metrics": metrics, "ended_at": datetime.now(UTC)}
        found = select(runs.c.id).select_from(RUNS).where(is_run(address))
        with self._errors(f"cannot note the end of '{address}'"), self._transaction(write=True) as connection:
            row_id = connection.scalar(found)
            if row_id is None:
                raise self._no_run(address)
            connection.execute(update(runs).where(runs.c.id == row_id).values(ended))

    def list_runs(self, experiment: ExperimentAddress | None = None) -> list[CatalogRun]:
        """List the runs of an experiment, or all, in the order in which they started."""
        return self._runs([] if experiment is None else [is_experiment(experiment)])

    def get_run(self, address: RunAddress) -> CatalogRun:
        """Return one run.

        Raises:
            AddressError: There is no such run.
        """
        found = self._runs([is_run(address)])
        if not found:
            raise self._no_run(address)
        return found[0]

    def list_experiments(self) -> list[ExperimentAddress]:
        """List the experiments, sorted."""
        names = select(projects.c.name, families.c.name, experiments.c.name).select_from(EXPERIMENTS)
        with self._errors("cannot list its experiments"), self._transaction() as connection:
            return sorted(ExperimentAddress(*row) for row in connection.execute(names))

    def _runs(self, conditions: Sequence[ColumnElement[bool]]) -> list[CatalogRun]:
        query = select(*_COLUMNS).select_from(RUNS).where(*conditions).order_by(runs.c.id)
        addresses: dict[int, ExperimentAddress] = {}
        with self._errors("cannot list its runs"), self._transaction() as connection:
            return [_catalog_run(row, addresses) for row in connection.execute(query)]

    def _register(self, failure: str, work: Callable[[Connection], _Result]) -> _Result:
        """Do work in a transaction that may make a project, a family or an experiment."""
        with self._errors(failure):
            for _ in range(_ATTEMPTS - 1):
                # On a server, another process may make the same ones at the same moment.
                with suppress(IntegrityError), self._transaction(write=True) as connection:
                    return work(connection)
            with self._transaction(write=True) as connection:
                return work(connection)

    @contextmanager
    def _transaction(self, *, write: bool = False) -> Iterator[Connection]:
        """Give a connection in a transaction, which is rolled back when the block raises."""
        engine = self._open()
        with (for_writing(engine) if write else engine).begin() as connection:
            yield connection

    def _open(self) -> Engine:
        with self._opening:
            if self._engine is None:
                engine = open_engine(self._url)
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
            problem = f"the catalog {shown(self._url)} {failure}: {cause(error, self._url)}"
            # A driver's message may repeat the password, and a chained cause is printed with --traceback.
            hides = self._url.password is not None and str(self._url.password) in str(error)
            raise CatalogError(
                problem, owner=OWNER, next_step="check the address, the permissions and the space on the disk"
            ) from (None if hides else error)

    def _no_run(self, address: RunAddress) -> AddressError:
        problem = f"there is no run '{address}' in the catalog {shown(self._url)}"
        return AddressError(problem, owner=OWNER, next_step="kladml runs list shows those there are")


def _catalog_run(row: Sequence[Any], addresses: dict[int, ExperimentAddress]) -> CatalogRun:
    experiment_id, project, family, name, number, *rest = row
    if experiment_id not in addresses:
        addresses[experiment_id] = ExperimentAddress(project, family, name)
    run_id, status, started_at, ended_at, metrics, backends = rest
    return CatalogRun(
        RunAddress(addresses[experiment_id], str(number)), run_id, status, started_at, ended_at, metrics, backends
    )
