"""Time one contestant on some jobs in this process and print one JSON line.

    python measure.py CONTESTANT [--jobs JOB,JOB] [--scale SHARE]

The figures are CPU times of the process, which other programs on the machine disturb less than wall times; torch
has one thread.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import contestants
import jobs
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

torch.set_num_threads(1)

WALL, CPU = 0, 1


@dataclass
class Timing:
    """Times of one fit.

    Attributes:
        us_step: CPU time per step in microseconds: the median over the blocks of steps, the first left out.
        us_step_p10: The tenth percentile over the blocks: quiet moments of the machine.
        us_wall: Wall time per step in microseconds, the median over the blocks.
        us_mean: CPU time per step in microseconds, the mean over the blocks, with what happens now and then.
        first_step_s: Wall time in seconds from the call of `train` to the first forward, imports included.
        first_step_cpu_s: The same as CPU time.
        fit_s: Wall time of the whole call in seconds.
    """

    us_step: float
    us_step_p10: float
    us_wall: float
    us_mean: float
    first_step_s: float
    first_step_cpu_s: float
    fit_s: float


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallow what a framework prints."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def own_environment() -> Iterator[None]:
    """Undo changes of environment variables: one framework tells itself the precision by one, for good."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def without_editable_installs() -> Iterator[None]:
    """Take the folders of editable installs off `sys.path` meanwhile.

    Accelerate looks a package up along the whole path twice in every step; the folders of our source tree would
    slow the peers down.
    """
    before = list(sys.path)
    sys.path[:] = [entry for entry in before if not entry.endswith("/src")]
    try:
        yield
    finally:
        sys.path[:] = before


def train(name: str, job: jobs.Job) -> None:
    """Let a contestant do a job, quietly and on equal terms.

    Raises:
        RuntimeError: It trained another number of batches.
    """
    contestant = contestants.load(name)
    if "accelerate" in sys.modules:  # it keeps one state per process and refuses another precision
        from accelerate.state import AcceleratorState, GradientState

        AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001 - what its own tests do
        GradientState._reset_state()  # noqa: SLF001
    is_ours = name.startswith("kladml") or getattr(contestant, "HIDDEN", False)
    with quiet(), own_environment(), contextlib.nullcontext() if is_ours else without_editable_installs():
        contestant.train(job)
    if job.model.n != job.steps:
        message = f"{name} ran {job.model.n} batches of {job.steps} in {job.name}"
        raise RuntimeError(message)


def measure(name: str, job_name: str, scale: float) -> Timing:
    """Return the times of a contestant's fit of a new job."""
    job = jobs.make(job_name, scale)
    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    train(name, job)
    fit_ns = time.perf_counter_ns() - wall
    marks = job.model.marks

    def per_step(clock: int) -> list[float]:
        pairs = pairwise(marks[1:])  # the first block warms up
        return sorted((after[clock] - before[clock]) / job.model.block / 1e3 for before, after in pairs)

    cpu_blocks = per_step(CPU)
    return Timing(
        us_step=cpu_blocks[len(cpu_blocks) // 2],
        us_step_p10=cpu_blocks[len(cpu_blocks) // 10],
        us_wall=statistics.median(per_step(WALL)),
        us_mean=statistics.mean(cpu_blocks),
        first_step_s=(marks[0][WALL] - wall) / 1e9,
        first_step_cpu_s=(marks[0][CPU] - cpu) / 1e9,
        fit_s=fit_ns / 1e9,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contestant")
    parser.add_argument("--jobs", default="tiny-pre")
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    timings = {job: asdict(measure(options.contestant, job, options.scale)) for job in options.jobs.split(",")}
    print(json.dumps(timings))


if __name__ == "__main__":
    main()
