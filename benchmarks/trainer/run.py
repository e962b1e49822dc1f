"""Whole fits, one process per contestant and round, in turn: wall times beside the CPU times.

    python run.py [--jobs JOB,JOB] [--rounds N] [--scale SHARE] [--only CONTESTANT,CONTESTANT] [--cpu CORE]

Ratios are medians of the rounds' ratios to the raw loop of the same round. On a busy machine paired.py is steadier.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import contestants
from jobs import device_name
from startup import last_line
from tables import table

BASELINE = "raw"


def run_rounds(names: list[str], options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Return what each contestant's processes measured, one a round."""
    program = str(Path(__file__).with_name("measure.py"))
    pinned = ["taskset", "-c", options.cpu] if options.cpu else []
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            command = [sys.executable, program, name, "--jobs", options.jobs, "--scale", str(options.scale)]
            line = last_line([*pinned, *command])
            if line is not None:
                measured[name].append(json.loads(line))
    return measured


def times_table(measured: dict[str, list[dict[str, Any]]], job: str, rounds: int) -> str:
    """Return the times of a job as a table; a contestant that failed in a round has no figures."""
    header = ["contestant", "CPU µs/step", "ratio", "p10 ratio", "wall ratio", "fit s"]
    return table(header, (_row(measured, name, job, rounds) for name in measured))


def _row(measured: dict[str, list[dict[str, Any]]], name: str, job: str, rounds: int) -> list[str]:
    label = contestants.load(name).LABEL
    if len(measured[name]) < rounds or len(measured[BASELINE]) < rounds:
        return [label, "failed", "", "", "", ""]

    def median(figure: str) -> float:
        return statistics.median(each[job][figure] for each in measured[name])

    def ratio(figure: str) -> str:
        pairs = zip(measured[name], measured[BASELINE], strict=True)
        found = [mine[job][figure] / raw[job][figure] for mine, raw in pairs]
        return f"{statistics.median(found):.2f}"

    ratios = [ratio(figure) for figure in ("us_step", "us_step_p10", "us_wall")]
    return [label, f"{median('us_step'):.1f}", *ratios, f"{median('fit_s'):.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", default="tiny-dl,tiny-pre,tiny-list")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--only", default="", help="contestants; raw is needed")
    parser.add_argument("--cpu", default="", help="the core to run on")
    options = parser.parse_args()
    measured = run_rounds(contestants.names(options.only), options)
    for job in options.jobs.split(","):
        title = f"{job} ({options.rounds} processes each, {device_name()})"
        print(f"\n### {title}\n\n{times_table(measured, job, options.rounds)}")


if __name__ == "__main__":
    main()
