"""Projects, families, experiments and runs in an SQL database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sqlalchemy import delete, select, update

from kladml.errors import AddressError, CatalogError
from kladml.interfaces import RUN_STATUSES, CatalogInterface, CatalogRun, ExperimentAddress, RunAddress
from kladml.interfaces.refusals import checked_description
from kladml_backends_local.catalog import entries
from kladml_backends_local.catalog.database import Database
from kladml_backends_local.catalog.engine import read_url, sqlite_url
from kladml_backends_local.catalog.rows import EXPERIMENTS, RUNS, add_run, is_experiment, is_run, resume_run
from kladml_backends_local.catalog.tables import experiments, families, projects, runs
from kladml_backends_local.settings import OWNER, SqlCatalogSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import URL, ColumnElement
    from sqlalchemy.engine import Connection

    from kladml.interfaces import BackendContext, CatalogEntry, EntryAddress, Removal

DATABASE_NAME = "catalog.db"

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
    capabilities: ClassVar[frozenset[str]] = frozenset({"organise", "resume"})

    def __init__(self, url: str | URL | None = None, password: str | None = None) -> None:
        if url is None:
            from kladml.workspace import Workspace

            url = sqlite_url(Workspace.ensure().state / DATABASE_NAME)
        self._database = Database(read_url(url, password))

    @classmethod
    def from_settings(cls, settings: SqlCatalogSettings, context: BackendContext) -> Self:
        """Build the catalog; the path of an SQLite file is relative to the workspace."""
        if settings.url is not None:
            return cls(read_url(settings.url, settings.password, context.workspace))
        from kladml.workspace import Workspace

        return cls(sqlite_url(Workspace(context.workspace).state / DATABASE_NAME))

    def __repr__(self) -> str:
        """Show the database, without user and password."""
        return f"SqlCatalog({str(self._database)!r})"

    def check(self) -> None:
        """Open the database, bring its tables to the current version, and prove that it can be written to.

        Raises:
            CatalogError: It cannot, or a newer distribution made its tables.
        """
        with self._database.transaction("cannot be used", write=True) as connection:
            connection.execute(update(projects).where(projects.c.id == -1).values(name=projects.c.name))

    def close(self) -> None:
        """Close every connection; a later use opens them again."""
        self._database.close()

    def add_run(self, experiment: ExperimentAddress, run_id: str, backends: Mapping[str, str]) -> RunAddress:
        """Register a run that starts now; project, family and experiment are made where they are new.

        Raises:
            CatalogError: The database refuses.
        """
        number = self._database.change(
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
        known = self._database.change(
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
        with self._database.transaction(f"cannot note the end of '{address}'", write=True) as connection:
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
        with self._database.transaction("cannot list its experiments") as connection:
            return sorted(ExperimentAddress(*row) for row in connection.execute(names))

    def list_entries(self, level: str, below: EntryAddress | None = None) -> list[CatalogEntry]:
        """List the projects, families or experiments, also those without runs, sorted.

        Raises:
            AddressError: `below` names nothing.
            CatalogError: The database refuses.
        """
        with self._database.transaction("cannot list its entries") as connection:
            if below is not None:
                entries.row_id(connection, below)
            return entries.find(connection, level, below)

    def get_entry(self, address: EntryAddress) -> CatalogEntry:
        """Return one project, family or experiment.

        Raises:
            AddressError: There is none.
            CatalogError: The database refuses.
        """
        with self._database.transaction(f"cannot show '{address}'") as connection:
            return entries.get(connection, address)

    def create_entry(self, address: EntryAddress, description: str = "") -> CatalogEntry:
        """Make a project, a family or an experiment, and what it stands in where that is new.

        Raises:
            AddressError: It is there already.
            CatalogError: The description does not fit, or the database refuses.
        """
        checked_description(description, OWNER)

        def work(connection: Connection) -> CatalogEntry:
            entries.create(connection, address, description)
            return entries.get(connection, address)

        return self._database.change(f"cannot make '{address}'", work)

    def describe_entry(self, address: EntryAddress, description: str) -> CatalogEntry:
        """Replace the description of a project, a family or an experiment.

        Raises:
            AddressError: There is none of this address.
            CatalogError: The description does not fit, or the database refuses.
        """
        checked_description(description, OWNER)
        with self._database.transaction(f"cannot describe '{address}'", write=True) as connection:
            entries.describe(connection, address, description)
            return entries.get(connection, address)

    def delete_entry(self, address: EntryAddress, *, recursive: bool = False, dry_run: bool = False) -> Removal:
        """Forget a project, a family or an experiment, in one transaction; numbers of runs are remembered.

        Raises:
            AddressError: There is none of this address.
            NotEmptyError: Something is inside, and the call is neither recursive nor dry.
            CatalogError: The database refuses.
        """
        failure = f"cannot delete '{address}'"
        if dry_run:
            with self._database.transaction(failure) as connection:
                return entries.inside(connection, address)
        return self._database.change(
            failure, lambda connection: entries.remove(connection, address, recursive=recursive)
        )

    def delete_run(self, address: RunAddress) -> CatalogRun:
        """Forget a run; its number is never given again.

        Raises:
            AddressError: There is no such run.
            CatalogError: The database refuses.
        """
        found = select(runs.c.id).select_from(RUNS).where(is_run(address))
        with self._database.transaction(f"cannot delete '{address}'", write=True) as connection:
            row_id = connection.scalar(found)
            if row_id is None:
                raise self._no_run(address)
            (run,) = _read_runs(connection, [runs.c.id == row_id])
            connection.execute(delete(runs).where(runs.c.id == row_id))
        return run

    def _runs(self, conditions: Sequence[ColumnElement[bool]]) -> list[CatalogRun]:
        with self._database.transaction("cannot list its runs") as connection:
            return _read_runs(connection, conditions)

    def _no_run(self, address: RunAddress) -> AddressError:
        problem = f"there is no run '{address}' in the catalog {self._database}"
        return AddressError(problem, owner=OWNER, next_step="kladml runs list shows those there are")


def _read_runs(connection: Connection, conditions: Sequence[ColumnElement[bool]]) -> list[CatalogRun]:
    query = select(*_COLUMNS).select_from(RUNS).where(*conditions).order_by(runs.c.id)
    addresses: dict[int, ExperimentAddress] = {}
    return [_catalog_run(row, addresses) for row in connection.execute(query)]


def _catalog_run(row: Sequence[Any], addresses: dict[int, ExperimentAddress]) -> CatalogRun:
    experiment_id, project, family, name, number, *rest = row
    if experiment_id not in addresses:
        addresses[experiment_id] = ExperimentAddress(project, family, name)
    run_id, status, started_at, ended_at, metrics, backends = rest
    return CatalogRun(
        RunAddress(addresses[experiment_id], str(number)), run_id, status, started_at, ended_at, metrics, backends
    )
