"""Signals to a training, to one of its processes, and to all of them with the workers that load its data."""

from __future__ import annotations

import json
import signal
import threading

import pytest

from kladml.training.interruption import SIGNALS, Interruption, name_of

NAMES = ["SIGTERM", "SIGINT", "SIGUSR1"]
WINDOWS = {"gradient_accumulation_steps": 3}


def sent(name, batch=5, **how):
    """A signal in the n-th batch of a process."""
    return {"at": "forward", "count": batch, "send": name, **how}


def code_of(name):
    return 128 + getattr(signal, name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("world", [1, 2, 3])
def test_a_signal_to_one_process_stops_all_of_them_after_the_same_batch(lab, harness, name, world):
    training = lab.new(world=world, training=WINDOWS)
    nobody_goes_on = sent("SIGKILL", 3)

    ended = training.live(sent(name, 2, rank=world - 1), nobody_goes_on)

    assert [process.error for process in ended] == ["TrainingStopped"] * world, ended[0].output
    assert [process.code for process in ended] == [code_of(name)] * world
    newest = training.checkpoints[-1]
    state = json.loads((newest / "state.json").read_text())
    assert (state["position"], state["in_window"], state["step"]) == (2 * world, True, 0)
    for process in ended:
        assert process.problem == (
            f"{name} stopped the training after step 0 in epoch 1, and the checkpoint {newest} holds its state"
        )
        assert process.next_step == "fit again with resume="
    assert harness.differences(lab.uninterrupted(world=world, training=WINDOWS), training.finish().end()) == []


def test_different_signals_to_different_processes_stop_all_of_them_for_one_of_the_reasons(lab):
    ended = lab.new(world=2).live(sent("SIGTERM", rank=0), sent("SIGUSR1", rank=1))

    assert [process.code for process in ended] == [ended[0].code] * 2
    assert ended[0].code in (code_of("SIGTERM"), code_of("SIGUSR1"))
    assert ended[0].problem.split()[0] in ("SIGTERM", "SIGUSR1")


@pytest.mark.parametrize("before", [[], [sent("SIGTERM", 4)], [sent("SIGUSR1")]], ids=str)
def test_a_second_interrupt_ends_the_training_at_once(lab, before):
    """Also one that comes after another signal; what was saved before is there."""
    training = lab.new(training=WINDOWS)
    (ended,) = training.live(*before, sent("SIGINT", before[0]["count"] if before else 5, times=2))

    assert ended.error == "KeyboardInterrupt", ended.output
    assert [path.name for path in training.checkpoints] == ["step-00000001"]


def test_an_interrupt_after_another_signal_is_the_first_one(lab):
    (ended,) = lab.new().live(sent("SIGTERM"), sent("SIGINT"))

    assert (ended.error, ended.code) == ("TrainingStopped", code_of("SIGTERM"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", ["dataset", "loader", "loader of a stream"])
def test_a_signal_to_the_whole_job_leaves_the_loading_workers_alone(lab, harness, name, data):
    """As batch systems, service managers and terminals send it: the batch under way is not lost with its worker."""
    job = {"data": data, "training": {"num_workers": 2}}
    training = lab.new(**job)

    (ended,) = training.live(sent(name, to="group"))

    assert (ended.error, ended.code) == ("TrainingStopped", code_of(name)), ended.output
    assert harness.differences(lab.uninterrupted(**job), training.finish().end()) == []


def test_a_signal_in_the_last_validation_comes_too_late(lab, harness):
    training = lab.new()
    (ended,) = training.live({"at": "validation", "count": 4 * 3, "send": "SIGTERM"})

    assert ended.code == 0
    assert harness.differences(lab.uninterrupted(), training.end()) == []


def test_a_training_without_checkpoints_says_that_nothing_was_saved(lab):
    (ended,) = lab.new(checkpoints=False).live(sent("SIGTERM"))

    assert ended.code == code_of("SIGTERM")
    assert ended.problem == "SIGTERM stopped the training after step 2 in epoch 1, and nothing was saved"
    assert ended.next_step == ""


# Listening


def test_signals_do_afterwards_what_they_did_before():
    before = [signal.getsignal(number) for number in SIGNALS]
    heard = Interruption()

    with heard.listening():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGUSR1)

    assert name_of(heard.signal_number) == "SIGTERM"
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_nothing_changes_outside_of_the_main_thread():
    found = []

    def listen():
        with Interruption().listening():
            found.extend(signal.getsignal(number) for number in SIGNALS)

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()

    assert found == [signal.getsignal(number) for number in SIGNALS]


def test_a_second_interrupt_is_left_to_the_handler_that_was_there_before():
    heard = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with Interruption().listening():
            signal.raise_signal(signal.SIGINT)
            assert not heard
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)

    assert heard == [signal.SIGINT]
