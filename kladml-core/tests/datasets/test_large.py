"""The memory of adding data does not grow with the data. `nox -s reliability` runs it."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(
    os.environ.get("KLADML_RELIABILITY") != "1" or not sys.platform.startswith("linux"),
    reason="takes long: nox -s reliability runs it",
)

MEGABYTE = 1 << 20
MOST_GROWTH = 300
"""Megabytes: pyarrow reads some 30 blocks of 8 MB ahead, which a small file does not have."""
ADDING = """
import re, sys, threading, time
from pathlib import Path
from kladml.datasets import DatasetStore

def private():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1)) // 1024

def watch():
    while not over.wait(0.02):
        peaks.append(private())

peaks, over = [0], threading.Event()
thread = threading.Thread(target=watch)
thread.start()
DatasetStore(Path(sys.argv[1])).add("large", Path(sys.argv[2]))
over.set()
thread.join()
print(max(peaks))
"""


def write_csv(path, megabytes):
    block = "\n".join(
        ",".join(f"{value:.6f}" for value in row) for row in np.random.default_rng(0).random((20_000, 20))
    )
    with path.open("w") as file:
        file.write(",".join(["y", *(f"f{number}" for number in range(1, 20))]) + "\n")
        while file.tell() < megabytes * MEGABYTE:
            file.write(block + "\n")


def write_npy(path, megabytes):
    rows = megabytes * MEGABYTE // 80
    array = np.lib.format.open_memmap(path, "w+", np.float32, (rows, 20))
    for begin in range(0, rows, 1 << 16):
        array[begin : begin + (1 << 16)] = begin


@pytest.mark.parametrize(("kind", "write"), [("csv", write_csv), ("npy", write_npy)])
def test_adding_ten_times_as_much_takes_no_more_memory(tmp_path, kind, write):
    peaks = []
    for megabytes in (100, 1_000):
        path = tmp_path / f"{megabytes}.{kind}"
        write(path, megabytes)
        done = subprocess.run(
            [sys.executable, "-c", ADDING, str(tmp_path / str(megabytes)), str(path)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        peaks.append(int(done.stdout))
        path.unlink()
    assert peaks[1] - peaks[0] < MOST_GROWTH, peaks
