"""Projects, families, experiments, runs and data sets in an SQL database."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from kladml.errors import AddressError, CatalogError
from kladml.interfaces import RUN_STATUSES, CatalogInterface, RunAddress
from kladml.interfaces.refusals import checked_description
from kladml_backends_local.catalog.catalog_datasets import SqlDatasets
from kladml_backends_local.catalog.quick_reading import QuickReader
from kladml_backends_local.settings import OWNER, SqlCatalogSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import URL
    from sqlalchemy.engine import Connection

    from kladml.interfaces import BackendContext, CatalogEntry, CatalogRun, EntryAddress, ExperimentAddress, Removal
    from kladml_backends_local.catalog.database import Database

DATABASE_NAME = "catalog.db"
_RUNS = "runs"


class SqlCatalog(SqlDatasets, CatalogInterface):
    """Remembers runs and data sets in SQLite, or in any database that SQLAlchemy speaks to.

    The tables are made, or brought to the current version, at the first use.

    Args:
        url: SQLAlchemy URL of the database, or the path of an SQLite file; `.kladml/catalog.db` in the workspace of the
            current folder by default, which is made a workspace if it is none.
        password: Password of the database, where the URL has none.
        runs: The folder of the runs that are kept on this machine, as `project/family/experiment/number`. Numbers are
            beyond those there, also those of a catalog that was lost.

    Raises:
        CatalogError: The URL is malformed.
    """

    settings_class: ClassVar[type[SqlCatalogSettings]] = SqlCatalogSettings
    capabilities: ClassVar[frozenset[str]] = frozenset({"datasets", "organise", "resume"})

    def __init__(
        self, url: str | URL | Path | None = None, password: str | None = None, *, runs: Path | None = None
    ) -> None:
        if url is None:
            from kladml.workspace import Workspace

            state = Workspace.ensure().state
            url, runs = state / DATABASE_NAME, runs or state / _RUNS
        self._runs = runs
        self._quick: QuickReader | None = None
        if isinstance(url, Path):
            self._file = url.absolute()
            self._quick = QuickReader(self._file)
        else:
            from kladml_backends_local.catalog.engine import read_url

            self._url = read_url(url, password)

    @classmethod
    def from_settings(cls, settings: SqlCatalogSettings, context: BackendContext) -> Self:
        """Build the catalog; the path of an SQLite file is relative to the workspace."""
        from kladml.workspace import Workspace

        state = Workspace(context.workspace).state
        if settings.url is not None:
            from kladml_backends_local.catalog.engine import read_url

            return cls(read_url(settings.url, settings.password, context.workspace), runs=state / _RUNS)
        return cls(state / DATABASE_NAME, runs=state / _RUNS)

    @cached_property
    def _database(self) -> Database:
        """The database. SQLAlchemy is imported here at the earliest: quick reading does without."""
        from kladml_backends_local.catalog.database import Database
        from kladml_backends_local.catalog.engine import sqlite_url

        return Database(self._url if self._quick is None else sqlite_url(self._file))

    def __repr__(self) -> str:
        """Show the database, without user and password."""
        return f"SqlCatalog({self._name!r})"

    def check(self) -> None:
        """Open the database, bring its tables to the current version, and prove that it can be written to.

        Raises:
            CatalogError: It cannot, or a newer distribution made its tables.
        """
        from kladml_backends_local.catalog.run_rows import change_nothing

        with self._database.transaction("cannot be used", write=True) as connection:
            change_nothing(connection)

    def close(self) -> None:
        """Close every connection; a later use opens them again."""
        if "_database" in vars(self):
            self._database.close()

    def add_run(self, experiment: ExperimentAddress, run_id: str, backends: Mapping[str, str]) -> RunAddress:
        """Register a run that starts now; project, family and experiment are made where they are new.

        Raises:
            CatalogError: The database refuses.
        """
        from kladml_backends_local.catalog.rows import add_run

        kept = self._highest_kept(experiment)
        number = self._database.change(
            f"cannot register a run of '{experiment}'",
            lambda connection: add_run(connection, experiment, run_id, backends, beyond=kept),
        )
        return RunAddress(experiment, str(number))

    def _highest_kept(self, experiment: ExperimentAddress) -> int:
        """Return the highest number of a run of the experiment that is kept on this machine, or 0."""
        from kladml_backends_local.catalog.rows import LONGEST_LABEL

        if self._runs is None:
            return 0
        try:
            names = [entry.name for entry in (self._runs / str(experiment)).iterdir()]
        except OSError:
            return 0
        return max((int(name) for name in names if name.isdecimal() and len(name) <= LONGEST_LABEL), default=0)

    def resume_run(self, address: RunAddress, run_id: str, backends: Mapping[str, str]) -> None:
        """Note that a run goes on, or register it under its address where another machine began it.

        Raises:
            AddressError: The run is not known, and its label is no number that a catalog gives.
            CatalogError: The database refuses.
        """
        from kladml_backends_local.catalog.rows import resume_run

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
        from kladml_backends_local.catalog.run_rows import end_run

        ended = {"status": status, "metrics": metrics, "ended_at": datetime.now(UTC)}
        with self._database.transaction(f"cannot note the end of '{address}'", write=True) as connection:
            if not end_run(connection, address, ended):
                raise self._no_run(address)

    def list_runs(self, experiment: ExperimentAddress | None = None) -> list[CatalogRun]:
        """List the runs of an experiment, or all, in the order in which they started."""
        found = None if self._quick is None else self._quick.runs(experiment)
        if found is not None:
            return found
        from kladml_backends_local.catalog.run_rows import runs_of

        with self._database.transaction("cannot list its runs") as connection:
            return runs_of(connection, experiment)

    def get_run(self, address: RunAddress) -> CatalogRun:
        """Return one run.

        Raises:
            AddressError: There is no such run.
        """
        quickly = None if self._quick is None else self._quick.runs(address.experiment, address.label)
        found = quickly[0] if quickly else None
        if quickly is None:
            from kladml_backends_local.catalog.run_rows import find_run

            with self._database.transaction("cannot list its runs") as connection:
                found = find_run(connection, address)
        if found is None:
            raise self._no_run(address)
        return found

    def newest_runs(self, limit: int, experiment: ExperimentAddress | None = None) -> tuple[list[CatalogRun], int]:
        """Return the newest runs of an experiment, or of all, the newest first, and how many there are in all."""
        found = None if self._quick is None else self._quick.newest(limit, experiment)
        return super().newest_runs(limit, experiment) if found is None else found

    def list_experiments(self) -> list[ExperimentAddress]:
        """List the experiments, sorted."""
        found = None if self._quick is None else self._quick.experiments()
        if found is not None:
            return found
        from kladml_backends_local.catalog.run_rows import find_experiments

        with self._database.transaction("cannot list its experiments") as connection:
            return find_experiments(connection)

    def list_entries(self, level: str, below: EntryAddress | None = None) -> list[CatalogEntry]:
        """List the projects, families or experiments, also those without runs, sorted.

        Raises:
            AddressError: `below` names nothing.
            CatalogError: The database refuses.
        """
        from kladml_backends_local.catalog import entries

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
        from kladml_backends_local.catalog import entries

        with self._database.transaction(f"cannot show '{address}'") as connection:
            return entries.get(connection, address)

    def create_entry(self, address: EntryAddress, description: str = "") -> CatalogEntry:
        """Make a project, a family or an experiment, and what it stands in where that is new.

        Raises:
            AddressError: It is there already.
            CatalogError: The description does not fit, or the database refuses.
        """
        from kladml_backends_local.catalog import entries

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
        from kladml_backends_local.catalog import entries

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
        from kladml_backends_local.catalog import entries

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
        from kladml_backends_local.catalog.run_rows import remove_run

        with self._database.transaction(f"cannot delete '{address}'", write=True) as connection:
            run = remove_run(connection, address)
            if run is None:
                raise self._no_run(address)
        return run

    @property
    def _name(self) -> str:
        """The database as errors and logs name it."""
        return str(self._database if self._quick is None else self._file)

    def _no_run(self, address: RunAddress) -> AddressError:
        problem = f"there is no run '{address}' in the catalog {self._name}"
        return AddressError(problem, owner=OWNER, next_step="kladml runs list shows those there are")
