"""From a class to a model: what is accepted, what is refused, and how its methods are called."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from torch import nn

from kladml import BaseModel, MLTask
from kladml.errors import ModelContractError
from kladml.models import RunContext, build_model, call_evaluate, call_train, check_model_class
from kladml.models.sklearn_model import SklearnModel
from kladml.models.torch_model import TorchModel

X, Y, X_VAL, Y_VAL = np.zeros((4, 2)), np.zeros(4), np.ones((2, 2)), np.ones(2)


class Complete(BaseModel):
    ml_task = MLTask.OTHER

    def train(self, X_train, y_train=None, X_val=None, y_val=None):
        self.seen = (X_train, y_train, X_val, y_val)
        return {"a": 1}

    def predict(self, X):
        return X

    def evaluate(self, X_test, y_test=None):
        self.tested = (X_test, y_test)
        return {"a": np.float32(2)}

    def save(self, path): ...

    def load(self, path): ...


class ByHand:
    """Keeps the contract without deriving from anything."""

    train = Complete.train
    predict = Complete.predict
    evaluate = Complete.evaluate
    save = Complete.save
    load = Complete.load


class WithoutEvaluate(BaseModel):
    ml_task = MLTask.OTHER
    train = predict = save = load = lambda self, *_: None


class WithStep(nn.Linear):
    def __init__(self, width=1):
        super().__init__(2, width)

    def training_step(self, batch):
        return self(batch).mean()


@pytest.mark.parametrize("model_class", [Complete, ByHand, WithStep, LogisticRegression, KMeans])
def test_what_keeps_a_contract_is_accepted(model_class):
    assert check_model_class(model_class) is model_class


def test_a_bare_module_needs_a_loss():
    with pytest.raises(ModelContractError, match=r"Linear is an nn.Module without training_step, and no loss"):
        check_model_class(nn.Linear)
    assert check_model_class(nn.Linear, loss="mse") is nn.Linear


@pytest.mark.parametrize(
    ("model_class", "said"),
    [
        (WithoutEvaluate, "WithoutEvaluate lacks part of the model contract: evaluate"),
        (dict, "dict lacks part of the model contract: train, predict, evaluate, save, load"),
        (Complete(), "the model is a Complete, not a class"),
        (lambda: None, "the model is a function, not a class"),
    ],
)
def test_what_lacks_something_is_refused_with_what_it_lacks(model_class, said):
    with pytest.raises(ModelContractError, match=said):
        check_model_class(model_class)


@pytest.mark.parametrize(
    ("model_class", "adapter"), [(Complete, Complete), (WithStep, TorchModel), (LogisticRegression, SklearnModel)]
)
def test_each_class_gets_the_adapter_that_it_needs_and_its_run(model_class, adapter):
    context = RunContext()
    model = build_model(model_class, {}, context)
    assert isinstance(model, adapter)
    assert model.run is context


def test_arguments_reach_the_class_and_others_are_refused():
    assert build_model(WithStep, {"width": 3}, RunContext()).module.out_features == 3
    with pytest.raises(ModelContractError, match=r"WithStep cannot be built from model\.args: .*'widht'"):
        build_model(WithStep, {"widht": 3}, RunContext())


class Failing(Complete):
    def __init__(self):
        raise TypeError("the author's own")


def test_an_error_inside_the_class_is_the_authors():
    with pytest.raises(TypeError, match="the author's own"):
        build_model(Failing, {}, RunContext())


def trained(train, train_data, val_data=None):
    """Call `train` with data and return what it got."""
    model = type("Model", (Complete,), {"train": train})()
    call_train(model, train_data, val_data)
    return model.seen


def see_x(self, X_train):
    self.seen = (X_train,)


def see_x_y(self, X_train, y_train):
    self.seen = (X_train, y_train)


def see_all(self, *data):
    self.seen = data


def see_whole(self, train_data, val_data=None):
    self.seen = (train_data, val_data)


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        (Complete.train, (X, Y, X_VAL, Y_VAL)),
        (see_all, (X, Y, X_VAL, Y_VAL)),
        (see_x_y, (X, Y)),
    ],
)
def test_train_gets_as_much_as_it_takes(train, expected):
    seen = trained(train, (X, Y), (X_VAL, Y_VAL))
    assert len(seen) == len(expected)
    assert all(got is part for got, part in zip(seen, expected, strict=True))


def test_a_train_with_one_parameter_per_data_set_gets_them_whole():
    pairs = (X, Y), (X_VAL, Y_VAL)
    seen = trained(see_whole, *pairs)
    assert seen[0] is pairs[0]
    assert seen[1] is pairs[1]


def test_a_train_with_inputs_alone_gets_inputs_alone():
    (seen,) = trained(see_x, (X, Y))
    assert seen is X


def test_a_models_own_options_are_not_filled_with_data():
    def train(self, X_train, y_train, epochs=10):
        self.seen = (X_train, y_train, epochs)

    assert trained(train, (X, Y), (X_VAL, Y_VAL))[2] == 10


def test_data_that_is_no_pair_is_passed_whole():
    assert trained(Complete.train, X) == (X, None, None, None)
    loader = [X, X]
    assert trained(Complete.train, loader, loader) == (loader, None, loader, None)


def test_evaluate_gets_inputs_and_targets():
    model = Complete()
    assert call_evaluate(model, (X, Y)) == {"a": 2.0}
    assert model.tested[0] is X
    assert model.tested[1] is Y


@pytest.mark.parametrize(("returned", "metrics"), [(None, {}), ({}, {}), ({"a": torch.tensor(3.0)}, {"a": 3.0})])
def test_metrics_become_numbers(returned, metrics):
    model = type("Model", (Complete,), {"train": lambda *_: returned})()
    assert call_train(model, (X, Y), None) == metrics


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (0.5, r"Model\.train returned float where metrics by name are expected"),
        ({"a": "high"}, r"Model\.train returned str as the metric 'a'"),
        ({"a": [1, 2]}, r"Model\.train returned list as the metric 'a'"),
    ],
)
def test_what_is_no_metric_is_refused(returned, said):
    model = type("Model", (Complete,), {"train": lambda *_: returned})()
    with pytest.raises(ModelContractError, match=said):
        call_train(model, (X, Y), None)
