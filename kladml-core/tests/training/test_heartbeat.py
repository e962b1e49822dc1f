"""Heartbeats, and whom they show to lag behind."""

from __future__ import annotations

import pytest

from kladml.training.launching.heartbeat import Heartbeat, Phase, Position, open_heartbeat, read_position
from kladml.training.launching.rank_folder import REPORTS_VARIABLE, RankFolder


@pytest.fixture
def folder(tmp_path):
    return RankFolder(tmp_path)


def test_a_position_is_what_was_noted_last(folder):
    heartbeat = Heartbeat.at(folder.heartbeat(3))
    assert read_position(folder, 3) == Position()
    heartbeat.beat(36, Phase.EXCHANGING)
    heartbeat.beat(37, Phase.FETCHING)
    position = read_position(folder, 3)
    assert position == Position(37, Phase.FETCHING, beats=2)
    assert position.doing == "fetching batch 37"


def test_each_beat_is_progress_also_in_the_same_phase_of_the_same_batch(folder):
    heartbeat = Heartbeat.at(folder.heartbeat(0))
    heartbeat.beat(1, Phase.VALIDATING)
    before = read_position(folder, 0)
    heartbeat.beat(1, Phase.VALIDATING)
    assert read_position(folder, 0) != before


@pytest.mark.parametrize("content", [None, b"", b"12345678"])
def test_a_process_that_has_noted_nothing_yet_is_starting(folder, content):
    if content is not None:
        folder.heartbeat(0).write_bytes(content)
    assert read_position(folder, 0) == Position(0, Phase.STARTING, beats=0)


def test_the_one_that_lags_behind_has_the_least_position():
    saving, fetching, waiting = (
        Position(8, Phase.SAVING, beats=100),
        Position(9, Phase.FETCHING, beats=40),
        Position(9, Phase.EXCHANGING, beats=41),
    )
    assert sorted([waiting, fetching, saving]) == [saving, fetching, waiting]


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_can_be_said(phase):
    assert phase.doing(12).endswith(("batch 12", "preparing the training"))


def test_without_a_supervisor_nobody_sees_it(folder, monkeypatch):
    monkeypatch.delenv(REPORTS_VARIABLE, raising=False)
    monkeypatch.setenv("RANK", "0")
    open_heartbeat().beat(1, Phase.FETCHING)
    assert list(folder.path.iterdir()) == []
