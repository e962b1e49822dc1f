"""Rounds of measurements: every contestant in every workload, each in a process and a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path

import contestants
import environments
from measure import Measured
from tables import table

BASELINE = "mlflow_sqlite"
TIMEOUT_SECONDS = 240
SAVED = environments.HOME / "results.json"
HEADER = [
    "contestant",
    "points per CPU s",
    "ratio",
    "points per s",
    "call p50 µs",
    "p99 µs",
    "max µs",
    "read back",
]


class FailedError(Exception):
    """A contestant did not get through a workload."""


@dataclass
class Results:
    """What was measured.

    Attributes:
        rounds: For each workload and contestant what was measured, by round.
        failed: Why a contestant did not get through a workload, by `<contestant>, <workload>`, or lacks all.
    """

    rounds: dict[str, dict[str, dict[int, Measured]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(dict))
    )
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, number: int, measured: Measured) -> None:
        self.rounds[measured.workload][measured.contestant][number] = measured

    def figures(self, workload: str, name: str, figure: str) -> list[float]:
        """Return a figure of each round; nothing if there is none."""
        return [getattr(each, figure) for each in self.rounds[workload].get(name, {}).values()]

    def cpu_ratios(self, workload: str, name: str, other: str) -> list[float]:
        """Return how many times as many points per CPU second as another's, for each round that both have."""
        mine, others = (self.rounds[workload].get(each, {}) for each in (name, other))
        return [mine[number].per_cpu_s / others[number].per_cpu_s for number in mine.keys() & others.keys()]

    def table(self, workload: str) -> str:
        """Return a workload's figures, the cheapest tracker first."""
        rates = {name: self._median(workload, name, "per_cpu_s") for name in self.rounds[workload]}
        names = sorted(rates, key=lambda name: rates[name], reverse=True)
        return table(HEADER, (self._row(workload, name) for name in names))

    def save(self) -> None:
        """Keep everything for `load`."""
        lines = [
            {"round": number, **asdict(measured)}
            for by_name in self.rounds.values()
            for by_round in by_name.values()
            for number, measured in by_round.items()
        ]
        SAVED.write_text(json.dumps({"measured": lines, "failed": self.failed}, indent=1), encoding="utf-8")

    @classmethod
    def load(cls) -> Results:
        """Return what was saved last."""
        saved = json.loads(SAVED.read_text(encoding="utf-8"))
        results = cls(failed=saved["failed"])
        for line in saved["measured"]:
            results.add(line.pop("round"), Measured(**line))
        return results

    def _median(self, workload: str, name: str, figure: str) -> float:
        return statistics.median(self.figures(workload, name, figure))

    def _row(self, workload: str, name: str) -> list[str]:
        measured = list(self.rounds[workload][name].values())
        times = [
            f"{self._median(workload, name, 'p50_us'):,.2f}",
            f"{self._median(workload, name, 'p99_us'):,.2f}",
            f"{self._median(workload, name, 'max_us'):,.0f}",
        ]
        label = contestants.load(name).LABEL
        if measured[0].read_back is None:
            return [label, "", "", "", *times, ""]
        ratios = self.cpu_ratios(workload, name, BASELINE)
        return [
            label,
            f"{self._median(workload, name, 'per_cpu_s'):,.0f}",
            f"{statistics.median(ratios):,.1f}" if ratios else "",
            f"{self._median(workload, name, 'per_s'):,.0f}",
            *times,
            f"{min(each.read_back or 0 for each in measured):,} of {measured[0].points:,}",
        ]


def run_rounds(names: list[str], workloads: list[str], rounds: int) -> Results:
    """Measure the contestants in turn, another one first in each round; what fails is left out from then on."""
    reasons = environments.install({contestants.load(name).ENVIRONMENT for name in names})
    lacking = {name: reason for name in names if (reason := reasons.get(contestants.load(name).ENVIRONMENT))}
    results = Results(failed=lacking)
    names = [name for name in names if name not in lacking]
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            for workload in workloads:
                case = f"{name}, {workload}"
                if workload not in contestants.load(name).CALLS or case in results.failed:
                    continue
                try:
                    results.add(number, run_measure(name, workload))
                except FailedError as error:
                    results.failed[case] = str(error)
        results.save()
        print(f"round {number + 1} of {rounds} is done", file=sys.stderr, flush=True)
    return results


def run_measure(name: str, workload: str) -> Measured:
    """Measure a contestant in a new process.

    Raises:
        FailedError: It did not get through.
    """
    environment = contestants.load(name).ENVIRONMENT
    program = Path(__file__).with_name("measure.py")
    data = environments.HOME / "data"
    data.mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(dir=data)
    command = [str(environments.python(environment)), str(program), name, workload, folder]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environments.variables(environment),
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired as error:
        problem = f"more than {TIMEOUT_SECONDS} s"
        raise FailedError(problem) from error
    finally:
        _end_group(process)
        shutil.rmtree(folder, ignore_errors=True)
    if process.returncode:
        problem = (errors.strip().splitlines() or ["no reason given"])[-1]
        raise FailedError(problem)
    return Measured(**json.loads(output))


def _end_group(process: subprocess.Popen[str]) -> None:
    """End what the process left behind, and itself if it still runs."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
