"""Early stopping and the best epoch, on trainings whose metrics are scripted."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from kladml.config.schema import CheckpointConfig, EarlyStoppingConfig, TrainingConfig
from kladml.errors import MissingMetricError, TrainingError, WrongTypeError
from kladml.training import UniversalTrainer

DATA = torch.zeros(4, 1)


class Scripted(nn.Module):
    """Its weight is the number of steps taken, and its validation metric follows a script, an epoch each."""

    def __init__(self, script, name="quality"):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.script, self.name, self.validated = script, name, 0

    def training_step(self, batch):
        return -self.weight  # with lr 1 each step adds one

    def validation_step(self, batch):
        epoch = int(self.weight.item()) - 1
        return {"loss": self.weight * 0, self.name: self.script[epoch] if epoch >= 0 else math.nan}


@pytest.fixture
def fit(trainer, tmp_path):
    def fit(module, val_data=DATA, *, saving=None, **stopping):
        chosen = trainer(
            checkpoint_dir=tmp_path / "checkpoints",
            lr=1.0,
            max_epochs=len(module.script),
            early_stopping=EarlyStoppingConfig(**{"enabled": True, **stopping}),
            checkpoint=CheckpointConfig(**(saving or {})),
        )
        return chosen.fit(module, DATA, val_data)

    return fit


@pytest.mark.parametrize(
    ("script", "mode", "patience", "min_delta", "epochs", "best"),
    [
        ([1, 2, 2, 2, 2, 2, 9], "max", 1, 0, 3, 2),
        ([1, 2, 2, 2, 2, 2, 9], "max", 3, 0, 5, 2),
        ([3, 2, 2, 1, 2, 2, 2], "min", 2, 0, 6, 4),
        ([1, 0.95, 0.9, 0.86, 0.8, 0.79, 0], "min", 3, 0.1, 7, 7),
        ([1, 0.95, 0.93, 0.92, 0.5, 0.4, 0], "min", 3, 0.1, 4, 4),
        ([1, math.nan, math.nan, 0.5, 0.5, 0.5], "min", 3, 0, 6, 4),
        ([1, math.nan, math.nan, 0.5, 0.5, 0.5], "min", 2, 0, 3, 1),
        ([math.nan, math.nan, 1, 1, 1, 1], "max", 2, 0, 2, None),
        ([1, 2, 3, 4], "max", 1, 0, 4, 4),
    ],
)
def test_training_stops_after_exactly_patience_epochs_without_improvement(
    fit, script, mode, patience, min_delta, epochs, best
):
    result = fit(Scripted(script), monitor="val_quality", mode=mode, patience=patience, min_delta=min_delta)

    assert result.epochs == result.steps == len(result.history) == epochs
    assert result.best_epoch == best
    assert result.stopped_early == (epochs < len(script))


def test_what_ends_with_the_last_epoch_stopped_early_as_well(fit):
    assert fit(Scripted([1, 1, 1]), monitor="val_quality", mode="min", patience=2).stopped_early


def test_the_mode_follows_from_the_name(fit):
    assert fit(Scripted([1, 2, 3, 2, 2], "accuracy"), monitor="val_accuracy", patience=1).best_epoch == 3


def test_without_a_name_the_validation_loss_is_watched_and_else_the_loss(trainer, net, regression):
    stopping = EarlyStoppingConfig(enabled=True, patience=1)
    chosen = trainer(lr=0.0, max_epochs=5, early_stopping=stopping, shuffle=False)

    for validation in (regression(5), None):
        assert chosen.fit(net(), regression(), validation, loss="mse").epochs == 2


@pytest.mark.parametrize(("every_epochs", "keep_last"), [(0, 1), (1, 1), (1, 5), (3, 2)])
def test_the_best_epochs_weights_are_put_back(fit, every_epochs, keep_last):
    module = Scripted([1, 5, 2, 3, 4, 4, 4])
    result = fit(
        module,
        monitor="val_quality",
        mode="max",
        patience=4,
        saving={"restore_best": True, "every_epochs": every_epochs, "keep_last": keep_last},
    )

    assert (result.best_epoch, result.epochs) == (2, 6)
    assert module.weight.item() == 2
    assert result.best_checkpoint.name == "step-00000002"
    assert result.last_checkpoint.name == "step-00000006"


def test_the_last_weights_stay_unless_asked_otherwise(fit):
    module = Scripted([1, 5, 2, 3])
    fit(module, monitor="val_quality", mode="max", patience=2)

    assert module.weight.item() == 4


def test_the_best_checkpoint_may_be_judged_by_another_metric(fit):
    class Two(Scripted):
        def validation_step(self, batch):
            return super().validation_step(batch) | {"other": -self.weight.detach()}

    result = fit(
        Two([5, 1, 2, 3, 4]),
        monitor="val_quality",
        mode="min",
        patience=2,
        saving={"monitor": "val_other", "mode": "max"},
    )

    assert (result.epochs, result.best_epoch) == (4, 1)


def test_a_metric_that_is_never_a_number_leaves_no_best_epoch_even_in_a_used_folder(fit):
    first = Scripted([1, 2])
    fit(first, monitor="val_quality", mode="max")
    second = Scripted([math.nan, math.nan])
    result = fit(second, monitor="val_quality", mode="max", saving={"restore_best": True})

    assert result.best_epoch is None
    assert result.best_checkpoint is None
    assert second.weight.item() == 2


def test_a_validation_metric_that_is_missing_is_said_before_a_step_is_taken(fit):
    module = Scripted([1, 2, 3])

    with pytest.raises(MissingMetricError, match=r"'val_f1' is not produced.*val_loss, val_quality"):
        fit(module, monitor="val_f1")
    assert module.weight.item() == 0


@pytest.mark.parametrize("metric", ["val_quality", "val_loss"])
def test_a_validation_metric_without_validation_data_is_said_before_a_step_is_taken(fit, metric):
    module = Scripted([1, 2, 3])

    with pytest.raises(MissingMetricError, match=f"'{metric}' is not produced.*give validation data"):
        fit(module, None, monitor=metric, mode="max")
    assert module.weight.item() == 0


def test_a_training_metric_that_is_missing_is_said_after_the_first_epoch(fit):
    module = Scripted([1, 2, 3])

    with pytest.raises(MissingMetricError, match=r"'f1' is not produced.*loss, lr, val_loss, val_quality"):
        fit(module, monitor="f1")
    assert module.weight.item() == 1


def test_a_name_that_does_not_tell_its_mode_is_said_before_a_step_is_taken(fit):
    module = Scripted([1, 2, 3])

    with pytest.raises(WrongTypeError, match="'val_quality' does not tell"):
        fit(module, monitor="val_quality")
    assert module.weight.item() == 0


def test_looking_for_a_metric_beforehand_changes_nothing_in_the_training(trainer, net, classification, same):
    train = classification(23)
    # A loader draws from the global random state whenever it begins, and this one shuffles from it.
    validation = DataLoader(TensorDataset(*classification(9, seed=2)), batch_size=4, shuffle=True)
    watching, plain = net(3, dropout=0.5), net(3, dropout=0.5)
    stopping = EarlyStoppingConfig(enabled=True, monitor="val_accuracy", patience=9)

    trainer(early_stopping=stopping).fit(watching, train, validation, loss="cross_entropy")
    trainer().fit(plain, train, validation, loss="cross_entropy")

    assert same(watching.state_dict(), plain.state_dict())


def test_restoring_the_best_weights_needs_checkpoints(trainer, net, regression):
    chosen = trainer(checkpoint=CheckpointConfig(restore_best=True))

    with pytest.raises(TrainingError, match="restore_best is set, and no checkpoints are kept"):
        chosen.fit(net(), regression(), loss="mse")


def test_an_unclear_name_is_said_with_the_key_that_gives_it():
    config = TrainingConfig(max_epochs=1, early_stopping=EarlyStoppingConfig(enabled=True, monitor="val_los"))
    data = (torch.zeros(4, 3), torch.zeros(4, 1))
    with pytest.raises(WrongTypeError, match=r"set training\.early_stopping\.mode to min or max"):
        UniversalTrainer(config).fit(nn.Linear(3, 1), data, data, loss="mse")


class ScriptedPerValidation(Scripted):
    """Its validation metric follows a script, a validation each, after that of the look beforehand."""

    def validation_step(self, batch):
        self.validated += 1
        return {"loss": self.weight * 0, self.name: self.script[self.validated - 2] if self.validated > 1 else math.nan}


@pytest.mark.parametrize(
    ("script", "patience", "steps", "best_step", "best_epoch"),
    [
        ([1, 5, 4, 3, 9], 2, 8, 4, 2),
        ([1, 5, 4, 9, 9], 1, 6, 4, 2),
        ([5, 4, 4, 4, 4], 2, 6, 2, 1),
        ([1, 2, 3, 4, 5], 1, 9, 8, 3),
    ],
)
def test_training_may_stop_inside_an_epoch(trainer, tmp_path, script, patience, steps, best_step, best_epoch):
    """Three steps an epoch, three epochs, and a validation every second step."""
    module = ScriptedPerValidation(script)
    chosen = trainer(
        checkpoint_dir=tmp_path,
        lr=1.0,
        validate_every_steps=2,
        early_stopping=EarlyStoppingConfig(enabled=True, monitor="val_quality", mode="max", patience=patience),
        checkpoint=CheckpointConfig(restore_best=True),
    )
    result = chosen.fit(module, torch.zeros(24, 1), DATA)

    assert (result.steps, result.stopped_early) == (steps, steps < 9)
    assert result.best_epoch == best_epoch
    assert result.best_checkpoint.name == f"step-{best_step:08d}"
    assert result.metrics["val_quality"] == max(script[: steps // 2])
    assert module.weight.item() == best_step
    assert module.validated == 1 + steps // 2
