"""Where a contestant's step spends its time and its calls: cProfile with the CPU clock, per step.

python profile_step.py CONTESTANT [JOB] [--rows N]
"""

from __future__ import annotations

import argparse
import pstats

from counts import PROFILED, profile_between
from tables import table

ROWS = 45


def profile_table(name: str, job: str, rows: int) -> str:
    """Return the functions of a step as a table, those with the most time inside first."""
    profile, steps = profile_between(name, job, begin=PROFILED // 5, end=PROFILED - 4)
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    found = sorted(stats.items(), key=lambda item: item[1][3], reverse=True)
    return table(["function", "cumulated µs", "own µs", "calls"], (_row(*each, steps) for each in found[:rows]))


def _row(function: tuple[str, int, str], figures: tuple[int, int, float, float, object], steps: int) -> list[str]:
    file, line, name = function
    _, count, own, cumulated, _ = figures
    where = file.split("site-packages/")[-1].split("/src/")[-1]
    return [
        f"{where}:{line} {name}".replace("|", "/"),
        f"{cumulated / steps * 1e6:.1f}",
        f"{own / steps * 1e6:.1f}",
        f"{count / steps:.2f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contestant")
    parser.add_argument("job", nargs="?", default="tiny-pre")
    parser.add_argument("--rows", type=int, default=ROWS)
    options = parser.parse_args()
    print(profile_table(options.contestant, options.job, options.rows))


if __name__ == "__main__":
    main()
