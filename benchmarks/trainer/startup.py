"""What it takes to start: imports, and the time to the first step. Each run is a process of its own, in turn.

    python startup.py [--rounds N]

Times are CPU seconds, user and system; the time to the first step runs from the call of a contestant's `train`, with
torch imported, to the first forward.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import contestants
from tables import table

ROUNDS = 3
JOB = "tiny-pre"
IMPORTS = {
    "nothing": "pass",
    "torch": "import torch",
    "accelerate": "import accelerate",
    "Accelerator": "from accelerate import Accelerator; Accelerator(cpu=True)",
    "lightning": "import lightning",
    "transformers.Trainer": "from transformers import Trainer",
    "kladml": "import kladml",
    "kladml, UniversalTrainer": "from kladml.training import UniversalTrainer; UniversalTrainer()",
}
REPORT = """
import json, resource, sys
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([usage.ru_utime + usage.ru_stime, len(sys.modules), "torch" in sys.modules]))
"""


@dataclass
class Start:
    """What starting took, a value a round.

    Attributes:
        cpu_s: CPU time in seconds.
        modules: Modules loaded.
        loads_torch: Whether torch was among them.
    """

    cpu_s: list[float] = field(default_factory=list)
    modules: int = 0
    loads_torch: bool = False


def last_line(command: list[str]) -> str | None:
    """Return the last line that a program prints, or None when it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.stdout.strip().splitlines()[-1] if done.returncode == 0 else None


def imports_table(rounds: int) -> str:
    """Return what importing takes as a table; what cannot be imported here is left out."""
    starts = {name: Start() for name in IMPORTS}
    for _ in range(rounds):
        for name, code in IMPORTS.items():
            line = last_line([sys.executable, "-c", code + REPORT])
            if line is not None:
                cpu_s, starts[name].modules, starts[name].loads_torch = json.loads(line)
                starts[name].cpu_s.append(cpu_s)
    header = ["import", "CPU s, median", "CPU s, least", "modules", "torch"]
    return table(header, (_import_row(name, start) for name, start in starts.items() if start.cpu_s))


def _import_row(name: str, start: Start) -> list[object]:
    torch = "loaded" if start.loads_torch else "not loaded"
    median, least = statistics.median(start.cpu_s), min(start.cpu_s)
    return [name, f"{median:.2f}", f"{least:.2f}", start.modules, torch]


def first_step_table(rounds: int, names: list[str]) -> str:
    """Return the times to the first step as a table."""
    starts = {name: Start() for name in names}
    program = str(Path(__file__).with_name("measure.py"))
    for _ in range(rounds):
        for name in names:
            line = last_line([sys.executable, program, name, "--jobs", JOB, "--scale", "0.01"])
            if line is not None:
                starts[name].cpu_s.append(json.loads(line)[JOB]["first_step_cpu_s"])
    base = starts["accelerate_loop"].cpu_s if "accelerate_loop" in starts else []
    header = ["contestant", "CPU s to the first step, median", "least", "ratio to Accelerate's"]
    return table(header, (_first_row(name, start, base) for name, start in starts.items() if start.cpu_s))


def _first_row(name: str, start: Start, base: list[float]) -> list[str]:
    median = statistics.median(start.cpu_s)
    ratio = f"{median / statistics.median(base):.2f}" if base else ""
    return [contestants.load(name).LABEL, f"{median:.2f}", f"{min(start.cpu_s):.2f}", ratio]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    print(imports_table(options.rounds), end="\n\n")
    print(first_step_table(options.rounds, contestants.names()))


if __name__ == "__main__":
    main()
