"""What trackers tell about runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

RUN_STATUSES = ("RUNNING", "FINISHED", "FAILED", "KILLED")
"""The states of a run; the words are MLflow's."""


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run as a tracker remembers it.

    Attributes:
        run_id: The tracker's identifier.
        experiment_name: The experiment that the run belongs to.
        status: One of `RUN_STATUSES`.
        params: Parameters as text.
        metrics: Last value of each metric.
        tags: Tags as text.
        is_deleted: Whether it is deleted there, and only kept for a while.
    """

    run_id: str
    experiment_name: str
    status: str
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class UndeliveredRun:
    """A run of which something is still on this machine and not where it belongs.

    Attributes:
        run_id: The tracker's identifier.
        experiment_name: The experiment that the run belongs to.
        run_name: Its name for people.
        events: How many records are not delivered.
        destination: Where they belong, such as the address of a server.
        reason: Why they are not there, as far as this process knows.
        since: Since when, as far as this process knows.
    """

    run_id: str
    experiment_name: str
    run_name: str
    events: int
    destination: str
    reason: str | None = None
    since: datetime | None = None

    def __str__(self) -> str:
        """Return a sentence for the end of a run."""
        why = f", {self.reason}" if self.reason else ""
        when = f" (since {self.since.astimezone():%H:%M})" if self.reason and self.since is not None else ""
        return f"{self.events} events spooled{why}{when}; kladml sync delivers them"
