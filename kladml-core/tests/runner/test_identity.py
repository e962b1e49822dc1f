from dataclasses import replace

import pytest
from torch import nn

from kladml.config import RunConfig, TrainingConfig, schema_keys
from kladml.config.schema import DataConfig, EarlyStoppingConfig, ModelConfig
from kladml.errors import DataError, TrainingError
from kladml.runner.fingerprints import KEPT_BACK, NO_DATA, NO_FINGERPRINT
from kladml.runner.identity import MAY_CHANGE, check_same, check_unfinished, identity, settings
from kladml.runner.record import RunRecord
from kladml.runner.versions import VersionData


def of(config=None, loss=None, fingerprint="sha256:1", val=NO_DATA, version=None, val_version=None):
    return identity(
        "digits@1",
        "0f3c",
        config or RunConfig(),
        loss,
        data_fingerprint=fingerprint,
        val_fingerprint=val,
        version=version,
        val_version=val_version,
    )


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


def test_the_same_validation_data_is_the_same():
    for val in ("sha256:1", "blake2b:1", NO_DATA, KEPT_BACK, NO_FINGERPRINT):
        check_same(of(val=val), of(val=val), "run x")


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ("sha256:1", "sha256:2", "data with the fingerprint sha256:1, and is to go on with data with the .* sha256:2;"),
        ("sha256:1", NO_DATA, "data with the fingerprint sha256:1, and is to go on with nothing;"),
        ("sha256:1", NO_FINGERPRINT, "data with the .* sha256:1, and is to go on with data without a fingerprint;"),
        (NO_FINGERPRINT, "sha256:1", "data without a fingerprint, and is to go on with data with the fingerprint"),
        (NO_DATA, "sha256:1", "nothing, and is to go on with data with the fingerprint sha256:1;"),
        (KEPT_BACK, "sha256:1", "a part of its training data, and is to go on with data with the .* sha256:1;"),
    ],
)
def test_other_validation_data_is_refused(before, now, said):
    with pytest.raises(DataError, match=f"run x was validated on {said}"):
        check_same(of(val=before), of(val=now), "run x")


def test_versions_of_validation_data_are_named():
    one, two = (VersionData(None, f"digits@{n}/val", f"blake2b:{n}", "y", ()) for n in (1, 2))
    said = r"validated on digits@1/val \(blake2b:1\), and is to go on with digits@2/val \(blake2b:2\); give the"
    with pytest.raises(DataError, match=said):
        check_same(of(val="blake2b:1", val_version=one), of(val="blake2b:2", val_version=two), "run x")
    other = replace(one, target="z")
    with pytest.raises(TrainingError, match=r"data\.target was y and is now z"):
        check_same(of(val="blake2b:1", val_version=one), of(val="blake2b:1", val_version=other), "run x")


def test_a_checkpoint_that_says_nothing_of_validation_data_goes_on():
    older = of()
    del older["val_fingerprint"], older["val"]
    for val in ("sha256:1", NO_DATA, KEPT_BACK, NO_FINGERPRINT):
        check_same(older, of(val=val), "run x")


def test_validation_data_without_a_fingerprint_is_told_apart_by_its_reference():
    one, two = (RunConfig(data=DataConfig(val=f"{name}.py:data")) for name in ("one", "two"))
    check_same(of(one), of(two), "run x")
    with pytest.raises(TrainingError, match=r"data.val was one.py:data and is now two.py:data"):
        check_same(of(one, val=NO_FINGERPRINT), of(two, val=NO_FINGERPRINT), "run x")


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
