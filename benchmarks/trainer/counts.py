"""What a step costs, free of noise: interpreter calls, aten operations, reads of a tensor's value.

    python counts.py [JOB,JOB] [--only CONTESTANT,CONTESTANT]

The figures do not depend on the machine's load, so a gate in CI can hold them.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import os
import pstats
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import contestants
import jobs
import torch
from measure import train
from tables import reason, table

if TYPE_CHECKING:
    from collections.abc import Iterator

JOBS = ["tiny-pre", "tiny-pre-clip"]
SHORT, LONG = 20, 80
PROFILED = 400
READ = "aten::_local_scalar_dense"


@dataclass
class Counts:
    """Costs per step.

    Attributes:
        calls: Calls of Python and C functions.
        operations: aten operations.
        reads: Reads of a tensor's value, which wait for an accelerator.
    """

    calls: float
    operations: float
    reads: float


def count(name: str, job_name: str) -> Counts:
    """Return what a contestant's step costs."""
    # What two fits of different length differ in is the steps' alone.
    short, long = operations(name, job_name, SHORT), operations(name, job_name, LONG)
    added = LONG - SHORT
    return Counts(
        calls=calls(name, job_name),
        operations=(long.total() - short.total()) / added,
        reads=(long[READ] - short[READ]) / added,
    )


def operations(name: str, job_name: str, steps: int) -> Counter[str]:
    """Return how often each aten operation is called in a whole fit."""
    job = jobs.make(job_name, steps=steps)
    with quiet_native(), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        train(name, job)
    return Counter({each.key: each.count for each in profile.key_averages() if each.key.startswith("aten::")})


@contextlib.contextmanager
def quiet_native() -> Iterator[None]:
    """Swallow what native code writes to standard error: the profiler announces itself."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def calls(name: str, job_name: str) -> float:
    """Return the interpreter's calls per step, counted between two forwards, over whole accumulation windows."""
    profile, steps = profile_between(name, job_name, begin=40, end=PROFILED - 20)
    return sum(count for _, count, *_ in pstats.Stats(profile).stats.values()) / steps  # type: ignore[attr-defined]


def profile_between(name: str, job_name: str, *, begin: int, end: int) -> tuple[cProfile.Profile, int]:
    """Return a profile of a contestant's steps from one forward to another, and their number."""
    job = jobs.make(job_name, steps=PROFILED)
    profile, forward = cProfile.Profile(time.process_time), job.model.forward

    def profiled_forward(inputs: torch.Tensor) -> torch.Tensor:
        if job.model.n == begin:
            profile.enable()
        elif job.model.n == end:
            profile.disable()
        return forward(inputs)

    job.model.forward = profiled_forward  # type: ignore[method-assign]
    train(name, job)
    return profile, end - begin


def counts_table(names: list[str], job_names: list[str]) -> str:
    """Return the counts as a table."""
    header = ["contestant", "job", "calls/step", "aten operations/step", "reads/step"]
    return table(header, _rows(names, job_names))


def _rows(names: list[str], job_names: list[str]) -> Iterator[list[str]]:
    for name in names:
        for job_name in job_names:
            label = contestants.load(name).LABEL
            try:
                found = count(name, job_name)
            except Exception as error:  # noqa: BLE001 - a contestant that fails is a row, not the end
                yield [label, job_name, reason(error), "", ""]
            else:
                yield [label, job_name, f"{found.calls:.1f}", f"{found.operations:.1f}", f"{found.reads:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="?", default=",".join(JOBS))
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    print(counts_table(contestants.names(options.only), options.jobs.split(",")))


if __name__ == "__main__":
    main()
