"""A spool's way into an MLflow database, without MLflow."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from kladml.errors import TrackerError
from kladml.log import get_logger
from kladml.spool.forks import call_around_forks, call_in_forks
from kladml.spool.limits import acceptable, check_run
from kladml_backends_local.direct_rows import begin_run, insert_points, require_active, write_event
from kladml_backends_local.mlflow_database import ensure_database
from kladml_backends_local.settings import OWNER
from kladml_backends_local.sqlite_errors import what_to_do
from kladml_backends_local.table_shapes import unknown_shape

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kladml.spool.events import Batch, SpooledRun
    from kladml_backends_local.mlflow_sink import MlflowSink

_BUSY_SECONDS = 20
_POINTS_PER_TRANSACTION = 30_000  # a sixth of a second in which another process waits
_PREPARED_STATEMENTS = 32
_FORK_SECONDS = 2.0

log = get_logger(__name__)


class DirectSink:
    """Writes batches into MLflow's tables with SQLite alone; a `kladml.spool.events.Sink`.

    Where the tables are not those that it knows, MLflow's own store writes instead, and the user is told once.

    Args:
        database: Absolute path of the database, which MLflow makes at the first use if it is absent.
        artifacts: Absolute path of the folder in which runs of new experiments keep their files.
    """

    batch_size = _POINTS_PER_TRANSACTION

    def __init__(self, database: Path, artifacts: Path) -> None:
        self._database = database
        self._artifacts = artifacts
        self._connection: sqlite3.Connection | None = None
        self._known_version: int | None = None
        self._opened: os.stat_result | None = None
        self._other: MlflowSink | None = None
        self._warned = False
        self._lock = threading.RLock()
        self._is_forking = False
        call_around_forks(self._before_fork, self._after_fork)
        call_in_forks(self._in_fork)

    def begin(self, run: SpooledRun) -> SpooledRun:
        """Make the run and its experiment known unless they are.

        Raises:
            TrackerError: One of them was deleted or is malformed, or the database refuses.
        """
        check_run(run, OWNER)
        with self._lock:
            if self._other is None:
                try:
                    with self._transaction("the run cannot be started") as connection:
                        begin_run(connection, run, self._database, self._artifacts)
                except _UnknownShapeError as error:
                    self._fall_back(error)
            if self._other is not None:
                self._other.begin(run)
        return run

    def write(self, run: SpooledRun, batch: Batch) -> list[str]:
        """Keep a batch; many metrics take several transactions, the last of which has the rest of the batch.

        Raises:
            TrackerError: There is no such run, it was deleted, or the database refuses.
        """
        with self._lock:
            if self._other is None:
                try:
                    return self._write(run, batch)
                except _UnknownShapeError as error:
                    self._fall_back(error)
            # What was written of the batch before the tables changed, changes nothing when it comes again.
            return self._other.write(run, batch) if self._other is not None else []

    def close(self) -> None:
        """Let go of the database; a later use opens it again, and looks again whether it knows the tables."""
        with self._lock:
            self._disconnect()
            if self._other is not None:
                self._other.close()
                self._other = None

    def _write(self, run: SpooledRun, batch: Batch) -> list[str]:
        batch, refused = acceptable(run, batch)
        starts = range(0, len(batch.points), _POINTS_PER_TRANSACTION) or range(1)
        for start in starts:
            with self._transaction("the run's records cannot be written") as connection:
                if not require_active(connection, run, self._database):
                    problem = f"there is no run '{run.run_id}' in {self._database}"
                    step = "see whether somebody deleted or replaced that database; the run is begun in it again"
                    raise TrackerError(problem, owner=OWNER, next_step=step)
                if points := batch.points[start : start + _POINTS_PER_TRANSACTION]:
                    insert_points(connection, run.run_id, points)
                if start == starts[-1]:
                    for event in batch.events:
                        refused.extend(write_event(connection, run, event))
        return refused

    def _fall_back(self, error: _UnknownShapeError) -> None:
        from kladml_backends_local.mlflow_sink import MlflowSink

        self._disconnect()
        if not self._warned:
            self._warned = True
            log.warning(f"{self._database}: {error}; MLflow itself writes the runs, which takes longer")
        self._other = MlflowSink(self._database, self._artifacts)

    @contextmanager
    def _transaction(self, problem: str) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._check_shape(connection)
                yield connection
            except BaseException:
                if connection.in_transaction:  # a full disk ends it
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._disconnect()
            text = f"{problem}: {error}"
            raise TrackerError(text, owner=OWNER, next_step=what_to_do(self._database, error)) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and not self._is_still_there():
            self._disconnect()
        if self._connection is None:
            ensure_database(self._database, self._artifacts)
            self._opened = self._database.stat()
            self._connection = sqlite3.connect(
                f"{self._database.as_uri()}?mode=rw",
                uri=True,
                timeout=_BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=_PREPARED_STATEMENTS,
            )
            # Readers are not in the way, and a transaction waits for no disk. What a power failure takes from the end
            # of the log, it takes whole. A file system without shared memory keeps the journal that it has.
            with suppress(sqlite3.OperationalError):
                mode = self._connection.execute("PRAGMA journal_mode = WAL").fetchone()
                if mode == ("wal",):
                    self._connection.execute("PRAGMA synchronous = NORMAL")
        return self._connection

    def _is_still_there(self) -> bool:
        """Tell whether the database is the file that was opened: in one that was deleted, records would be lost."""
        try:
            return self._opened is not None and os.path.samestat(self._opened, self._database.stat())
        except OSError:
            return False

    def _before_fork(self) -> None:
        """Close the connection: a process that inherits it takes its locks for its own, in each database it opens."""
        self._is_forking = self._lock.acquire(timeout=_FORK_SECONDS)
        if self._is_forking:
            self._disconnect()
            if self._other is not None:
                self._other.close()

    def _after_fork(self) -> None:
        if self._is_forking:
            self._is_forking = False
            self._lock.release()

    def _in_fork(self) -> None:
        """Leave alone what could not be closed: closing it here would undo what its process is writing."""
        self._lock, self._is_forking = threading.RLock(), False
        if self._connection is not None:
            import ctypes

            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))  # never closed, at the exit neither
            self._connection = None

    def _check_shape(self, connection: sqlite3.Connection) -> None:
        """Look at the tables again if they changed since the last time; in a transaction they cannot."""
        (version,) = connection.execute("PRAGMA schema_version").fetchone()
        if version != self._known_version:
            if difference := unknown_shape(connection):
                raise _UnknownShapeError(difference)
            self._known_version = version

    def _disconnect(self) -> None:
        connection, self._connection, self._known_version = self._connection, None, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


class _UnknownShapeError(Exception):
    """The tables are not those that the direct way knows."""
