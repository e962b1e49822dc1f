"""Loading workers that die, hang or fail: the error names them, and the program ends."""

from __future__ import annotations

import re

import pytest

DATA = ["dataset", "loader", "stream", "loader of a stream"]
TWO = {"num_workers": 2, "timeout": 1.0}


def in_a_worker(count=9, **how):
    """When a worker fetches its n-th sample: the first of the third batch of worker 0, in every form of data."""
    return {"at": "fetch", "count": count, **how}


@pytest.mark.parametrize("data", DATA)
def test_a_worker_that_dies_is_named(lab, data):
    (ended,) = lab.new(data=data, training=TWO).live(in_a_worker())

    assert ended.error == "DataError", ended.output
    killed = r"0 \(pid \d+, killed by SIGKILL\)( and 1 \(pid \d+, killed by SIGKILL\))?"
    assert re.fullmatch(f"loading worker {killed} of train_data died", ended.problem)
    assert ended.next_step == "look for too little memory, or set training.num_workers to 0"


@pytest.mark.parametrize("data", DATA)
def test_a_worker_that_dies_while_the_model_computes_is_named(lab, data):
    """Torch tells of it by a signal handler, wherever the program is; the system's memory killer chooses the time."""
    (ended,) = lab.new(data=data, training=TWO).live({"at": "forward", "count": 4, "do": "kill a worker"})

    assert ended.error == "DataError", ended.output
    assert re.fullmatch(r"loading worker [01] \(pid \d+, killed by SIGKILL\) of train_data died", ended.problem)


@pytest.mark.parametrize("data", DATA)
def test_a_worker_that_hangs_is_named_and_does_not_keep_the_program_from_ending(lab, data):
    (ended,) = lab.new(data=data, training=TWO).live(in_a_worker(do="hang"))

    assert ended.error == "DataError", ended.output
    assert re.fullmatch(r"loading worker 0 \(pid \d+\) of train_data gave no batch for 1 s", ended.problem)
    assert ended.next_step == "look at what the data set waits for, or raise training.timeout"


def test_the_worker_of_one_of_several_processes_is_named_by_that_process(lab):
    ended = lab.new(world=3, training=TWO).live(in_a_worker(rank=1))

    assert [process.error for process in ended] == ["PeerLostError", "DataError", "PeerLostError"]
    assert "killed by SIGKILL" in ended[1].problem


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_the_data_set_stays_what_it_is(lab, workers):
    (ended,) = lab.new(training={"num_workers": workers}).live(in_a_worker(do="raise"))

    assert ended.error == "ValueError"
    assert "ValueError: the model is wrong" in ended.output


def test_a_training_that_a_dying_worker_ended_goes_on_exactly(lab, harness):
    training = lab.new(training={"num_workers": 2})
    assert training.live(in_a_worker(17))[0].error == "DataError"

    assert harness.differences(lab.uninterrupted(), training.finish().end()) == []
