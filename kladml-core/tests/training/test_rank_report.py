"""Reports of processes, and which of them tells the cause."""

from __future__ import annotations

import random

import pytest

from kladml.training.launching.rank_folder import RankFolder
from kladml.training.launching.rank_report import EndKind, RankReport, cause_of, read_report


def report(rank, kind, time, **more):
    return RankReport(rank, EndKind(kind), **{"error": "", "exit_code": 1, "text": "", **more}, time=time)


def test_a_report_is_read_as_it_was_written(tmp_path):
    folder = RankFolder(tmp_path)
    assert read_report(folder, 2) is None
    written = report(2, "failed", 12.5, error="ValueError", exit_code=7, text="Traceback …\nError: ä\n")
    written.write(folder)
    assert read_report(folder, 2) == written
    assert [path.name for path in tmp_path.iterdir()] == ["rank-2.json"]


@pytest.mark.parametrize(
    ("reports", "rank"),
    [
        ([], None),
        ([report(0, "peer lost", 1.0), report(1, "failed", 1.1)], 1),
        ([report(0, "failed", 2.0), report(1, "failed", 1.0), report(2, "peer lost", 0.5)], 1),
        ([report(0, "peer lost", 1.0), report(1, "died", 1.5), report(2, "failed", 1.7)], 1),
        ([report(0, "peer lost", 1.0), report(1, "stalled", 1.5)], 1),
        ([report(0, "peer lost", 2.0), report(1, "peer lost", 1.0)], 1),
        ([report(0, "stopped", 3.0), report(1, "stopped", 2.0), report(2, "stopped", 1.0)], 0),
        ([report(1, "stopped", 1.0), report(0, "failed", 2.0)], 1),
        ([report(1, "stopped", 2.0), report(0, "failed", 1.0)], 0),
    ],
)
def test_the_cause_is_who_ended_first_for_a_reason_of_its_own(reports, rank):
    random.shuffle(reports)
    cause = cause_of(reports)
    assert (None if cause is None else cause.rank) == rank
