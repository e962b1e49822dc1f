"""The ratios to quote: short fits of all contestants in turn, in one process, many times.

    python paired.py [JOB,JOB] [--turns N] [--scale SHARE] [--only CONTESTANT,CONTESTANT]

A ratio is the median over the turns of contestant / raw loop of the same turn, so a machine whose speed drifts does
not move it. `ratio` compares a fit's median block of steps; `ratio of means` all of its steps, and so also what
happens only now and then, such as logging.
"""

from __future__ import annotations

import argparse
import random
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import contestants
from jobs import device_name
from measure import Timing, measure
from tables import reason, table

if TYPE_CHECKING:
    from collections.abc import Sequence

BASELINE = "raw"
JOBS = ["tiny-pre", "tiny-dl", "tiny-pre-clip", "tiny-pre-accum-clip-bf16", "mid-dl"]
TURNS = 24
SCALE = 0.012


@dataclass
class Timings:
    """The times of a job's fits.

    Attributes:
        job: The job's name.
        fits: The times of each contestant, a fit a turn.
        failed: The contestants that failed, each with the reason.
    """

    job: str
    fits: dict[str, list[Timing]]
    failed: dict[str, str] = field(default_factory=dict)

    def ratios(self, name: str, figure: str = "us_step") -> list[float]:
        """Return a contestant's ratio to the raw loop in each turn, sorted."""
        pairs = zip(self.fits[name], self.fits[BASELINE], strict=True)
        return sorted(getattr(mine, figure) / getattr(raw, figure) for mine, raw in pairs)

    def table(self) -> str:
        """Return the times as a table."""
        header = ["contestant", "CPU µs/step", "overhead µs", "ratio", "quartiles", "ratio of means"]
        rows = [self._row(name) for name in self.fits]
        rows += [[contestants.load(name).LABEL, why, "", "", "", ""] for name, why in self.failed.items()]
        return table(header, rows)

    def _row(self, name: str) -> list[str]:
        found = self.ratios(name)
        pairs = zip(self.fits[name], self.fits[BASELINE], strict=True)
        overhead = statistics.median(mine.us_step - raw.us_step for mine, raw in pairs)
        return [
            contestants.load(name).LABEL,
            f"{statistics.median(timing.us_step for timing in self.fits[name]):.1f}",
            f"{overhead:+.1f}",
            f"{statistics.median(found):.3f}",
            f"{found[len(found) // 4]:.2f}-{found[3 * len(found) // 4]:.2f}",
            f"{statistics.median(self.ratios(name, 'us_mean')):.3f}",
        ]


def time_in_turns(names: Sequence[str], job: str, turns: int, scale: float) -> Timings:
    """Return the times of each contestant's fits of a job; one that fails is left out of the turns to come."""
    timings = Timings(job, {name: [] for name in names})
    for turn in range(turns + 1):
        for name in random.sample(list(timings.fits), len(timings.fits)):
            try:
                timing = measure(name, job, scale)
            except Exception as error:  # noqa: BLE001 - the others' times are of use
                timings.failed[name] = reason(error)
                del timings.fits[name]
                continue
            if turn:  # turn 0 is for imports and warming up
                timings.fits[name].append(timing)
    return timings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="?", default=",".join(JOBS))
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--scale", type=float, default=SCALE)
    parser.add_argument("--only", default="", help="contestants; raw is needed")
    options = parser.parse_args()
    names = contestants.names(options.only)
    for job in options.jobs.split(","):
        timings = time_in_turns(names, job, options.turns, options.scale)
        print(f"\n### {job} ({options.turns} turns, {device_name()})\n\n{timings.table()}", flush=True)


if __name__ == "__main__":
    main()
