"""Trainings that are killed at every micro-batch and resumed: how many end, to the last bit, as if nothing had been.

    python benchmarks/reliability.py [--every N] [--folder FOLDER]

Each case is a training of 3 epochs of 11 batches, killed with SIGKILL in one batch of its processes (or stopped with
SIGTERM, inside accumulation windows too) and resumed in new processes. Its end (weights, optimizer, random states of
every process, history, decisions) is compared with that of an uninterrupted one. `--every N` takes every N-th batch.
The exit status is 1 if any case differs. Linux and macOS only.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "kladml-core" / "tests" / "training"
sys.path.insert(0, str(TESTS / "processes"))

from harness import Lab, differences  # noqa: E402 - it lies with the tests

MATRIX = [(world, workers, steps) for world in (1, 2, 3) for workers in (0, 2) for steps in (1, 3)]


def cases(every: int) -> list[tuple[str, dict[str, Any], list[dict[str, Any]]]]:
    """Return each case: its row, its job, and what interrupts it one after another."""
    found = []
    for world, workers, steps in MATRIX:
        training = {"num_workers": workers, "gradient_accumulation_steps": steps}
        for batch in range(1, 3 * math.ceil(11 / world) + 1, every):
            for send in ("SIGKILL", "SIGTERM"):
                row = f"{world} | {workers} | {steps} | {send}"
                found.append((row, {"world": world, "training": training}, [_sent(send, batch)]))
    found += [("1 | 0 | 2 | ten SIGKILLs", {}, [_sent("SIGKILL", 3 + turn % 3) for turn in range(10)])]
    return found


def _sent(send: str, batch: int) -> dict[str, Any]:
    return {"at": "forward", "count": batch, "send": send}


def ends_exactly(lab: Lab, job: dict[str, Any], troubles: list[dict[str, Any]]) -> bool:
    training = lab.new(**job)
    code = 1
    for trouble in troubles:
        code = training.live(trouble)[0].code
    if code:  # a signal in the last batch finds the training at its end
        training.finish()
    exact = not differences(lab.uninterrupted(**job), training.end())
    shutil.rmtree(training.folder)
    return exact


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", str(TESTS / "rank_server.py")]
    rows: dict[str, list[bool]] = {}
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
        subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment) as server,
    ):
        lab = Lab(folder, server)
        for row, job, troubles in cases(options.every):
            rows.setdefault(row, []).append(ends_exactly(lab, job, troubles))
        server.stdin.close()
    print("| processes | workers | accumulation | interrupted by | exact |")
    print("| --- | --- | --- | --- | --- |")
    for row, found in rows.items():
        print(f"| {row} | {sum(found)} of {len(found)} |")
    total = [exact for found in rows.values() for exact in found]
    print(f"\n{sum(total)} of {len(total)} end exactly")
    return 0 if all(total) else 1


if __name__ == "__main__":
    sys.exit(main())
