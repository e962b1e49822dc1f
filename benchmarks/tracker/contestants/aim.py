"""Aim on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LABEL, ORDER = "aim 3.29.1", 9
ENVIRONMENT = "aim"
CALLS = {"one": 500, "ten": 100, "paced": 100}


class Tracker:
    def __init__(self, folder: Path) -> None:
        import aim

        self._run = aim.Run(repo=str(folder), system_tracking_interval=None, log_system_params=False)

    def log_metric(self, key: str, value: float, step: int) -> None:
        self._run.track(value, name=key, step=step)

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        for key, value in metrics.items():
            self._run.track(value, name=key, step=step)

    def close(self) -> None:
        self._run.close()


def count(folder: Path) -> int:
    import aim

    (run_id,) = aim.Repo(str(folder)).list_all_runs()
    # Opened for reading, a run that no server of Aim has indexed yet is empty.
    run = aim.Run(run_id, repo=str(folder), system_tracking_interval=None, log_system_params=False)
    return sum(len(metric.values.sparse_list()[0]) for metric in run.metrics())
