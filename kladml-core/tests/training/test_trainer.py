"""Validating and predicting with a module, outside a training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from kladml.config import TrainingConfig
from kladml.errors import DataError, ModelContractError
from kladml.training import UniversalTrainer


@pytest.mark.parametrize("batch_size", [1, 7, 23, 100])
def test_validation_is_the_mean_over_all_samples(trainer, net, classification, batch_size):
    inputs, targets = classification(23)
    module = net(3, dropout=0.5)
    metrics = trainer(batch_size=batch_size).validate(module, (inputs, targets), loss="cross_entropy")

    with torch.no_grad():
        scores = module.eval()(inputs)
    assert metrics == {
        "loss": pytest.approx(F.cross_entropy(scores, targets).item(), abs=1e-6),
        "accuracy": pytest.approx((scores.argmax(1) == targets).float().mean().item(), abs=1e-6),
    }


@pytest.mark.parametrize("form", [lambda x: x, lambda x: x.numpy(), lambda x: [x[:10], x[10:]], DataLoader])
def test_prediction_is_the_modules_output_joined_in_order(trainer, net, form):
    module, inputs = net(2, dropout=0.5), torch.randn(23, 3)
    predicted = trainer(batch_size=7).predict(module, form(inputs))

    with torch.no_grad():
        assert torch.allclose(predicted, module.eval()(inputs), atol=1e-6)
    (predicted * nn.Parameter(torch.ones(2))).sum().backward()  # it can be used like any other tensor


def test_single_arrays_can_be_trained_on_and_validated(trainer):
    class Reconstructing(nn.Linear):
        def training_step(self, batch):
            return F.mse_loss(self(batch), batch)

    inputs = np.random.default_rng(0).normal(size=(23, 3))
    module = Reconstructing(3, 3)
    result = trainer().fit(module, inputs, inputs[:5])

    assert trainer().validate(module, inputs[:5])["loss"] == pytest.approx(result.metrics["val_loss"], abs=1e-6)


@pytest.mark.parametrize("data", [[], np.zeros((0, 3)), TensorDataset(torch.zeros(0, 3)), iter([])])
def test_there_must_be_something_to_validate_on_or_predict_from(trainer, net, data):
    with pytest.raises(DataError):
        trainer().predict(net(), data)
    with pytest.raises(DataError):
        trainer().validate(net(), data, loss="mse")


def test_a_loader_that_gives_nothing_is_reported(trainer, net):
    empty = DataLoader(TensorDataset(torch.zeros(2, 3)), batch_size=3, drop_last=True)

    with pytest.raises(DataError, match="nothing to predict from"):
        trainer().predict(net(), empty)
    with pytest.raises(DataError, match="gave no batch"):
        trainer().validate(net(), empty, loss="mse")


def test_validation_needs_a_step_or_a_loss(trainer, net, regression):
    with pytest.raises(ModelContractError, match="no loss was given"):
        trainer().validate(net(), regression())


def test_without_a_configuration_the_defaults_are_used():
    assert UniversalTrainer().config == TrainingConfig()


def test_a_tiny_training_learns(trainer, net, classification):
    train, validation = classification(300), classification(100, seed=2)
    module = net(3)
    result = trainer(optimizer="adamw", lr=0.03, max_epochs=15, batch_size=32).fit(
        module, train, validation, loss="cross_entropy"
    )

    assert result.metrics["val_accuracy"] > 0.9
    assert result.metrics["val_loss"] < result.history[0]["val_loss"] / 2
