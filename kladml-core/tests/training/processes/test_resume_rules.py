"""What a training may be resumed from, with how many processes, and that no sample is lost or seen twice."""

from __future__ import annotations

import json
from collections import Counter
from itertools import chain, count

import pytest

WHOLE = {"gradient_accumulation_steps": 1}
SAMPLES = 43


def stopped(number, **how):
    """In the n-th batch of a process comes a SIGTERM."""
    return {"at": "forward", "count": number, "send": "SIGTERM", **how}


def killed(number):
    return {"at": "forward", "count": number}


def every_sample_once(history):
    """Whether each epoch's mean over samples of a number that is each one's own is that of all samples."""
    expected = sum(number * 2654435761 % 1000003 for number in range(SAMPLES)) / SAMPLES
    return [epoch["checksum"] for epoch in history] == pytest.approx([expected] * len(history), rel=1e-12)


# Samples


@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_sample_is_trained_on_once_per_epoch_by_one_of_the_processes(lab, world):
    """Each process writes down what it trains on; stopped ones lose nothing, and none begins again."""
    training = lab.new(world=world, samples=4 * 6 * world, log=True)  # all batches are full, and all rounds
    for _ in count():
        if training.live(stopped(4))[0].code == 0:
            break

    seen = [(training.folder / f"samples-{rank}.txt").read_text().split() for rank in range(world)]

    assert Counter(map(int, chain(*seen))) == dict.fromkeys(range(4 * 6 * world), 3)
    assert training.lab.made
    assert len({len(numbers) for numbers in seen}) == 1


@pytest.mark.parametrize(
    ("before", "now", "strategy"),
    [(2, 1, "ddp"), (1, 2, "ddp"), (3, 2, "ddp"), (2, 3, "ddp"), (3, 1, "ddp"), (3, 2, "fsdp"), (2, 3, "fsdp")],
)
def test_with_another_number_of_processes_every_sample_still_comes_once(lab, before, now, strategy):
    training = lab.new(world=before, training={**WHOLE, "strategy": strategy})
    training.interrupt(stopped(3)).interrupt(killed(6))
    refused = training.live(world=now)
    training.finish(allow_world_change=True)

    assert all(process.error == "CheckpointError" for process in refused)
    assert f"is of a training with {before} processes, and this one has {now}" in refused[0].problem
    assert refused[0].next_step == f"use {before} processes, or --allow-world-change, after which results differ"
    assert every_sample_once(training.told()["history"])
    assert len(training.told()["history"]) == 3


def test_the_number_of_processes_may_change_again_and_again(lab):
    training = lab.new(training=WHOLE, allow_world_change=True)
    for world in (2, 3, 1, 2, 1, 3):
        training.interrupt(stopped(2), world=world)
    training.finish(world=2)

    assert every_sample_once(training.told()["history"])


def test_inside_a_window_the_number_of_processes_cannot_change(lab):
    training = lab.new(world=2, training={"gradient_accumulation_steps": 3}).interrupt(stopped(2))
    (refused,) = training.live(world=1, allow_world_change=True)

    assert refused.error == "CheckpointError"
    assert "saved inside an accumulation window, whose gradients cannot be shared out anew" in refused.problem
    assert refused.next_step == "use 2 processes, or an older checkpoint"


# Checkpoints


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "rank-00001.safetensors"])
def test_a_damaged_newest_checkpoint_costs_what_came_after_the_one_before_it(lab, harness, name):
    training = lab.new(world=2).interrupt(killed(8))
    damaged = training.checkpoints[-1] / name
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)

    training.finish()

    assert harness.differences(lab.uninterrupted(world=2), training.end()) == []


def test_an_older_checkpoint_may_be_named(lab, harness):
    training = lab.new(training={"checkpoint": {"keep_last": 9}}).interrupt(killed(16))
    training.finish(resume=str(training.checkpoints[1]))

    assert harness.differences(lab.uninterrupted(training={"checkpoint": {"keep_last": 9}}), training.end()) == []


def test_a_folder_without_a_whole_checkpoint_is_refused(lab):
    training = lab.new()
    training.folder.mkdir(parents=True)
    (ended,) = training.live(resume=str(training.folder))

    assert ended.error == "CheckpointError"
    assert ended.problem == f"there is no whole checkpoint in {training.folder}"


# Trainings


@pytest.mark.parametrize(
    ("job", "why", "hint"),
    [
        ({}, "reached its end after epoch 3 and step 18", "raise training.max_epochs or max_steps"),
        ({"training": {"max_steps": 8}}, "reached its end after epoch 2 and step 8", "raise training.max_epochs"),
        (
            {"training": {"early_stopping": {"enabled": True, "patience": 1, "min_delta": 9.0}}},
            "was stopped early after epoch 2 and step 12",
            "raise its patience",
        ),
    ],
)
def test_a_training_that_has_ended_is_not_resumed(lab, job, why, hint):
    (ended,) = lab.new(**job).finish().live()

    assert ended.error == "TrainingError"
    assert ended.problem.endswith(why)
    assert ended.next_step.startswith(hint)


def test_a_training_that_has_ended_goes_on_with_more_epochs(lab, harness):
    longer = {"training": {"max_epochs": 5}}
    training = lab.new().finish().finish(**longer)

    assert harness.differences(lab.uninterrupted(**longer), training.end()) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "groups"},
        {"training": {"optimizer": {"name": "sgd"}}},
        {"training": {"scheduler": {"name": None}}},
        {"training": {"seed": 1}},
        {"training": {"shuffle": False}},
        {"training": {"batch_size": 5}},
        {"training": {"gradient_accumulation_steps": 1}},
        {"samples": 47},
    ],
    ids=str,
)
def test_another_training_than_the_one_that_was_interrupted_is_refused(lab, changes):
    training = lab.new().interrupt(stopped(4))
    (ended,) = training.live(**changes)

    assert ended.error == "CheckpointError", ended.output
    assert str(training.checkpoints[-1]) in ended.problem
    assert ended.next_step


def test_what_may_change_is_what_comes(lab):
    """A higher rate from here on, and another end."""
    training = lab.new().interrupt(stopped(4))
    training.finish(training={"max_epochs": 2, "log_every": 1, "gradient_clipping": None, "num_workers": 1})

    assert training.told()["epochs"] == 2
    assert every_sample_once(training.told()["history"])
    assert json.loads((training.checkpoints[-1] / "state.json").read_text())["config"]["max_epochs"] == 2
