"""The folder in which the processes of one training and their supervisor find one another's files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

REPORTS_VARIABLE = "KLADML_RANK_REPORTS"
"""Environment variable that names the folder to the processes; without it a process has no supervisor."""


@dataclass(frozen=True, slots=True)
class RankFolder:
    """A folder on a local disk, made by the supervisor of this machine's processes.

    Attributes:
        path: The folder.
    """

    path: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> RankFolder | None:
        """Return the folder that the supervisor named to this process, or None without a supervisor."""
        path = environment.get(REPORTS_VARIABLE)
        return cls(Path(path)) if path else None

    @property
    def lock(self) -> Path:
        """What the supervisor holds locked for as long as it lives."""
        return self.path / "supervisor.lock"

    @property
    def trouble(self) -> Path:
        """What is there once a process failed, so that the others have to end."""
        return self.path / "trouble"

    @property
    def run(self) -> Path:
        """Which run the processes belong to, as the main one notes it."""
        return self.path / "run.json"

    @property
    def launcher_log(self) -> Path:
        """What torch's launcher logs."""
        return self.path / "launcher.log"

    def report(self, rank: int) -> Path:
        """How a process ended, in its own words."""
        return self.path / f"rank-{rank}.json"

    def output(self, rank: int) -> Path:
        """Standard output of a process that does not write to the supervisor's."""
        return self.path / f"rank-{rank}.out"

    def errors(self, rank: int) -> Path:
        """Standard error of a process that does not write to the supervisor's."""
        return self.path / f"rank-{rank}.err"

    def heartbeat(self, rank: int) -> Path:
        """What a process has done so far, as numbers in shared memory."""
        return self.path / f"heartbeat-{rank}"

    def stack(self, rank: int) -> Path:
        """Where a process was when it was asked."""
        return self.path / f"stack-{rank}"


def own_rank(environment: Mapping[str, str] = os.environ) -> int:
    """Return this process's number among those of its training, as the launcher gave it; 0 without a launcher."""
    return int(environment.get("RANK", "0"))
