"""Processes that record with `LocalTracker` and are killed, and what must be in the database then.

Tests load this module, and so does `benchmarks/tracker_faults.py`, which does the same in larger numbers. Run as a
program it is one of the processes: `python tracker_lab.py record|recover|open|wait …`.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import time
import warnings
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

from kladml.errors import TrackerError
from kladml.spool.recording import Recording
from kladml.spool.records import HEADER, POINTS, SegmentReader
from kladml_backends_local import LocalTracker
from kladml_backends_local.mlflow_database import ensure_database

if TYPE_CHECKING:
    import random

    from kladml.spool.events import Sink

EXPERIMENT = "default/default/killed"
TEN = [f"ten/{number}" for number in range(10)]
PACES = (0.0, 0.0, 0.0002, 0.003)
"""Seconds between rounds of calls: as fast as it goes, and slower, so that batches of all sizes are interrupted."""
SEGMENTS = (16 << 10, 256 << 10, 4 << 20)
"""Bytes of a segment: with small ones, many are made, sealed and used again in the time until a kill."""

_SLOT = struct.Struct("<Q32sQQQQ")
_CALLS = ("one", "ten", "params", "tags")
_FIRST_COUNT = 40
_LONGEST = 120.0


class Board:
    """A mapped file on which recording processes note what was acknowledged; it outlives them.

    Args:
        path: The file.
        slots: How many processes note on it; given by who makes the file.
    """

    def __init__(self, path: Path, slots: int = 0) -> None:
        if slots:
            path.write_bytes(bytes(_SLOT.size * slots))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def begin(self, slot: int, run_id: str) -> None:
        """Note that a run was begun."""
        start = slot * _SLOT.size
        self._map[start + 8 : start + _FIRST_COUNT] = run_id.encode()
        self._map[start : start + 8] = (1).to_bytes(8, "little")

    def count(self, slot: int, call: int, number: int) -> None:
        """Note how many calls of a kind have returned."""
        start = slot * _SLOT.size + _FIRST_COUNT + 8 * call
        self._map[start : start + 8] = number.to_bytes(8, "little")

    def read(self, slot: int) -> tuple[str | None, dict[str, int]]:
        """Return the run of a process, None if it had not begun one, and its acknowledged calls of each kind."""
        begun, run_id, *counts = _SLOT.unpack_from(self._map, slot * _SLOT.size)
        return run_id.decode() if begun else None, dict(zip(_CALLS, counts, strict=True))

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()


def value_of(step: int, place: int = 0) -> float:
    """Return the value that is recorded at a step."""
    return step / 7 + place


def record(database: Path, board: Board, slot: int, pace: float, segment_bytes: int) -> NoReturn:
    """Record until killed, and note every call on the board when it has returned."""
    Recording.__init__.__kwdefaults__["segment_bytes"] = segment_bytes
    tracker = LocalTracker(database)
    board.begin(slot, tracker.start_run(EXPERIMENT, f"process {slot}"))
    step = tens = params = tags = 0
    while True:
        tracker.log_metric("one", value_of(step), step)
        step += 1
        board.count(slot, 0, step)
        if step % 7 == 0:
            tracker.log_metrics({key: value_of(tens, place) for place, key in enumerate(TEN)}, tens)
            tens += 1
            board.count(slot, 1, tens)
        if step % 97 == 0:
            tracker.log_params({f"p{params}": params})
            params += 1
            board.count(slot, 2, params)
            tracker.set_tags({"last": str(tags + 1)})
            tags += 1
            board.count(slot, 3, tags)
        if pace:
            time.sleep(pace)


def recover(database: Path) -> None:
    """Open the tracker as the next training would, and let it deliver what dead processes left."""
    with LocalTracker(database) as tracker:
        tracker.check()


def open_at_once(database: Path, number: int) -> None:
    """Make a run in a database that may be missing."""
    with LocalTracker(database) as tracker:
        tracker.check()
        tracker.start_run(EXPERIMENT, f"process {number}")
        tracker.log_metric("one", value_of(number), number)
        tracker.end_run()


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start one of the processes; it gets the modules of this one."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", __file__, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a process, and return its exit status and everything that it wrote."""
    written, errors = process.communicate(timeout=_LONGEST)
    return process.returncode, written + errors


@dataclass
class Tally:
    """What was found after kills.

    Attributes:
        kills: Processes that were killed.
        recoveries: Of those, processes that were recovering what earlier ones had left.
        acknowledged: Points whose call had returned.
        kept: Points in the database.
        lost: Points and other records whose call had returned, and that are not there.
        wrong: Whatever else is not as it must be, in words.
    """

    kills: int = 0
    recoveries: int = 0
    acknowledged: int = 0
    kept: int = 0
    lost: int = 0
    wrong: list[str] = field(default_factory=list)

    def __iadd__(self, other: Tally) -> Self:
        """Add what was found elsewhere."""
        self.kills += other.kills
        self.recoveries += other.recoveries
        self.acknowledged += other.acknowledged
        self.kept += other.kept
        self.lost += other.lost
        self.wrong += other.wrong
        return self


def new_database(folder: Path, template: Path | None = None) -> Path:
    """Return a database in a folder of its own; MLflow needs seconds to make one, so a made one may be copied."""
    folder.mkdir(parents=True)
    database = folder / "mlflow.db"
    if template is not None:
        shutil.copyfile(template, database)
    else:
        ensure_database(database, folder / "artifacts")
    return database


def kill_round(database: Path, processes: int, chance: random.Random, longest: float = 0.7) -> Tally:
    """Let processes record on one database, kill each at a random moment, recover, and look.

    Half of the time the recovering process is killed as well, up to three times.
    """
    tally = Tally()
    path = database.parent / "board"
    board = Board(path, processes)
    recording = [
        start("record", database, path, slot, chance.choice(PACES), chance.choice(SEGMENTS))
        for slot in range(processes)
    ]
    deadline = time.monotonic() + _LONGEST
    if chance.random() < 0.8:  # else some die before they have begun
        while any(board.read(slot)[0] is None for slot in range(processes)) and time.monotonic() < deadline:
            time.sleep(0.01)
    for moment, process in sorted((chance.uniform(0, longest), number) for number, process in enumerate(recording)):
        tally.wrong += _killed(recording[process], moment / processes)
        tally.kills += 1
    while tally.recoveries < 3 and chance.random() < 0.5:
        recovering = start("recover", database)
        if wrong := _killed(recovering, chance.uniform(0.1, 0.1 + longest)):
            tally.wrong += [each for each in wrong if not each.startswith("exit 0")]
            break  # it was done before
        tally.kills += 1
        tally.recoveries += 1
    code, said = output(start("recover", database))
    if (code, said) != (0, ""):
        tally.wrong.append(f"recovery: exit {code}, {said}")
    runs = dict(board.read(slot) for slot in range(processes))
    board.close()
    for run_id, counts in runs.items():
        if run_id is not None:
            tally += look(database, run_id, counts)
    tally.wrong += whole(database)
    return tally


def look(database: Path, run_id: str, counts: dict[str, int], status: str = "KILLED") -> Tally:
    """Compare a run in the database with the calls that were acknowledged; one more may have been recorded."""
    tally = Tally(acknowledged=counts["one"] + len(TEN) * counts["ten"])
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("SELECT status, start_time, end_time FROM runs WHERE run_uuid = ?", (run_id,))
        row = found.fetchone()
        if row is None:
            tally.lost += sum(counts.values())
            tally.wrong.append(f"run {run_id} is missing")
            return tally
        if row[0] != status or row[2] is None or row[2] < row[1]:
            tally.wrong.append(f"run {run_id} is {row}")
        for place, key in enumerate(["one", *TEN]):
            acknowledged = counts["ten"] if place else counts["one"]
            query = "SELECT step, value FROM metrics WHERE run_uuid = ? AND key = ? ORDER BY rowid"
            points = connection.execute(query, (run_id, key)).fetchall()
            tally.kept += len(points)
            tally.lost += max(acknowledged - len(points), 0)
            if points != [(step, value_of(step, max(place - 1, 0))) for step in range(len(points))]:
                tally.wrong.append(f"'{key}' of run {run_id}: double, in another order, or never recorded")
            if len(points) > acknowledged + 1:
                tally.wrong.append(f"'{key}' of run {run_id}: {len(points)} of {acknowledged}")
            latest = connection.execute(
                "SELECT step FROM latest_metrics WHERE run_uuid = ? AND key = ?", (run_id, key)
            ).fetchone()
            if latest != ((len(points) - 1,) if points else None):
                tally.wrong.append(f"the latest '{key}' of run {run_id} is that of step {latest}")
        query = "SELECT key, value FROM params WHERE run_uuid = ? ORDER BY rowid"
        params = connection.execute(query, (run_id,)).fetchall()
        tally.lost += max(counts["params"] - len(params), 0)
        if params != [(f"p{number}", str(number)) for number in range(len(params))]:
            tally.wrong.append(f"parameters of run {run_id}: {params}")
        query = "SELECT value FROM tags WHERE run_uuid = ? AND key = 'last'"
        last = int((connection.execute(query, (run_id,)).fetchone() or ("0",))[0])
        tally.lost += max(counts["tags"] - last, 0)
        if last > counts["tags"] + 1:
            tally.wrong.append(f"the tag of run {run_id} is {last} of {counts['tags']}")
    return tally


def whole(database: Path) -> list[str]:
    """Return what is wrong with the database itself, and with what was left beside it."""
    wrong = []
    with closing(sqlite3.connect(database)) as connection:
        for check in ("PRAGMA integrity_check", "PRAGMA foreign_key_check"):
            found = connection.execute(check).fetchall()
            if found not in ([("ok",)], []):
                wrong.append(f"{check}: {found}")
        for run_id, status in connection.execute("SELECT run_uuid, status FROM runs WHERE status = 'RUNNING'"):
            wrong.append(f"run {run_id} is still {status}")
    # A process that is killed before its folder says whose it is leaves a lock, for an hour.
    left = [
        str(path)
        for path in (database.parent / "spool").rglob("*")
        if path.is_file() and path.name not in {"run.lock", "holder.json"}
    ]
    return wrong + ([f"left in the spool: {left}"] if left else [])


def read_by_mlflow(database: Path, run_id: str) -> tuple[str, dict[str, float], int]:
    """Return a run's status, its latest metrics, and the length of a history, as MLflow's own client reads them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{database.as_posix()}")
        try:
            run = client.get_run(run_id)
            return run.info.status, run.data.metrics, len(client.get_metric_history(run_id, TEN[0]))
        finally:
            client._tracking_client.store.engine.dispose()


def open_missing(folder: Path, processes: int = 8) -> list[str]:
    """Let processes open a missing database at once, and return what went wrong."""
    database = folder / "mlflow.db"
    results = [output(process) for process in [start("open", database, number) for number in range(processes)]]
    wrong = [f"exit {code}: {said}" for code, said in results if (code, said) != (0, "")]
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("SELECT status, count(*) FROM runs GROUP BY 1").fetchall()
        points = connection.execute("SELECT step, value FROM metrics ORDER BY step").fetchall()
    if found != [("FINISHED", processes)] or points != [(step, value_of(step)) for step in range(processes)]:
        wrong.append(f"{found} and {len(points)} points of {processes}")
    return wrong + whole(database)


class _FullSink:
    """A sink that takes nothing."""

    batch_size = 1_000

    def begin(self, run):
        raise TrackerError("taken by nobody", owner="tests")

    def write(self, run, batch):
        raise AssertionError

    def close(self):
        pass


class WaitingTracker(LocalTracker):
    """A tracker whose records wait in the spool."""

    backpressure = False

    def _make_sink(self) -> Sink:
        return _FullSink()


def wait(database: Path, segment_bytes: int, calls: int) -> NoReturn:
    """Record a number of calls that nobody delivers, and die."""
    logging.disable()
    Recording.__init__.__kwdefaults__["segment_bytes"] = segment_bytes
    tracker = WaitingTracker(database)
    tracker.start_run(EXPERIMENT)
    for step in range(calls):
        tracker.log_metric("one", value_of(step), step)
        if step % 5 == 0:
            tracker.log_metrics({key: value_of(step, place) for place, key in enumerate(TEN)}, step)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@dataclass(frozen=True)
class Damage:
    """A change to a segment.

    Attributes:
        segment: Its place among the segments.
        offset: The byte.
        flip: The bits to change in it; 0 cuts the file there.
    """

    segment: int
    offset: int
    flip: int


def segments(database: Path) -> list[Path]:
    """Return the segments that wait beside a database."""
    return sorted((database.parent / "spool").rglob("*.seg"))


def ends(segment: Path) -> list[tuple[int, int]]:
    """Return where each record of a segment ends, and how many points were recorded by then."""
    reader = SegmentReader(segment.read_bytes())
    found, points = [(HEADER.size, 0)], 0
    for kind, body in reader._bodies():
        points += (len(body) - 24) // 8 if kind == POINTS else 0
        found.append((reader.offset, points))
    return found


def any_damage(database: Path, chance: random.Random) -> Damage:
    """Return a change to a byte that was recorded, or a cut before one."""
    paths = segments(database)
    number = chance.randrange(len(paths))
    (last, _) = ends(paths[number])[-1]
    return Damage(number, chance.randrange(last), chance.choice((0, chance.randrange(1, 256))))


def harm(database: Path, damage: Damage) -> int:
    """Damage a segment, and return how many points are in front of the damage or in other segments."""
    paths = segments(database)
    kept = sum(ends(path)[-1][1] for path in paths if path != paths[damage.segment])
    before = [points for end, points in ends(paths[damage.segment]) if end <= damage.offset]
    with paths[damage.segment].open("r+b") as file:
        if damage.flip:
            file.seek(damage.offset)
            (byte,) = file.read(1)
            file.seek(damage.offset)
            file.write(bytes([byte ^ damage.flip]))
        else:
            file.truncate(damage.offset)
    return kept + (before[-1] if before else 0)


def damaged_round(waiting: Path, folder: Path, damage: Damage) -> list[str]:
    """Damage a copy of a killed run that waits, recover it, and return what is wrong."""
    shutil.copytree(waiting.parent, folder)
    database = folder / waiting.name
    expected = harm(database, damage)
    said = Said()
    logging.getLogger("kladml").addHandler(said)
    try:
        with LocalTracker(database) as tracker:
            tracker.undelivered()  # looking changes nothing
            tracker.check()
    finally:
        logging.getLogger("kladml").removeHandler(said)
    wrong = []
    if len(said.texts) != 1 or "damaged" not in said.texts[0]:
        wrong.append(f"{damage}: said {said.texts}")
    with closing(sqlite3.connect(database)) as connection:
        (found,) = connection.execute("SELECT count(*) FROM metrics").fetchone()
        statuses = connection.execute("SELECT status FROM runs").fetchall()
        rows = connection.execute("SELECT key, step, value FROM metrics").fetchall()
    if found != expected or statuses != [("KILLED",)]:
        wrong.append(f"{damage}: {found} points of {expected}, {statuses}")
    for key, step, value in rows:
        if value != value_of(step, TEN.index(key) if key in TEN else 0):
            wrong.append(f"{damage}: {key} {step} {value} was never recorded")
    return wrong


_TIMES = ("start_time", "end_time", "creation_time", "last_update_time", "timestamp")
_EARLY_MS = 10_000_000_000
"""Times below are a test's own; later ones are those of the calls."""


def content(database: Path) -> dict[str, list[str]]:
    """Return every row of every table of a database, without random identifiers and the times of calls."""
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        tables = {
            name: [dict(row) for row in connection.execute(f'SELECT * FROM "{name}" ORDER BY rowid')]  # noqa: S608
            for name in names
            if name not in {"alembic_version", "sqlite_sequence"}
        }
    shown = {row["run_uuid"]: f"run {row['name']}" for row in tables["runs"]}
    shown |= {row["dataset_uuid"]: f"data set {row['name']}" for row in tables["datasets"]}
    edges = [(row["input_uuid"], row["source_id"], row["destination_id"]) for row in tables["inputs"]]
    shown |= {edge: f"{shown[source]} of {shown[run_id]}" for edge, source, run_id in edges}
    shown[database.parent.as_uri()] = "file:///state"
    for row in (row for rows in tables.values() for row in rows):
        for column, value in row.items():
            if column in _TIMES and value is not None and value > _EARLY_MS:
                row[column] = "now"
            for identifier in shown if isinstance(value, str) else ():
                row[column] = row[column].replace(identifier, shown[identifier])
    return {name: sorted(json.dumps(row, sort_keys=True) for row in rows) for name, rows in tables.items()}


class Said(logging.Handler):
    """Keeps the warnings.

    Attributes:
        texts: What they say.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.texts.append(record.getMessage())


def _killed(process: subprocess.Popen[str], seconds: float) -> list[str]:
    """Kill a process after a while, and return what is wrong: it must live until then, and have said nothing."""
    time.sleep(seconds)
    process.kill()
    code, said = output(process)
    return [] if (code, said) == (-signal.SIGKILL, "") else [f"exit {code}, {said}"]


def main(arguments: list[str]) -> None:
    """Be one of the processes."""
    program, database, *rest = arguments
    if program == "record":
        path, slot, pace, segment_bytes = rest
        record(Path(database), Board(Path(path)), int(slot), float(pace), int(segment_bytes))
    elif program == "recover":
        recover(Path(database))
    elif program == "open":
        open_at_once(Path(database), int(rest[0]))
    elif program == "wait":
        wait(Path(database), int(rest[0]), int(rest[1]))


if __name__ == "__main__":
    main(sys.argv[1:])
