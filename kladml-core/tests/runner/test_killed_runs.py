"""Runs of real processes that are killed or stopped, and go on in others."""

from __future__ import annotations

import re
import signal

import pytest

AT = 11  # a batch in the third of four epochs, of five batches each


def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(start, uninterrupted):
    killed = start(alone=True, at=AT, how="SIGKILL")
    assert killed.report() is None
    assert killed.process.returncode == -signal.SIGKILL
    result = start(alone=True, resume="latest").report()
    assert result["weights"] == uninterrupted
    again = start(alone=True, resume=result["address"]).report()
    assert again["error"] == "TrainingError"
    assert f"run {result['address']} is FINISHED" in again["message"]


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "SIGUSR1"])
def test_a_stopped_run_says_how_it_goes_on(start, uninterrupted, how):
    stopped = start(alone=True, at=AT, how=how).report()
    assert (stopped["error"], stopped["exit_code"]) == ("TrainingStopped", 128 + getattr(signal, how))
    address = re.search(r"go on with 'kladml train --resume (\S+)'$", stopped["message"])[1]
    result = start(alone=True, resume=address).report()
    assert result.get("weights") == uninterrupted, result


def test_two_processes_do_not_train_one_run(start, uninterrupted):
    first = start(alone=True, at=AT, how="stay")
    assert first.line() == "waiting"
    refused = start(alone=True, resume="latest").report()
    assert refused["error"] == "TrainingError"
    assert f"is being trained by process {first.process.pid} on " in refused["message"]
    first.kill()
    second = start(alone=True, resume="latest", at=3, how="stay")
    assert second.line() == "waiting"
    refused = start(alone=True, resume="latest").report()
    assert f"is being trained by process {second.process.pid} on " in refused["message"]
    second.kill()
    assert start(alone=True, resume="latest").report()["weights"] == uninterrupted
