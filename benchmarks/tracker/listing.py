"""What reading ten thousand runs costs: CPU time beyond the interpreter's own start, a process each, in turn.

    python listing.py [--runs N] [--rounds N]

A tracker writes one run with 8 parameters, 5 tags and 6 metrics of 20 points; SQL multiplies it, each copy with a
time and values of its own. The programs must not import MLflow, SQLAlchemy or torch.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import environments
from tables import table

RUNS = 10_000
ROUNDS = 7
DATABASE = "mlflow.db"

NOTHING = "nothing"
PROGRAMS = {
    NOTHING: "found = []",
    "import the tracker": "from kladml_backends_local.tracker import LocalTracker; found = []",
    "search_runs(): all runs with everything": "{tracker}.search_runs()",
    "search_runs(limit=50): the newest 50": "{tracker}.search_runs(limit=50)",
    "search_runs(where=a metric, order_by=it, limit=50)": (
        "{tracker}.search_runs(where='metrics.metric_0 > 0.5', order_by='metrics.metric_0', limit=50)"
    ),
    "search_runs(where=a parameter): one run": "{tracker}.search_runs(where=\"params.param_0 == '77'\")",
    "RunReader.search_runs(): all runs with everything": "{reader}.search_runs()",
}
OBJECTS = {
    "{tracker}": "from kladml_backends_local.tracker import LocalTracker; found = LocalTracker({database!r})",
    "{reader}": (
        "from pathlib import Path; from kladml_backends_local.run_reader import RunReader; "
        "found = RunReader(Path({database!r}))"
    ),
}
REPORT = """
import json, sys
print(json.dumps([len(found), sorted({"mlflow", "sqlalchemy", "torch"} & sys.modules.keys())]))
"""

_COPIES = """
CREATE TEMP TABLE copies AS
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :copies)
SELECT n, printf('%032x', n) AS id FROM numbers
"""
_NEW_VALUES = {
    "runs": {"run_uuid": "id", "name": "name || n", "start_time": "start_time + n"},
    "params": {"run_uuid": "id", "value": "CAST(n AS TEXT)"},
    "tags": {"run_uuid": "id"},
    "metrics": {"run_uuid": "id", "value": "(n * 7919 % 10007) / 10007.0"},
    "latest_metrics": {"run_uuid": "id", "value": "(n * 7919 % 10007) / 10007.0"},
}


def fill(database: Path, runs: int) -> None:
    """Write a database with that many runs."""
    from kladml_backends_local.tracker import LocalTracker

    tracker = LocalTracker(database)
    tracker.check()
    tracker.start_run("listing")
    tracker.log_params({f"param_{index}": index for index in range(8)})
    tracker.set_tags({"family": "digits"})
    for step in range(20):
        tracker.log_metrics({f"metric_{index}": step * 0.5 for index in range(6)}, step)
    tracker.end_run()
    tracker.close()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(_COPIES, {"copies": runs - 1})
        for name, new in _NEW_VALUES.items():
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
            values = ", ".join(new.get(column, column) for column in columns)
            connection.execute(
                f"INSERT INTO {name} ({', '.join(columns)}) SELECT {values} FROM {name}, copies"  # noqa: S608 - constants
            )


def cpu_seconds(code: str) -> tuple[float, int, list[str]]:
    """Run a program and return its CPU time in seconds, how many runs it found, and what it imported of the heavy."""
    command = [sys.executable, "-c", code + REPORT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environments.variables("kladml")) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, state, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(state)
    if process.returncode:
        message = f"{code} failed with the exit status {process.returncode}"
        raise SystemExit(message)
    found, imported = json.loads(output)
    return usage.ru_utime + usage.ru_stime, found, imported


def program(template: str, database: Path) -> str:
    """Return the code of a program."""
    for place, made in OBJECTS.items():
        if template.startswith(place):
            return f"{made.format(database=str(database))}{template.removeprefix(place)}"
    return template


def measure(runs: int, rounds: int) -> str:
    """Return what was measured as a table."""
    data = environments.HOME / "data"
    data.mkdir(parents=True, exist_ok=True)
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    rest: dict[str, tuple[int, str]] = {}
    with tempfile.TemporaryDirectory(dir=data) as folder:
        database = Path(folder, DATABASE)
        fill(database, runs)
        codes = {name: program(template, database) for name, template in PROGRAMS.items()}
        for number in range(rounds + 1):
            for name, code in codes.items():
                seconds, found, imported = cpu_seconds(code)
                rest[name] = found, ", ".join(imported) or "nothing"
                times[name] += [seconds] if number else []  # the first is for the caches of files and bytecode
    start = statistics.median(times[NOTHING])
    header = ["program", "CPU ms beyond the start", "least", "runs found", "imported of mlflow, sqlalchemy, torch"]
    return table(
        header,
        [
            [
                name,
                f"{1000 * (statistics.median(values) - start):.0f}",
                f"{1000 * (min(values) - min(times[NOTHING])):.0f}",
                f"{rest[name][0]:,}",
                rest[name][1],
            ]
            for name, values in times.items()
            if name != NOTHING
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    print(measure(options.runs, options.rounds))


if __name__ == "__main__":
    main()
