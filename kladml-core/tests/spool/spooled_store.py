"""A tracker of the tests' own, on a store that is an SQLite file; programs that tests start use it as well."""

from __future__ import annotations

import shutil
import sqlite3
import struct
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from kladml.errors import RefusedRunError, TrackerError
from kladml.interfaces import TrackedRun
from kladml.spool.events import Artifact, Params, Status, Tags
from kladml.spool.limits import acceptable
from kladml.spool.recovery import deliver, left_behind
from kladml.spool.tracker import SpooledTracker

_TABLES = """
CREATE TABLE IF NOT EXISTS runs (run_id TEXT PRIMARY KEY, experiment TEXT, status TEXT);
CREATE TABLE IF NOT EXISTS points (
    run_id TEXT, key TEXT, value BLOB, at INTEGER, step INTEGER, UNIQUE (run_id, key, value, at, step));
CREATE TABLE IF NOT EXISTS texts (run_id TEXT, kind TEXT, key TEXT, value TEXT, PRIMARY KEY (run_id, kind, key));
"""


class StoreSink:
    """Writes to the store; each use opens it anew, so that it is never left locked."""

    def __init__(self, folder, batch_size=1000):
        self.folder = Path(folder)
        self.batch_size = batch_size

    def connect(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.folder / "store.db", timeout=60)
        connection.executescript(_TABLES)
        return closing(connection)

    def begin(self, run):
        with self.connect() as store, store:
            if run.goes_on and not store.execute("SELECT 1 FROM runs WHERE run_id = ?", (run.run_id,)).fetchone():
                raise RefusedRunError(f"there is no run '{run.run_id}'")
            row = (run.run_id, run.experiment_name, "RUNNING")
            store.execute("INSERT OR IGNORE INTO runs VALUES (?, ?, ?)", row)
        return replace(run, remote_id=f"remote-{run.run_id}")

    def write(self, run, batch):
        batch, refused = acceptable(run, batch)
        with self.connect() as store, store:
            rows = [(run.run_id, key, struct.pack("<d", value), at, step) for key, value, at, step in batch.points]
            store.executemany("INSERT OR IGNORE INTO points VALUES (?, ?, ?, ?, ?)", rows)
            for event in batch.events:
                self._keep(store, run, event)
        return refused

    def close(self):
        pass

    def _keep(self, store, run, event):
        if isinstance(event, Params | Tags):
            kind = type(event).__name__
            rows = [(run.run_id, kind, key, value) for key, value in event.values.items()]
            store.executemany("INSERT OR REPLACE INTO texts VALUES (?, ?, ?, ?)", rows)
        elif isinstance(event, Artifact):
            target = self.folder / run.run_id / event.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if Path(event.file).exists():  # else it came before
                shutil.copyfile(event.file, target)
        elif isinstance(event, Status):
            store.execute("UPDATE runs SET status = ? WHERE run_id = ?", (event.status, run.run_id))


class StoreTracker(SpooledTracker):
    """Records runs to the store of a folder."""

    capabilities: ClassVar = frozenset({"artifacts", "read", "resume", "sync"})
    owner = "store-tracker"
    patience = 60.0

    def __init__(self, folder, *, sink=None, destination="store"):
        super().__init__(Path(folder) / "spool", destination=destination)
        self.store = StoreSink(Path(folder) / "store")
        self._given = sink

    def _make_sink(self):
        return self._given or StoreSink(self.store.folder)

    def _prepare(self, recording):
        recording.deliver_first()

    def recover(self):
        for folder in left_behind(self._spool, self._destination):
            deliver(folder, self._make_sink())

    def get_run(self, run_id):
        self.recover()
        assert self._settle(60)
        with self.store.connect() as store:
            found = store.execute("SELECT experiment, status FROM runs WHERE run_id = ?", (run_id,)).fetchone()
            if found is None:
                raise TrackerError(f"there is no run '{run_id}'", owner=self.owner)
            rows = store.execute("SELECT key, value FROM points WHERE run_id = ? ORDER BY rowid", (run_id,))
            metrics = {key: struct.unpack("<d", value)[0] for key, value in rows}
            texts = store.execute("SELECT kind, key, value FROM texts WHERE run_id = ?", (run_id,)).fetchall()
        params = {key: value for kind, key, value in texts if kind == "Params"}
        tags = {key: value for kind, key, value in texts if kind == "Tags"}
        return TrackedRun(run_id, *found, params, metrics, tags)

    def metric_history(self, run_id, key):
        self.recover()
        assert self._settle(60)
        with self.store.connect() as store:
            query = "SELECT step, value FROM points WHERE run_id = ? AND key = ? ORDER BY rowid"
            rows = store.execute(query, (run_id, key)).fetchall()
        return [(step, struct.unpack("<d", value)[0]) for step, value in rows]


class ListSink:
    """Appends what it gets to lists, whatever comes twice included.

    Attributes:
        trouble: Called before a batch is kept; may raise, or wait.
        afterwards: Called when a batch is kept; may raise, as if the process had died there.
    """

    def __init__(self, batch_size=1000):
        self.batch_size = batch_size
        self.trouble = self.afterwards = lambda: None
        self.refused = []
        self.points, self.events, self.begun, self.closed = [], [], [], 0

    def begin(self, run):
        self.trouble()
        self.begun.append(run)
        return run

    def write(self, run, batch):
        self.trouble()
        self.points += batch.points
        self.events += batch.events
        self.afterwards()
        return list(self.refused)

    def close(self):
        self.closed += 1
