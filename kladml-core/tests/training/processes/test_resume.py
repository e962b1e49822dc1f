"""Trainings that are killed or stopped anywhere and resumed end, to the last bit, as they would have ended.

The end of a training is its last checkpoint (weights, optimizer, schedule, random states of every process, decisions,
history, what callbacks remember) and its result. What it is compared with was never interrupted, and saved as few
checkpoints as possible.
"""

from __future__ import annotations

import json
import os
from itertools import count, cycle

import pytest

WINDOWS = {"gradient_accumulation_steps": 3}
STRATEGIES = [(1, "ddp"), (2, "ddp"), (3, "ddp"), (2, "fsdp"), (3, "fsdp")]
LONG = pytest.mark.skipif(os.environ.get("KLADML_RELIABILITY") != "1", reason="takes long: nox -s reliability runs it")
EVERYWHERE = [pytest.param(*each, marks=[LONG] if each[0] > 2 else []) for each in STRATEGIES]


def killed(point, number, **how):
    """At the n-th time that a process comes to a point, it is killed."""
    return {"at": point, "count": number, **how}


def stopped(number, **how):
    """In the n-th batch of a process comes a SIGTERM."""
    return killed("forward", number, send="SIGTERM", **how)


@pytest.fixture
def exact(lab, harness):
    """Interrupt a training by each of the troubles in turn, finish it, and return where its end differs."""

    def check(*troubles, then=None, **job):
        training = lab.new(**job)
        for trouble in troubles:
            training.interrupt(trouble)
        return harness.differences(lab.uninterrupted(**job), training.finish(**(then or {})).end())

    return check


# Where it is interrupted


@pytest.mark.parametrize(("world", "strategy"), EVERYWHERE)
def test_a_training_that_is_killed_every_few_batches_ends_exactly(lab, harness, world, strategy):
    job = {"world": world, "training": {"strategy": strategy}}
    training, lives = lab.new(**job), 0
    points = zip(cycle([3, 5, 4]), cycle(["forward", "backward"]))

    for batches, point in points:  # in a process that got one or two steps further than the one before
        if training.live(killed(point, batches))[0].code == 0:
            break
        lives += 1

    assert lives >= 10 // world
    assert harness.differences(lab.uninterrupted(**job), training.end()) == []


@pytest.mark.parametrize(("world", "strategy"), EVERYWHERE)
def test_a_training_that_is_stopped_in_every_single_batch_ends_exactly(lab, harness, world, strategy):
    """Windows of three batches: most of the checkpoints hold gradients that no step has used yet."""
    job = {"world": world, "training": {**WINDOWS, "strategy": strategy}}
    training, in_windows = lab.new(**job), 0

    for lives in count():
        ended = training.live(stopped(1, rank=lives % world))
        if ended[0].code == 0:
            break
        assert [process.code for process in ended] == [143] * world
        in_windows += json.loads((training.checkpoints[-1] / "state.json").read_text())["in_window"]

    batches = -(-11 // world) * 3
    assert lives in (batches, batches - 1), "the last batch ends the training before anything can stop it"
    assert in_windows >= batches // 2
    assert harness.differences(lab.uninterrupted(**job), training.end()) == []


@pytest.mark.parametrize(
    ("point", "world"),
    [("fetch", 2), ("validation", 2), ("step", 1), ("epoch ended", 1), ("saved", 1), ("best", 1)],
)
def test_a_kill_between_batches_changes_nothing(exact, point, world):
    assert exact(killed(point, 2), world=world) == []


def test_a_kill_before_the_first_checkpoint_begins_anew(exact):
    assert exact(killed("forward", 1), killed("backward", 2), training=WINDOWS) == []


def test_saving_and_callbacks_change_nothing(lab, harness):
    """Nor does what a callback draws at random, whenever a checkpoint happens to be complete."""
    often = lab.new().finish().end()
    never = lab.new(callback=False, training={"checkpoint": harness.QUIET}).finish().end()

    for end in (often, never):
        del end["state"]["callbacks"]
    assert harness.differences(often, never) == []


# What it is trained on

FORMS = [
    "dataset",
    "arrays",
    "list of batches",
    "loader",
    "loader with a generator",
    "loader that drops the last batch",
    "loader of whole batches",
    "loader with weights",
    "loader with a batch sampler",
    "loader with a sampler of its own",
    "loader that iterates its own way",
    "stream",
    "loader of a stream",
    "iterable",
]


@pytest.mark.parametrize("data", FORMS)
def test_every_form_of_data_goes_on_where_it_was(exact, data):
    assert exact(killed("forward", 17), stopped(4), data=data) == []


@pytest.mark.parametrize("data", ["arrays", "loader", "stream", "iterable"])
def test_every_form_of_data_goes_on_where_it_was_in_several_processes(exact, data):
    assert exact(killed("forward", 9), stopped(2, rank=1), data=data, world=2, training=WINDOWS) == []


@pytest.mark.parametrize(
    "data", ["dataset", "loader", "loader with a sampler of its own", "stream", "loader of a stream"]
)
def test_batches_that_workers_had_fetched_ahead_are_not_lost(exact, data):
    assert exact(killed("forward", 17), data=data, training={"num_workers": 2}) == []


@pytest.mark.parametrize("data", ["dataset", "loader", "stream"])
@pytest.mark.parametrize("workers", [0, 2])
def test_the_number_of_workers_may_change(lab, harness, data, workers):
    """Nor do the workers change the training itself."""
    training = lab.new(data=data, training={"num_workers": workers}).interrupt(killed("forward", 17))
    training.finish(training={"num_workers": 2 - workers})

    assert harness.differences(lab.uninterrupted(data=data), training.end()) == []


# What is trained, and how


@pytest.mark.parametrize(
    ("model", "world", "training"),
    [
        ("groups", 1, {}),
        ("groups", 2, {"find_unused_parameters": True}),
        ("centers", 2, {}),
        ("recurrent", 2, {}),
        ("channels last", 1, {}),
        ("sparse", 2, {"optimizer": {"name": "sgd", "lr": 0.1}, "gradient_clipping": None}),
        ("tokens", 2, {}),
        ("plain", 2, {"mixed_precision": "bf16"}),
        ("groups", 2, {"strategy": "fsdp"}),
        ("recurrent", 3, {"strategy": "fsdp", "fsdp_wrap": ["Linear"]}),
        ("tokens", 2, {"strategy": "fsdp", "mixed_precision": "bf16"}),
        ("compiled", 2, {"strategy": "fsdp"}),
    ],
)
def test_every_model_goes_on_as_it_was(exact, model, world, training):
    settings = {**WINDOWS, **training}
    assert exact(stopped(2), killed("forward", 7), stopped(1), model=model, world=world, training=settings) == []


@pytest.mark.parametrize(
    ("optimizer", "scheduler"),
    [
        ({"name": "sgd", "args": {"momentum": 0.9}}, {"name": "multisteplr", "args": {"milestones": [3, 9]}}),
        ({"name": "adam", "args": {"amsgrad": True}}, {"name": "linearlr", "args": {"total_iters": 9}}),
        ({"name": "nadam"}, {"name": "reducelronplateau", "interval": "epoch", "args": {"patience": 0}}),
        ({"name": "rmsprop"}, {"name": "steplr", "interval": "epoch", "args": {"step_size": 2}}),
    ],
    ids=lambda part: part["name"],
)
def test_every_optimizer_and_schedule_goes_on_as_it_was(exact, optimizer, scheduler):
    training = {"optimizer": {"lr": 0.02, **optimizer}, "scheduler": scheduler, "max_epochs": 4}
    assert exact(killed("forward", 15), stopped(10), training=training) == []


@pytest.mark.parametrize(
    "training",
    [
        {"max_epochs": 6, "early_stopping": {"enabled": True, "patience": 1, "min_delta": 0.05}},
        {"validate_every_steps": 2},
        {"validate_every_steps": 3, "checkpoint": {"every_steps": 2, "restore_best": True}},
        {"checkpoint": {"every_steps": 0, "every_minutes": 1e-6}},
        {"checkpoint": {"every_steps": 0, "every_epochs": 2}},
        {"checkpoint": {"keep_last": 1, "monitor": "val_drawn", "mode": "max", "restore_best": True}},
        {"max_steps": 9},
    ],
    ids=str,
)
def test_every_decision_is_the_same(exact, training):
    assert exact(killed("forward", 12), stopped(2), training=training) == []


def test_early_stopping_comes_in_the_same_step(lab, harness):
    watched = {"enabled": True, "monitor": "val_drawn", "mode": "max", "patience": 2}
    job = {"training": {"validate_every_steps": 2, "early_stopping": watched}}
    end = lab.uninterrupted(**job)
    assert end["told"]["stopped_early"]
    last = 2 * end["told"]["steps"] - 2 * (end["told"]["epochs"] - 1)  # 11 batches are 6 steps
    training = lab.new(**job)

    assert training.live(stopped(last + 1))[0].code == 0, "the signal comes in the batch that ends the training"

    assert harness.differences(end, training.end()) == []


@pytest.mark.parametrize("point", [("validation", 8), ("epoch ended", 2)])
def test_a_kill_after_the_last_of_all_steps_does_not_skip_its_validation(exact, point):
    assert exact(killed(*point), training={"max_steps": 9}) == []


def test_the_best_checkpoint_is_the_same_though_nobody_had_pointed_to_it_yet(lab, harness):
    """The kill comes between the rename of a checkpoint and the pointer to it, and nothing better follows."""
    best = {"monitor": "val_drawn", "mode": "max", "restore_best": True}
    jobs = ({"training": {"seed": seed, "checkpoint": best}} for seed in count())
    job = next(job for job in jobs if lab.uninterrupted(**job)["told"]["best_epoch"] == 2)

    training = lab.new(**job).interrupt(killed("best", 2)).finish()

    assert harness.differences(lab.uninterrupted(**job), training.end()) == []
