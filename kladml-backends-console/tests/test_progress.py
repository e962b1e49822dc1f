from __future__ import annotations

import pytest

from kladml_backends_console.progress import RunProgress

CHANNEL = "kladml:a/b/c@1"


@pytest.fixture
def progress():
    return RunProgress()


def start(progress, **fields):
    known = {"event": "run_started", "time": 100.0, "address": "a/b/c@1", "max_epochs": 4, "steps_per_epoch": 10}
    progress.take(CHANNEL, {**known, **fields})


def test_nothing_is_known_before_the_first_message(progress):
    assert (progress.fraction, progress.seconds_left, progress.is_last_epoch_over) == (None, None, False)


def test_steps_count_within_their_epoch(progress):
    start(progress)
    progress.take(CHANNEL, {"event": "step", "time": 110.0, "epoch": 1, "step": 10, "loss": 0.5})
    assert (progress.epoch, progress.epoch_step, progress.loss) == (1, 10, 0.5)
    progress.take(CHANNEL, {"event": "epoch_ended", "time": 112.0, "epoch": 1, "step": 10, "metrics": {"loss": 0.4}})
    assert (progress.epoch, progress.epoch_step, progress.loss, progress.epoch_seconds) == (2, 0, 0.4, 12.0)
    progress.take(CHANNEL, {"event": "step", "time": 115.0, "epoch": 2, "step": 13, "loss": 0.3})
    assert (progress.epoch, progress.epoch_step, progress.finished_epochs) == (2, 3, 1)


def test_time_left_follows_the_pace_so_far(progress):
    start(progress)
    assert progress.seconds_left is None
    progress.take(CHANNEL, {"event": "step", "time": 130.0, "epoch": 1, "step": 10, "loss": 0.5})
    assert progress.fraction == 0.25
    assert progress.seconds_left == 90.0


def test_data_without_length_is_measured_in_epochs(progress):
    start(progress, steps_per_epoch=None)
    progress.take(CHANNEL, {"event": "epoch_ended", "time": 110.0, "epoch": 1, "step": 7, "metrics": {}})
    assert progress.fraction == 0.25
    assert progress.seconds_left == 30.0


def test_last_epoch_has_no_next_one(progress):
    start(progress, max_epochs=1)
    progress.take(CHANNEL, {"event": "epoch_ended", "time": 110.0, "epoch": 1, "step": 10, "metrics": {}})
    assert progress.is_last_epoch_over
    assert (progress.epoch, progress.fraction) == (1, 1.0)


def test_listener_that_came_late_knows_the_run_from_the_channel(progress):
    progress.take(CHANNEL, {"event": "step", "time": 1.0, "epoch": 3, "step": 25, "loss": 0.5})
    assert (progress.address, progress.epoch, progress.fraction) == ("a/b/c@1", 3, None)


def test_unknown_event_tells_nothing_but_the_time(progress):
    start(progress)
    before = (progress.epoch, progress.step, progress.max_epochs)
    progress.take(CHANNEL, {"event": "gpu_on_fire", "time": 200.0})
    assert (progress.epoch, progress.step, progress.max_epochs) == before
    assert progress.now == 200.0
