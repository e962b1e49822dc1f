"""What contestants have to record, and how long each call takes its caller.

one     a metric a call
ten     ten metrics of a step a call
batch   1,000 points with times of their own a call
paced   a training: a step of 1 ms of Python, then its ten metrics in one call
"""

from __future__ import annotations

import time
from time import perf_counter_ns, thread_time_ns
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contestants import Tracker

KEYS = [f"train/metric_{index}" for index in range(10)]
BATCH = 1_000
STEP_NS = 1_000_000


class Workload(Protocol):
    """Made with the number of calls, which is when whatever takes time and is no tracker's cost is prepared.

    Attributes:
        points: How many points are recorded.
        own_cpu_s: CPU time in seconds of what `log` did besides calling the tracker.
    """

    points: int
    own_cpu_s: float

    def log(self, tracker: Tracker) -> list[int]:
        """Record everything; return what each call took in nanoseconds."""


class One:
    own_cpu_s = 0.0

    def __init__(self, calls: int) -> None:
        self.points = calls

    def log(self, tracker: Tracker) -> list[int]:
        took = [0] * self.points
        for step in range(self.points):
            value = step * 0.5
            begin = perf_counter_ns()
            tracker.log_metric("loss", value, step)
            took[step] = perf_counter_ns() - begin
        return took


class Ten:
    own_cpu_s = 0.0

    def __init__(self, calls: int) -> None:
        self.points = calls * len(KEYS)
        self._calls = calls

    def log(self, tracker: Tracker) -> list[int]:
        took = [0] * self._calls
        for step in range(self._calls):
            metrics = dict.fromkeys(KEYS, step * 0.5)
            begin = perf_counter_ns()
            tracker.log_metrics(metrics, step)
            took[step] = perf_counter_ns() - begin
        return took


class Batch:
    own_cpu_s = 0.0

    def __init__(self, calls: int) -> None:
        self.points = calls * BATCH
        now, each = int(time.time() * 1000), BATCH // len(KEYS)
        self._batches = [
            [(KEYS[n % 10], n * 0.5, now + number * BATCH + n, number * each + n // 10) for n in range(BATCH)]
            for number in range(calls)
        ]

    def log(self, tracker: Tracker) -> list[int]:
        took = []
        for batch in self._batches:
            begin = perf_counter_ns()
            tracker.log_batch(batch)
            took.append(perf_counter_ns() - begin)
        return took


class Paced:
    own_cpu_s = 0.0

    def __init__(self, calls: int) -> None:
        self.points = calls * len(KEYS)
        self._calls = calls

    def log(self, tracker: Tracker) -> list[int]:
        took, own_ns = [0] * self._calls, 0
        for step in range(self._calls):
            own_ns -= thread_time_ns()
            end = perf_counter_ns() + STEP_NS
            while perf_counter_ns() < end:
                pass
            metrics = dict.fromkeys(KEYS, step * 0.5)
            own_ns += thread_time_ns()
            begin = perf_counter_ns()
            tracker.log_metrics(metrics, step)
            took[step] = perf_counter_ns() - begin
        self.own_cpu_s = own_ns / 1e9
        return took


WORKLOADS: dict[str, type[One | Ten | Batch | Paced]] = {"one": One, "ten": Ten, "batch": Batch, "paced": Paced}
