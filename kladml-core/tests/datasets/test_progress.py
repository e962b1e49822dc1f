"""Work in several threads ends when one fails or the user interrupts it, also where a thread hangs."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from kladml.datasets import progress
from kladml.datasets.progress import in_threads


def test_results_are_in_the_order_of_the_items():
    told = []
    assert in_threads(lambda item, tell: (tell(item), item * 2)[1], range(50), told.append) == [*range(0, 100, 2)]
    assert sorted(told) == [*range(50)]
    assert in_threads(lambda item, tell: item, [], told.append) == []


def test_the_error_of_one_ends_the_others():
    begun = threading.Event()

    def work(item, tell):
        if item == 1:
            begun.wait(10)
            raise ValueError(item)
        begun.set()
        while True:
            tell(1)

    with pytest.raises(ValueError, match="1"):
        in_threads(work, [0, 1], lambda _: None)


def test_a_thread_that_hangs_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(progress, "_LONGEST_WAIT", 0.1)
    hangs, release = threading.Event(), threading.Event()

    def work(item, tell):
        if item == 0:
            hangs.set()
            release.wait(60)
        hangs.wait(10)
        raise ValueError(item)

    try:
        with pytest.raises(ValueError, match="1"):
            in_threads(work, [0, 1], lambda _: None)
    finally:
        release.set()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_an_interrupt_ends_a_process_whose_threads_hang():
    program = """\
import os, signal, time
from kladml.datasets.progress import in_threads
signal.signal(signal.SIGINT, signal.default_int_handler)
def work(item, tell):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(600)
try:
    in_threads(work, [0], lambda _: None)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "interrupted\n"
