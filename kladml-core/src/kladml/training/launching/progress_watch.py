"""Seeing from their heartbeats which processes of a training make no progress."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kladml.training.launching.heartbeat import Phase, Position, read_position

if TYPE_CHECKING:
    from collections.abc import Collection

    from kladml.training.launching.rank_folder import RankFolder

START_LIMIT = 1800.0
"""Seconds without progress while some processes have not begun to train: they import, build, compile."""
_NEARLY = 0.8
"""Share of the timeout after which a process is silent; those that wait for it may have given up a little earlier."""


@dataclass(frozen=True, slots=True)
class Laggards:
    """Processes that lag behind at the same place.

    Attributes:
        ranks: Their numbers.
        seconds: How long there was no progress.
        position: Where they are.
    """

    ranks: tuple[int, ...]
    seconds: float
    position: Position

    @property
    def message(self) -> str:
        """One line about them."""
        ranks = " and ".join(map(str, self.ranks))
        several = "s" if len(self.ranks) > 1 else ""
        return f"rank{several} {ranks} made no progress for {self.seconds:g} s while {self.position.doing}"


class ProgressWatch:
    """Remembers since when each process has been where it is.

    Args:
        folder: Where the heartbeats are.
        timeout: Seconds without progress of any process that are a stall.
    """

    def __init__(self, folder: RankFolder, timeout: float) -> None:
        self.folder = folder
        self.timeout = timeout
        self._seen: dict[int, tuple[Position, float]] = {}

    def look(self, ranks: Collection[int]) -> None:
        """Note where processes are, and forget all others."""
        now = time.monotonic()
        seen = {}
        for rank in ranks:
            position = read_position(self.folder, rank)
            before = self._seen.get(rank)
            seen[rank] = before if before is not None and before[0] == position else (position, now)
        self._seen = seen

    def stalled(self) -> Laggards | None:
        """Return the processes that lag behind, if none at all has made progress for the timeout."""
        limit = self._limit()
        if limit is None or time.monotonic() - max(at for _, at in self._seen.values()) < limit:
            return None
        return self._laggards(self._seen, limit)

    def silent(self, ranks: Collection[int]) -> Laggards | None:
        """Return those that lag behind among processes that have made no progress for about the timeout."""
        now = time.monotonic()
        silent = {
            rank: (position, at)
            for rank, (position, at) in self._seen.items()
            if rank in ranks and now - at >= _NEARLY * self.timeout and position.is_training
        }
        return self._laggards(silent, round(now - min(at for _, at in silent.values()))) if silent else None

    def _limit(self) -> float | None:
        """Return how many seconds may pass without progress; None where nothing is known of progress."""
        positions = [position for position, _ in self._seen.values()]
        if not any(position.beats for position in positions) or any(p.phase == Phase.ENDED for p in positions):
            return None
        return self.timeout if all(p.is_training for p in positions) else max(self.timeout, START_LIMIT)

    @staticmethod
    def _laggards(seen: dict[int, tuple[Position, float]], seconds: float) -> Laggards:
        least = min(position.place for position, _ in seen.values())
        lagging = {rank: position for rank, (position, _) in seen.items() if position.place == least}
        return Laggards(tuple(lagging), seconds, next(iter(lagging.values())))
