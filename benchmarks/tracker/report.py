"""Print every table of the tracker's benchmark as markdown, with the machine, the versions and the date.

python report.py [--rounds N] [--points N] [--runs N] [--only CONTESTANT,CONTESTANT] [--parts PART,PART]
"""

from __future__ import annotations

import argparse

import contestants
import listing
import memory
import run
from rounds import run_rounds
from tables import machine
from workloads import WORKLOADS

PARTS = ["workloads", "memory", "listing"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=run.ROUNDS)
    parser.add_argument("--points", type=int, default=memory.POINTS)
    parser.add_argument("--runs", type=int, default=listing.RUNS)
    parser.add_argument("--only", default=",".join(contestants.names()))
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    options = parser.parse_args()
    parts = options.parts.split(",")
    print(f"# Tracker benchmark\n\n{machine()}", flush=True)
    if "workloads" in parts:
        results = run_rounds(options.only.split(","), list(WORKLOADS), options.rounds)
        print(f"\n## Workloads ({options.rounds} rounds)\n\n{run.tables(results)}", flush=True)
    if "memory" in parts:
        print(f"\n## Memory of one run of {options.points:,} points\n\n{memory.measure(options.points)}", flush=True)
    if "listing" in parts:
        title = f"Reading {options.runs:,} runs ({listing.ROUNDS} rounds)"
        print(f"\n## {title}\n\n{listing.measure(options.runs, listing.ROUNDS)}", flush=True)


if __name__ == "__main__":
    main()
