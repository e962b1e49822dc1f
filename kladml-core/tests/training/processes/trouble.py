"""What goes wrong in a training, and where: the points that it comes to, and what happens there."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time

import torch


class Trouble:
    """Something that happens when a process comes to a point for the n-th time.

    Args:
        at: The point: `fetch`, `forward`, `backward`, `validation`, `step`, `validated`, `epoch ended`, `saved`, or
            `best` for the moment before the pointer to the best checkpoint is replaced.
        count: How many times this process has to come there, from 1.
        send: A signal that is sent.
        to: `self`, or `group` for this process and all that it started.
        times: How many signals are sent, one after another.
        rank: The process to which it happens, or None for all of them.
        do: Instead of a signal: `raise`, `run out of memory`, `hang`, or `kill a worker`.
    """

    def __init__(self, at, count, send="SIGKILL", to="self", times=1, rank=None, do=None):
        self.at, self.count, self.rank, self.do = at, count, rank, do
        self.signal, self.to, self.times = getattr(signal, send), to, times

    def strike(self):
        if self.do == "raise":
            raise ValueError("the model is wrong")
        if self.do == "run out of memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore about it.")
        if self.do == "hang":
            time.sleep(600)
        if self.do == "kill a worker":
            _let_known(max(worker.pid for worker in multiprocessing.active_children()), os.kill, signal.SIGKILL)
            return
        for _ in range(self.times):
            if self.to == "group":
                _let_known(os.getpgrp(), os.killpg, self.signal)
            else:
                os.kill(os.getpid(), self.signal)


class Troubles:
    """The troubles of one process.

    Args:
        arguments: Those of each `Trouble`.
        rank: Number of the process.
    """

    def __init__(self, arguments, rank):
        self.waiting = [trouble for trouble in (Trouble(**each) for each in arguments) if trouble.rank in (None, rank)]
        self.counts = {}
        if any(trouble.at == "best" for trouble in self.waiting):
            sys.addaudithook(self._audit)

    def reach(self, point):
        """Say that the process has come to a point."""
        if not self.waiting:
            return
        self.counts[point] = self.counts.get(point, 0) + 1
        for trouble in self.waiting:
            if (trouble.at, trouble.count) == (point, self.counts[point]):
                trouble.strike()

    def _audit(self, event, arguments):
        if event == "os.rename" and str(arguments[1]).endswith("best.json"):
            self.reach("best")


def _let_known(target, send, number):
    """Send a signal from a process outside of the group, as a batch system does, and wait until its effect is known."""
    sender = os.fork()
    if sender == 0:
        os.setsid()
        send(target, number)
        os._exit(0)
    os.waitpid(sender, 0)
    time.sleep(0.2)
