"""The CPU time of commands on a workspace with 10,000 runs in 200 experiments, beside click's own.

    python benchmarks/runs.py [REPEATS]

The runs are written into the catalog and the tracker's database directly, each with 40 parameters and 8 metrics, ten
of them with folders and 100 values of each metric. Every command runs in a process of its own; what an interpreter
takes that imports click and nothing else is subtracted from its user plus system time. The exit status is 1 if a
command takes more than half a second, or completing a line in a shell more than 0.3.
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

BUDGET, TO_COMPLETE = 0.5, 0.3
RUNS, EXPERIMENTS = 10_000, 200
PARAMS, POINTS = 40, 100
METRICS = ("loss", "accuracy", "val_loss", "val_acc", "eval_loss", "eval_acc", "lr", "seconds")
START = datetime(2026, 1, 1, tzinfo=UTC)
BACKENDS = {"storage": "local", "tracker": "local", "publisher": "console", "catalog": "sql"}

COMMANDS = {
    "runs list": ("runs", "list"),
    "runs list --tree": ("runs", "list", "--tree"),
    "runs list --where METRIC --sort": ("runs", "list", "--where", "val_acc > 0.9", "--sort", "-val_acc"),
    "runs list --where METRIC and PARAM": ("runs", "list", "--where", "val_acc > 0.9 and params.lr < 0.01"),
    "runs show": ("runs", "show", "e199@50"),
    "runs show (by rank)": ("runs", "show", "e199@-1"),
    "compare (ten runs)": ("compare", *(f"e199@{number}" for number in range(41, 51))),
}

LINES = (
    "kladml ",
    "kladml runs show ",
    "kladml runs show e199@",
    "kladml experiment show e1",
    "kladml train --storage ",
    "kladml train --set training.opt",
    "kladml runs list --sort=-v",
)


def main() -> int:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    kladml = [sys.executable, "-m", "kladml_cli"]
    bare = [sys.executable, "-c", "import click"]
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        fill(workspace)
        cpu_seconds(bare, workspace)
        below = statistics.median(cpu_seconds(bare, workspace) for _ in range(2 * repeats))
        print(f"{'python -c import click':<44} {1000 * below:6.0f} ms CPU, subtracted below")
        slow = False
        for name, arguments in COMMANDS.items():
            command = [*kladml, *arguments]
            slow |= report(name, [cpu_seconds(command, workspace) - below for _ in range(repeats + 1)], BUDGET)
        for line in LINES:
            asked = {"_KLADML_COMPLETE": "bash_complete", "COMP_LINE": line}
            times = [cpu_seconds(kladml, workspace, asked) - below for _ in range(repeats + 1)]
            slow |= report(f"complete: {line}", times, TO_COMPLETE)
    return int(slow)


def report(name: str, times: list[float], budget: float) -> bool:
    """Print what something takes, without the first time, which fills the caches; tell whether that is too long."""
    middle = statistics.median(times[1:])
    shown = f"median of {len(times) - 1}, least {1000 * min(times[1:]):.0f}, budget {1000 * budget:.0f}"
    print(f"{name:<44} {1000 * middle:6.0f} ms CPU ({shown})")
    return middle > budget


def cpu_seconds(command: list[str], folder: Path, more: dict[str, str] | None = None) -> float:
    """Run a command and return its user and system time in seconds."""
    variables = environment(folder) | (more or {})
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder, env=variables)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        message = f"{' '.join(command)} failed with the exit status {process.returncode}"
        raise SystemExit(message)
    return usage.ru_utime + usage.ru_stime


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of a process that keeps bytecode, as one of an installed package has it."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}


def fill(workspace: Path) -> None:
    """Make a workspace with runs."""
    from kladml.interfaces import ExperimentAddress
    from kladml.workspace import Workspace
    from kladml_backends_local import LocalTracker
    from kladml_backends_local.catalog import SqlCatalog
    from kladml_backends_local.catalog.engine import sqlite_url

    state = Workspace.create(workspace).state
    with SqlCatalog(sqlite_url(state / "catalog.db")) as catalog:
        catalog.add_run(ExperimentAddress("default", "default", "first"), "0" * 32, BACKENDS)  # makes the tables
    with LocalTracker(state / "mlflow.db") as tracker:
        tracker.start_run("first")
        tracker.end_run()
    with closing(sqlite3.connect(state / "catalog.db")) as connection, connection:
        fill_catalog(connection)
    with closing(sqlite3.connect(state / "mlflow.db")) as connection, connection:
        fill_tracker(connection)
    for number in range(RUNS - 9, RUNS + 1):
        write_record(state, number)


def metrics_of(number: int) -> dict[str, float]:
    return {name: ((number * 7919 + 31 * place) % 10_007) / 10_007 for place, name in enumerate(METRICS)}


def params_of(number: int) -> dict[str, object]:
    made = {f"model.args.option_{place}": place * number % 5 for place in range(PARAMS - 1)}
    return {"training.optimizer.lr": 10.0 ** -(1 + number % 5), **made}


def place_of(number: int) -> tuple[int, int]:
    """Return the experiment of a run and its number there; the newest runs are those of the last experiment."""
    experiment, before = divmod(number - 1, RUNS // EXPERIMENTS)
    return experiment, before + 1


def fill_catalog(connection: sqlite3.Connection) -> None:
    (family,) = connection.execute("SELECT id FROM kladml_families").fetchone()
    rows = [(family, f"e{place}", RUNS // EXPERIMENTS, "2026-01-01 00:00:00") for place in range(EXPERIMENTS)]
    columns = "family_id, name, last_number, created_at"
    connection.executemany(f"INSERT INTO kladml_experiments ({columns}) VALUES (?, ?, ?, ?)", rows)  # noqa: S608
    ids = dict(connection.execute("SELECT name, id FROM kladml_experiments").fetchall())
    columns = "experiment_id, number, run_id, status, started_at, ended_at, metrics, backends"
    connection.executemany(
        f"INSERT INTO kladml_runs ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        (
            (
                ids[f"e{place_of(number)[0]}"],
                place_of(number)[1],
                f"{number:032x}",
                "FINISHED",
                f"{START + timedelta(minutes=number):%Y-%m-%d %H:%M:%S.%f}",
                f"{START + timedelta(minutes=number, seconds=50):%Y-%m-%d %H:%M:%S.%f}",
                json.dumps(metrics_of(number)),
                json.dumps(BACKENDS),
            )
            for number in range(1, RUNS + 1)
        ),
    )


def fill_tracker(connection: sqlite3.Connection) -> None:
    (experiment,) = connection.execute("SELECT experiment_id FROM experiments WHERE name = 'first'").fetchone()
    numbers = range(1, RUNS + 1)
    ids = {number: f"{number:032x}" for number in numbers}
    connection.executemany(
        "INSERT INTO runs (run_uuid, experiment_id, status, lifecycle_stage, start_time) VALUES (?, ?, ?, ?, ?)",
        ((ids[number], experiment, "FINISHED", "active", number) for number in numbers),
    )
    connection.executemany(
        "INSERT INTO params (run_uuid, key, value) VALUES (?, ?, ?)",
        ((ids[number], key, str(value)) for number in numbers for key, value in params_of(number).items()),
    )
    connection.executemany(
        "INSERT INTO latest_metrics (run_uuid, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, 0, 1, 0)",
        ((ids[number], key, value) for number in numbers for key, value in metrics_of(number).items()),
    )
    connection.executemany(
        "INSERT INTO metrics (run_uuid, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, ?, ?, 0)",
        (
            (ids[number], key, value / step, step, step)
            for number in numbers[-10:]
            for step in range(1, POINTS + 1)
            for key, value in metrics_of(number).items()
        ),
    )


def write_record(state: Path, number: int) -> None:
    from kladml.runner.environment import distributions
    from kladml.runner.record import RunRecord

    experiment, label = place_of(number)
    address = f"default/default/e{experiment}"
    environment = {"python": "3.11.7", "device": "cpu", "distributions": distributions(sys.path)}
    record = RunRecord(
        f"{address}@{label}", f"{number:032x}", "FINISHED", params=params_of(number), environment=environment
    )
    record.write(state / "runs" / address / str(label))


if __name__ == "__main__":
    sys.exit(main())
