"""What each process of a training tells of its end, and which of them tells the cause."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kladml.training.launching.rank_folder import RankFolder


class EndKind(StrEnum):
    """Why a process ended early."""

    FAILED = "failed"
    """It raised an error."""
    PEER_LOST = "peer lost"
    """Another process ended, which this one cannot do without."""
    STOPPED = "stopped"
    """It was asked to, by a signal or a hook."""
    DIED = "died"
    """It is gone without a word."""
    STALLED = "stalled"
    """It made no progress and was ended by the supervisor."""


@dataclass(frozen=True, slots=True)
class RankReport:
    """How a process of a training ended before its time.

    Attributes:
        rank: Number of the process.
        kind: Why.
        error: Class of the error; empty where there is none.
        exit_code: The process's exit status, as a shell counts it.
        text: What a person is told, with the user's traceback where there is one; ends without a newline.
        time: When, in seconds since 1970.
    """

    rank: int
    kind: EndKind
    error: str
    exit_code: int
    text: str
    time: float

    def write(self, folder: RankFolder) -> None:
        """Write the report to where the supervisor reads it, whole or not at all."""
        path = folder.report(self.rank)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp")
        unfinished.write_text(json.dumps(asdict(self)), encoding="utf-8")
        unfinished.replace(path)


def read_report(folder: RankFolder, rank: int) -> RankReport | None:
    """Return a process's report, or None while it has not written any."""
    try:
        content = json.loads(folder.report(rank).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return RankReport(**{**content, "kind": EndKind(content["kind"])})


def cause_of(reports: Iterable[RankReport]) -> RankReport | None:
    """Return the report of the process that ended first for a reason of its own.

    One that lost another is the cause only where all did: what they lost is then on another machine. Of
    processes that stopped together, the first by number speaks for all.
    """
    ordered = sorted(reports, key=lambda report: (report.kind == EndKind.PEER_LOST, report.time))
    if not ordered:
        return None
    if ordered[0].kind == EndKind.STOPPED:
        return min((report for report in ordered if report.kind == EndKind.STOPPED), key=lambda report: report.rank)
    return ordered[0]
