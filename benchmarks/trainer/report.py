"""Print every table of the trainer's benchmark as markdown, with the machine, the versions and the date.

python report.py [--turns N] [--scale SHARE] [--rounds N] [--only CONTESTANT,CONTESTANT] [--parts PART,PART]
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import os
import platform
import statistics
import subprocess
from pathlib import Path

import contestants
import counts
import jobs
import paired
import same
import startup
from tables import table

PARTS = ["counts", "same", "times", "run", "startup"]
PACKAGES = ["torch", "accelerate", "lightning", "transformers", "numpy", "kladml-core"]
COLUMNS = {
    "tiny-pre": "collated batches",
    "tiny-dl": "shuffled DataLoader",
    "tiny-pre-clip": "clipping",
    "tiny-pre-accum-clip-bf16": "accumulation 4, clipping, bf16",
    "mid-dl": "small CNN",
}
GOALS = ["1.05 (0.90 fused)", "0.65", "1.00", "1.00", "1.00"]
# Backends speak every 50 steps and a bar is drawn ten times a second: a fit that shows it takes a second or more.
IN_A_RUN = ["raw", "kladml", "kladml_loud", "lightning_quiet", "lightning_loud"]
IN_A_RUN_SCALE = 0.2


def machine() -> str:
    """Return what was measured on, and when, as a list."""
    now = dt.datetime.now(tz=dt.UTC)
    versions = [f"{name} {_version(name)}" for name in PACKAGES]
    return "\n".join(
        [
            f"- date: {now:%Y-%m-%d %H:%M} UTC",
            f"- machine: {_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
            f"- trained on: {jobs.device_name()}",
            f"- load at the start: {os.getloadavg()[0]:.1f}",
            f"- versions: Python {platform.python_version()}, {', '.join(versions)}",
            f"- source: {_commit()}",
        ]
    )


def times_section(names: list[str], turns: int, scale: float) -> str:
    """Return the ratios of all jobs in one table, then each job's own."""
    by_job = [paired.time_in_turns(names, job, turns, scale) for job in COLUMNS]
    rows = [
        [contestants.load(name).LABEL, *(_ratio(timings, name) for timings in by_job)]
        for name in names
        if name != paired.BASELINE
    ]
    together = table(["contestant", *COLUMNS.values()], [*rows, ["KladML's goal", *GOALS]])
    each = [f"### {COLUMNS[timings.job]}: {timings.job}\n\n{timings.table()}" for timings in by_job]
    return "\n\n".join([f"## CPU time per step, ratio to the raw loop ({turns} turns)", together, *each])


def run_section(turns: int) -> str:
    """Return the times in a run with console, tracker and publisher."""
    names = [name for name in IN_A_RUN if contestants.missing(name) is None]
    timings = paired.time_in_turns(names, "tiny-pre", turns, IN_A_RUN_SCALE)
    title = "## In a run with console, local tracker and Redis publisher: ratio of means, goal 1.15"
    return f"{title}\n\n{timings.table()}"


def _ratio(timings: paired.Timings, name: str) -> str:
    return f"{statistics.median(timings.ratios(name)):.2f}" if name in timings.fits else "failed"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=paired.TURNS)
    parser.add_argument("--scale", type=float, default=paired.SCALE)
    parser.add_argument("--rounds", type=int, default=startup.ROUNDS)
    parser.add_argument("--only", default="", help="contestants; raw is needed")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    options = parser.parse_args()
    names, parts = contestants.names(options.only), options.parts.split(",")
    print(f"# Trainer benchmark\n\n{machine()}", flush=True)
    for label, lacks in contestants.absent().items():
        print(f"- left out: {label}: {lacks}", flush=True)
    # First what does not depend on time: the frameworks leave traces in the process, such as import hooks.
    if "counts" in parts:
        goal = "goal: the raw loop's + 30 calls and + 4 operations, no reads between log steps"
        print(f"\n## Free of noise: costs per step ({goal})\n\n{counts.counts_table(names, counts.JOBS)}", flush=True)
    if "same" in parts:
        print(f"\n## Largest difference to the raw loop's weights\n\n{same.same_table(names)}", flush=True)
    if "times" in parts:
        print(f"\n{times_section(names, options.turns, options.scale)}", flush=True)
    if "run" in parts:
        print(f"\n{run_section(max(3, options.turns // 3))}", flush=True)
    if "startup" in parts:
        print(f"\n## Imports\n\n{startup.imports_table(options.rounds)}", flush=True)
        print(f"\n## Time to the first step\n\n{startup.first_step_table(options.rounds, names)}", flush=True)


if __name__ == "__main__":
    main()
