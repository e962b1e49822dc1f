"""Fingerprinting and adding files beside `b2sum` over the same files.

    python benchmarks/datasets.py [GIGABYTES] [FOLDER]

Files of 1 GB are made in FOLDER (the system's temporary folder by default), and read once so that all start from the
same caches. Each way is a process of its own: wall and CPU time (user and system, of all threads) and its peak memory.
A ratio above 1 means faster than `b2sum`. The figures assert nothing. `add` is what `kladml data add` does: copy, hash,
wait for the disk; `add --link` takes hard links; `add again` is a second time with one file changed. `cp` copies alone
and waits for nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
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


def make(folder: Path, gigabytes: int) -> list[Path]:
    """Write files that hold other bytes in each block, and read them once."""
    folder.mkdir()
    block = os.urandom(BLOCK)
    files = []
    for number in range(gigabytes):
        files.append(folder / f"part-{number:03}.bin")
        with files[-1].open("wb") as file:
            for count in range(GIGA // BLOCK):
                file.write(f"{number:08}{count:08}".encode())
                file.write(block[16:])
    os.sync()
    return files


def main() -> int:
    gigabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as place:
        folder = Path(place, "data")
        files = make(folder, gigabytes)
        names = [str(file) for file in files]
        python = [sys.executable, "-c"]
        measured(["cat", *names])
        b2sum = measured(["b2sum", "-l", "256", *names])
        rows = {"b2sum": b2sum, "fingerprint": measured([*python, HASH, str(folder)])}
        rows["cp"] = measured(["cp", "-r", str(folder), f"{place}/copy"])
        shutil.rmtree(f"{place}/copy")
        os.sync()
        rows["add"] = measured([*python, ADD, str(folder), f"{place}/store"])
        with files[0].open("r+b") as file:
            file.write(b"changed")
        rows["add again"] = measured([*python, ADD, str(folder), f"{place}/store"])
        shutil.rmtree(f"{place}/store")
        os.sync()
        rows["add --link"] = measured([*python, ADD, str(folder), f"{place}/store", "link"])
        nothing = measured([*python, "import kladml.datasets"])
    print(f"{gigabytes} GB in files of 1 GB, {os.cpu_count()} CPUs, Python alone peaks at {nothing.peak:.0f} MB")
    print(f"{'':<14}{'wall s':>8}{'CPU s':>8}{'GB/s':>7}{'wall':>7}{'CPU':>7}{'peak MB':>9}")
    for name, cost in rows.items():
        ratios = f"{b2sum.wall / cost.wall:>7.2f}{b2sum.cpu / cost.cpu:>7.2f}"
        print(f"{name:<14}{cost.wall:>8.2f}{cost.cpu:>8.2f}{gigabytes / cost.wall:>7.2f}{ratios}{cost.peak:>9.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
