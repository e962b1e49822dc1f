"""Fingerprinting and adding files beside `b2sum` and `cp` over the same files.

    python benchmarks/datasets.py [--gigabytes 5] [--files 5] [--rounds 5] [--folder FOLDER]

Each way is a process of its own: wall and CPU time (user and system, of all its threads) and its peak memory. All ways
take turns in each round, from the same caches and with an idle disk; medians are printed. A ratio above 1 means faster
than `b2sum`. Nothing is asserted. `add` is what `kladml data add` does: copy, hash, wait for the disk; `add again`
is a second time with one file changed; `add --link` takes hard links; `add half` adds half as many bytes, which shows
that the memory does not grow. `cp` copies alone and waits for nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

GIGA = 1_000_000_000
BLOCK = 1 << 20

HASH = """
import sys
from pathlib import Path
from kladml.datasets.hashing import hash_file
for path in sorted(Path(sys.argv[1]).iterdir()):
    hash_file(path)
"""

ADD = """
import sys
from pathlib import Path
from kladml.datasets import DatasetStore
DatasetStore(Path(sys.argv[2])).add("big", Path(sys.argv[1]), link="link" in sys.argv)
"""


class Cost(NamedTuple):
    """What a process took."""

    wall: float
    cpu: float
    peak: float


def measured(command: list[str]) -> Cost:
    """Run a command; return its wall and CPU time in seconds and its peak memory in MB."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        message = f"{' '.join(command)} failed with the exit status {process.returncode}"
        raise SystemExit(message)
    return Cost(time.perf_counter() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


def make(folder: Path, count: int, size: int) -> None:
    """Write files that hold other bytes in each block."""
    folder.mkdir()
    block = os.urandom(BLOCK)
    for number in range(count):
        with (folder / f"part-{number:03}.bin").open("wb") as file:
            for position in range(size // count // BLOCK):
                file.write(f"{number:08}{position:08}".encode())
                file.write(block[16:])
            file.write(block[: size // count % BLOCK])
    os.sync()


class Place(NamedTuple):
    """Where a round works: the data, half of it, and a folder for copies and stores."""

    data: Path
    half: Path
    scratch: Path

    def clear(self) -> None:
        """Remove what was written, and wait until the disk has nothing left to do."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()
        os.sync()


def one_round(place: Place) -> dict[str, Cost]:
    """Run each way once."""
    python = [sys.executable, "-c"]
    names = [str(file) for file in sorted(place.data.iterdir())]
    store = str(place.scratch / "store")
    rows = {}
    for name, command in {
        "b2sum": ["b2sum", "-l", "256", *names],
        "fingerprint": [*python, HASH, str(place.data)],
        "cp": ["cp", "-r", str(place.data), str(place.scratch / "copy")],
        "add": [*python, ADD, str(place.data), store],
        "add again": [*python, ADD, str(place.data), store],
        "add --link": [*python, ADD, str(place.data), store, "link"],
        "add half": [*python, ADD, str(place.half), store],
    }.items():
        if name == "add again":
            with Path(names[0]).open("r+b") as file:
                file.write(os.urandom(16))
        else:
            place.clear()
        measured(["cat", *names])  # all start from the same caches
        rows[name] = measured(command)
        if name == "add --link":
            for file in names:
                Path(file).chmod(0o644)
    return rows


def report(rounds: list[dict[str, Cost]], gigabytes: float) -> None:
    """Print medians; ratios are the median of each round's own."""
    print(f"{'':<14}{'wall s':>8}{'CPU s':>8}{'GB/s':>7}{'wall':>7}{'CPU':>7}{'peak MB':>9}")
    for name in rounds[0]:
        costs = [row[name] for row in rounds]
        wall, cpu, peak = (median(values) for values in zip(*costs, strict=True))
        if name == "add half":
            print(f"{name:<14}{wall:>8.2f}{cpu:>8.2f}{'':>21}{peak:>9.0f}")
            continue
        walls = median(row["b2sum"].wall / row[name].wall for row in rounds)
        cpus = median(row["b2sum"].cpu / row[name].cpu for row in rounds)
        print(f"{name:<14}{wall:>8.2f}{cpu:>8.2f}{gigabytes / wall:>7.2f}{walls:>7.2f}{cpus:>7.2f}{peak:>9.0f}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Adding files beside b2sum and cp over the same files.")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="bytes of all files together (default 1)")
    parser.add_argument("--files", type=int, default=4, help="how many files (default 4)")
    parser.add_argument("--rounds", type=int, default=5, help="how often all is measured (default 5)")
    parser.add_argument("--folder", help="where the files are made; the system's temporary folder by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        place = Place(*(Path(folder, name) for name in ("data", "half", "scratch")))
        make(place.data, options.files, round(options.gigabytes * GIGA))
        make(place.half, options.files, round(options.gigabytes * GIGA / 2))
        rounds = []
        for number in range(options.rounds):
            rounds.append(one_round(place))
            print(f"round {number + 1} of {options.rounds} done, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    print(f"{options.gigabytes:g} GB in {options.files} files, {options.rounds} rounds, {os.cpu_count()} CPUs")
    report(rounds, options.gigabytes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
