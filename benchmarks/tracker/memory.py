"""The memory that recording takes: ten million points in one run, at full rate.

    python memory.py [--points N]

A process of its own opens a database that is there, starts a run and records one metric after another. `grew` is how
much more of memory the process held than just before the first of them: at its highest, as the kernel counts it
(`VmHWM`, reset at that moment), and at the end. The highest anonymous and mapped memory (`RssAnon`, `RssFile` and
`RssShmem`) are looked up every few milliseconds from outside, and need not be of the same moment. Mapped memory is
mostly the spool's segments, which the kernel can take back. The points are counted in the database after the run has
ended. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import environments
from tables import table

POINTS = 10_000_000
LIMIT_MIB = 64.0
SAMPLE_SECONDS = 0.005
RESET_PEAK = "5"
DATABASE = "mlflow.db"


def status(pid: int | str) -> dict[str, float]:
    """Return a process's memory in MiB, by the kernel's names."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    fields = (line.split() for line in lines if line.endswith(" kB"))
    return {name.removesuffix(":"): int(kib) / 1024 for name, kib, _ in fields}


def record(folder: Path, points: int) -> None:
    """Be the process that is looked at."""
    from kladml_backends_local.tracker import LocalTracker

    database = folder / DATABASE
    tracker = LocalTracker(database)
    tracker.start_run("memory")
    Path("/proc/self/clear_refs").write_text(RESET_PEAK, encoding="utf-8")
    print(json.dumps(before := status("self")), flush=True)
    begin, cpu = time.perf_counter(), time.process_time()
    for step in range(points):
        tracker.log_metric("loss", step * 0.5, step)
    recorded = time.perf_counter() - begin
    tracker.end_run()
    tracker.close()
    after = status("self")
    figures = {
        "recorded_s": recorded,
        "delivered_s": time.perf_counter() - begin,
        "cpu_s": time.process_time() - cpu,
        "grew": after["VmHWM"] - before["VmRSS"],
        "grew_at_the_end": after["VmRSS"] - before["VmRSS"],
        "imported": sorted({"mlflow", "sqlalchemy", "torch"} & sys.modules.keys()),
    }
    print(json.dumps(figures), flush=True)


def watch(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return what a process says, and the highest that each kind of its memory was until then, in MiB."""
    assert process.stdout is not None
    highest: dict[str, float] = {}
    os.set_blocking(process.stdout.fileno(), False)
    while not (line := process.stdout.readline()) and process.poll() is None:
        found = status(process.pid)
        found["mapped"] = found.get("RssFile", 0.0) + found.get("RssShmem", 0.0)
        highest = {name: max(value, highest.get(name, 0.0)) for name, value in found.items()}
        time.sleep(SAMPLE_SECONDS)
    return {**highest, **json.loads(line or process.stdout.read())}


def measure(points: int) -> str:
    """Return what was measured as a table."""
    import sqlite3
    from contextlib import closing

    from kladml_backends_local.tracker import LocalTracker

    data = environments.HOME / "data"
    data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data) as folder:
        tracker = LocalTracker(Path(folder, DATABASE))
        tracker.check()
        tracker.close()
        command = [sys.executable, __file__, "--points", str(points), "--record", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            before = json.loads(process.stdout.readline())
            found = watch(process)
        with closing(sqlite3.connect(Path(folder, DATABASE))) as connection:
            (kept,) = connection.execute("SELECT count(*) FROM metrics").fetchone()
            (latest,) = connection.execute("SELECT step FROM latest_metrics").fetchone()
        left = sum(path.stat().st_size for path in Path(folder, "spool").rglob("*") if path.is_file())
    verdict = "met" if found["grew"] < LIMIT_MIB else "missed"
    mapped_before = before.get("RssFile", 0.0) + before.get("RssShmem", 0.0)
    return table(
        ["figure", "measured"],
        [
            ["points recorded", f"{points:,}"],
            ["points in the database", f"{kept:,}"],
            ["step of the latest metric", f"{latest:,}"],
            ["bytes left in the spool", f"{left:,}"],
            ["recording took", f"{found['recorded_s']:.1f} s"],
            ["until everything was delivered", f"{found['delivered_s']:.1f} s"],
            ["CPU time", f"{found['cpu_s']:.1f} s"],
            ["resident before", f"{before['VmRSS']:.1f} MiB"],
            [f"grew at its highest (goal: less than {LIMIT_MIB:g} MiB)", f"{found['grew']:.1f} MiB, {verdict}"],
            ["of it anonymous", f"{found['RssAnon'] - before['RssAnon']:.1f} MiB"],
            ["of it mapped", f"{found['mapped'] - mapped_before:.1f} MiB"],
            ["grew, at the end", f"{found['grew_at_the_end']:.1f} MiB"],
            ["imported of mlflow, sqlalchemy and torch", ", ".join(found["imported"]) or "nothing"],
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=POINTS)
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.record:
        record(options.record, options.points)
    else:
        print(measure(options.points))


if __name__ == "__main__":
    main()
