from dataclasses import replace

import pytest
from torch import nn

from kladml.config import RunConfig, TrainingConfig, schema_keys
from kladml.config.schema import DataConfig, EarlyStoppingConfig, ModelConfig
from kladml.errors import DataError, TrainingError
from kladml.runner.identity import MAY_CHANGE, check_same, check_unfinished, identity, settings
from kladml.runner.record import RunRecord


def of(config=None, loss=None, fingerprint="sha256:1"):
    return identity("digits@1", "0f3c", config or RunConfig(), loss, fingerprint)


def test_keys_that_may_change_are_keys_of_the_schema_and_have_a_reason():
    assert MAY_CHANGE.keys() <= schema_keys(TrainingConfig).keys()
    assert all(MAY_CHANGE.values())


def test_every_other_key_of_the_training_is_compared():
    compared = {key.removeprefix("training.") for key in settings(RunConfig(), None, with_data=False)}
    assert compared >= schema_keys(TrainingConfig).keys() - MAY_CHANGE.keys()
    assert {"batch_size", "seed", "optimizer.lr", "scheduler.args", "compile"} <= compared
    assert not compared & MAY_CHANGE.keys()


def test_the_same_is_the_same():
    config = RunConfig(model=ModelConfig(ref="m:Net", args={"sizes": [1, 2], "layer": "<Layer object at 0x7f00aa>"}))
    other = RunConfig(model=ModelConfig(ref="m:Net", args={"layer": "<Layer object at 0x7fbb00>", "sizes": [1, 2]}))
    check_same(of(config, nn.CrossEntropyLoss()), of(other, nn.CrossEntropyLoss()), "run x")


def test_losses_are_told_apart_by_their_names():
    with pytest.raises(TrainingError, match=r"model.loss was torch\S*:CrossEntropyLoss and is now torch\S*:MSELoss"):
        check_same(of(loss=nn.CrossEntropyLoss()), of(loss=nn.MSELoss()), "run x")
    with pytest.raises(TrainingError, match=r"model.loss was mse and is now torch\S*:mse_loss"):
        check_same(of(loss="mse"), of(loss=nn.functional.mse_loss), "run x")


def test_data_without_a_fingerprint_is_told_apart_by_its_reference():
    one, two = (RunConfig(data=DataConfig(train=f"{name}.py:data")) for name in ("one", "two"))
    check_same(of(one), of(two), "run x")
    with pytest.raises(TrainingError, match=r"data.train was one.py:data and is now two.py:data"):
        check_same(of(one, fingerprint=None), of(two, fingerprint=None), "run x")


def test_data_that_lost_its_fingerprint_is_other_data():
    with pytest.raises(DataError, match="its fingerprint was sha256:1 and is now unknown"):
        check_same(of(), of(fingerprint=None), "run x")


def test_what_says_nothing_of_itself_is_warned_about(caplog):
    check_same({}, of(), "the checkpoint y")
    assert "the checkpoint y does not say what it was trained with" in caplog.text


def test_settings_that_a_newer_version_knows_are_not_compared():
    older = of()
    del older["settings"]["training.compile"]
    check_same(older, of(), "run x")
    check_same(of(), older, "run x")


@pytest.mark.parametrize(
    ("before", "now", "goes_on"),
    [
        ({}, {}, False),
        ({}, {"max_epochs": 9}, False),
        ({}, {"max_epochs": 11}, True),
        ({}, {"max_steps": 5}, False),
        ({"max_steps": 5}, {"max_steps": 5}, False),
        ({"max_steps": 5}, {"max_steps": 6}, True),
        ({"max_steps": 5}, {}, True),
    ],
)
def test_finished_run_goes_on_when_it_is_trained_longer(before, now, goes_on):
    training = TrainingConfig()
    record = RunRecord("digits@1", "0f3c", status="FINISHED")
    if goes_on:
        check_unfinished(record, replace(training, **before), replace(training, **now))
    else:
        with pytest.raises(TrainingError, match=r"run digits@1 is FINISHED, with training\.max_epochs = 10"):
            check_unfinished(record, replace(training, **before), replace(training, **now))
    check_unfinished(replace(record, status="KILLED"), replace(training, **before), replace(training, **now))


@pytest.mark.parametrize(
    ("now", "goes_on"),
    [
        ({}, False),
        ({"enabled": False}, True),
        ({"patience": 5}, False),
        ({"patience": 6}, True),
    ],
)
def test_run_that_was_stopped_early_goes_on_without_that(now, goes_on):
    before = TrainingConfig(early_stopping=EarlyStoppingConfig(enabled=True))
    after = replace(before, max_epochs=99, early_stopping=replace(before.early_stopping, **now))
    record = RunRecord("digits@1", "0f3c", status="FINISHED")
    if goes_on:
        check_unfinished(record, before, after, stopped_early=True)
    else:
        with pytest.raises(TrainingError, match="is FINISHED, by early stopping with a patience of 5"):
            check_unfinished(record, before, after, stopped_early=True)
