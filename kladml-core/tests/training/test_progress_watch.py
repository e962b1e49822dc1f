"""What is a stall, and who is to blame."""

from __future__ import annotations

import time

import pytest

from kladml.training.launching import progress_watch
from kladml.training.launching.heartbeat import Heartbeat, Phase
from kladml.training.launching.progress_watch import ProgressWatch
from kladml.training.launching.rank_folder import RankFolder

TIMEOUT = 0.2


@pytest.fixture
def watch(tmp_path):
    return ProgressWatch(RankFolder(tmp_path), TIMEOUT)


@pytest.fixture
def ranks(tmp_path):
    """Heartbeats of three processes."""
    return [Heartbeat.at(RankFolder(tmp_path).heartbeat(rank)) for rank in range(3)]


def let_it_stall(watch, ranks):
    watch.look(range(len(ranks)))
    time.sleep(TIMEOUT * 1.1)
    watch.look(range(len(ranks)))


def test_the_least_batch_and_in_it_the_earliest_phase_lags_behind(watch, ranks):
    for heartbeat, count, phase in zip(ranks, (9, 8, 9), (Phase.FETCHING, Phase.SAVING, Phase.COMPUTING), strict=True):
        heartbeat.beat(count, phase)
    let_it_stall(watch, ranks)
    assert watch.stalled().message == "rank 1 made no progress for 0.2 s while saving after batch 8"
    ranks[1].beat(9, Phase.EXCHANGING)
    let_it_stall(watch, ranks)
    assert watch.stalled().message == "rank 0 made no progress for 0.2 s while fetching batch 9"


def test_progress_of_one_is_progress_of_all(watch, ranks):
    for heartbeat in ranks:
        heartbeat.beat(1, Phase.FETCHING)
    let_it_stall(watch, ranks)
    ranks[2].beat(1, Phase.FETCHING)
    watch.look(range(3))
    assert watch.stalled() is None
    assert watch.silent([0, 1]).ranks == (0, 1)
    assert watch.silent([2]) is None


@pytest.mark.parametrize(("limit", "is_stalled"), [(0.0, True), (600.0, False)])
def test_while_one_still_starts_there_is_more_time(watch, ranks, monkeypatch, limit, is_stalled):
    monkeypatch.setattr(progress_watch, "START_LIMIT", limit)
    ranks[0].beat(1, Phase.EXCHANGING)
    let_it_stall(watch, ranks)
    assert (watch.stalled() is not None) is is_stalled
    assert watch.silent([1, 2]) is None, "nothing is known of those that have not begun"


def test_a_training_that_has_ended_somewhere_cannot_stall(watch, ranks):
    ranks[0].beat(1, Phase.FETCHING)
    ranks[1].beat(1, Phase.ENDED)
    let_it_stall(watch, ranks)
    assert watch.stalled() is None


def test_processes_that_are_gone_are_forgotten(watch, ranks):
    for count, heartbeat in enumerate(ranks):
        heartbeat.beat(count, Phase.FETCHING)
    let_it_stall(watch, ranks)
    watch.look([1, 2])
    assert watch.stalled().ranks == (1,)
    watch.look([])
    assert watch.stalled() is None
