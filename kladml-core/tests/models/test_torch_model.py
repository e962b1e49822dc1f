"""An `nn.Module` that keeps the model contract."""

import numpy as np
import pytest
import torch
from torch import nn

from kladml import MLTask
from kladml.config import TrainingConfig
from kladml.errors import ModelError
from kladml.models import RunContext
from kladml.models.torch_model import TorchModel

X = np.random.default_rng(0).random((30, 4))
Y = (X.sum(axis=1) > 2).astype(np.int64)


def model(width=4, **training):
    torch.manual_seed(0)
    made = TorchModel(nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2)), loss="cross_entropy")
    made.run = RunContext(TrainingConfig(**training))
    return made


def test_it_trains_evaluates_and_predicts():
    trained = model(max_epochs=3, batch_size=7)
    metrics = trained.train(X, Y, X, Y)
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(metrics)
    assert trained.evaluate(X, Y)["loss"] == pytest.approx(metrics["val_loss"])
    assert trained.predict(X).shape == (30, 2)
    assert trained.result.epochs == 3


def test_what_is_saved_predicts_the_same(tmp_path):
    trained = model(max_epochs=1)
    trained.train(X, Y)
    trained.save(str(tmp_path / "model"))
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    fresh = model()
    assert not torch.equal(fresh.predict(X), trained.predict(X))
    fresh.load(str(tmp_path / "model"))
    assert torch.equal(fresh.predict(X), trained.predict(X))


def test_weights_of_another_module_and_absent_ones_are_refused(tmp_path):
    model().save(str(tmp_path / "model"))
    with pytest.raises(ModelError, match="cannot be loaded into Sequential"):
        model(width=5).load(str(tmp_path / "model"))
    with pytest.raises(ModelError, match="cannot be loaded"):
        model().load(str(tmp_path / "absent"))


def test_tied_weights_survive(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(3, 3)
            self.two = nn.Linear(3, 3)
            self.two.weight = self.one.weight

    first, second = TorchModel(Tied()), TorchModel(Tied())
    first.save(str(tmp_path / "model"))
    second.load(str(tmp_path / "model"))
    assert torch.equal(second.module.two.weight, first.module.one.weight)
    assert second.module.two.weight is second.module.one.weight


def test_the_task_is_the_modules_own_or_other():
    module = nn.Linear(1, 1)
    assert TorchModel(module).ml_task is MLTask.OTHER
    module.ml_task = "regression"
    assert TorchModel(module).ml_task is MLTask.REGRESSION
