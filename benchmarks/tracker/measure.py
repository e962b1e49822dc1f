"""Time one contestant in one workload in this process and print one JSON line.

    python measure.py CONTESTANT WORKLOAD FOLDER

FOLDER is an empty folder for what it keeps. CPU times are those of this process and of all that it started.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import resource
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter_ns

import contestants
from workloads import WORKLOADS


@dataclass
class Measured:
    """What a contestant took for a workload.

    Attributes:
        contestant: Its name.
        workload: The workload's name.
        points: How many points it was given.
        read_back: How many it had afterwards, None if it keeps none on purpose.
        cpu_s: CPU time in seconds of recording and closing, the steps of a training left out.
        loop_s: Wall time in seconds of recording.
        total_s: The same with closing, after which everything is kept.
        p50_us: Time of a call in microseconds, the median.
        p99_us: The 99th percentile.
        max_us: The longest.
    """

    contestant: str
    workload: str
    points: int
    read_back: int | None
    cpu_s: float
    loop_s: float
    total_s: float
    p50_us: float
    p99_us: float
    max_us: float

    @property
    def per_cpu_s(self) -> float:
        """Points per CPU second."""
        return self.points / self.cpu_s

    @property
    def per_s(self) -> float:
        """Points per second, until everything is kept."""
        return self.points / self.total_s


def measure(name: str, workload_name: str, folder: Path) -> Measured:
    """Return what a contestant takes for a workload."""
    contestant = contestants.load(name)
    workload = WORKLOADS[workload_name](contestant.CALLS[workload_name])
    tracker = contestant.Tracker(folder)
    gc.collect()
    os.sync()  # what was written so far is no one's cost
    cpu, begin = cpu_seconds(), perf_counter_ns()
    took = workload.log(tracker)
    logged = perf_counter_ns()
    tracker.close()
    closed, cpu = perf_counter_ns(), cpu_seconds() - cpu
    took.sort()
    return Measured(
        contestant=name,
        workload=workload_name,
        points=workload.points,
        read_back=contestant.count(folder),
        cpu_s=cpu - workload.own_cpu_s,
        loop_s=(logged - begin) / 1e9,
        total_s=(closed - begin) / 1e9,
        p50_us=took[len(took) // 2] / 1e3,
        p99_us=took[len(took) * 99 // 100] / 1e3,
        max_us=took[-1] / 1e3,
    )


def cpu_seconds() -> float:
    """Return the CPU time of this process, of its children that ended, and, on Linux, of those that are alive."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages) + _living_descendants_seconds()


def _living_descendants_seconds() -> float:
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it ended
            continue
        pid = int(path.parent.name)
        parents[pid] = int(fields[1])
        ticks[pid] = sum(map(int, fields[11:15]))  # its own, and of its children that ended
    family = {os.getpid()}
    while found := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= found
    return sum(ticks[pid] for pid in family - {os.getpid()}) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    name, workload, folder = sys.argv[1:]
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    # What contestants print, in programs of their own as well, goes to standard error.
    output = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    os.chdir(folder)
    line = json.dumps(asdict(measure(name, workload, Path(folder))))
    os.write(output, f"{line}\n".encode())


if __name__ == "__main__":
    main()
