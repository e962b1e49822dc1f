"""Nothing is recorded: what the clock and the call cost that are in everybody's figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from contestants import Point

LABEL, ORDER = "no tracker (the clock alone)", 0
ENVIRONMENT = "kladml"
CALLS = {"one": 1_000_000, "ten": 100_000, "paced": 500}


class Tracker:
    def __init__(self, folder: Path) -> None:
        pass

    def log_metric(self, key: str, value: float, step: int) -> None:
        pass

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        pass

    def log_batch(self, points: list[Point]) -> None:
        pass

    def close(self) -> None:
        pass


def count(folder: Path) -> None:
    pass
