"""The workloads: contestants in turn, several rounds, a process each.

    python run.py [--rounds N] [--only CONTESTANT,CONTESTANT] [--workloads WORKLOAD,WORKLOAD]
    python run.py --again

A figure is the median over the rounds; a ratio, of points per CPU second, is the median of the rounds' own ratios to
MLflow's client, so that a machine whose speed drifts does not move it. `--again` prints what was measured last.
"""

from __future__ import annotations

import argparse

import contestants
import goals
from rounds import Results, run_rounds
from workloads import WORKLOADS

ROUNDS = 5


def tables(results: Results) -> str:
    """Return a table per workload, then the goals, then who failed."""
    sections = [f"### {workload}\n\n{results.table(workload)}" for workload in WORKLOADS if workload in results.rounds]
    if summary := goals.summary(results):
        sections.append(f"### Goals\n\n{summary}")
    if results.failed:
        sections.append("\n".join(f"- no figures: {case}: {why}" for case, why in results.failed.items()))
    return "\n\n".join(sections)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default=",".join(contestants.names()))
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    if options.again:
        results = Results.load()
    else:
        results = run_rounds(options.only.split(","), options.workloads.split(","), options.rounds)
    print(tables(results))


if __name__ == "__main__":
    main()
