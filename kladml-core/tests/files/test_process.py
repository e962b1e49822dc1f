"""Processes that are there, that have ended, and others that got their numbers."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kladml.files.process import birth_of, is_gone

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells when a process began")


def test_process_that_ended_is_gone_and_this_one_is_not():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    birth = birth_of(process.pid)
    assert not is_gone(process.pid, birth)
    assert not is_gone(process.pid)
    process.communicate(b"\n")
    assert is_gone(process.pid, birth)
    assert is_gone(process.pid)
    assert not is_gone(os.getpid(), birth_of(os.getpid()))


@linux
def test_process_that_nobody_waited_for_is_gone():
    process = subprocess.Popen([sys.executable, "-c", "print(1)"], stdout=subprocess.PIPE)
    birth = birth_of(process.pid)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_gone(process.pid, birth)
    process.communicate()


@linux
def test_number_that_another_process_has_now_is_not_the_one_that_was():
    boot, namespace, began = birth_of(os.getpid()).split(" ")
    assert is_gone(os.getpid(), f"{boot} {namespace} {int(began) - 1}")
    assert is_gone(os.getpid(), f"before-the-machine-was-started-again {namespace} {began}")


@linux
def test_process_of_another_container_cannot_be_told():
    boot, _, began = birth_of(os.getpid()).split(" ")
    assert not is_gone(2**22 + 1, f"{boot} pid:[1] {began}")
