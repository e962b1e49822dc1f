"""From a class to a model: what is accepted, what is refused, and how its methods are called."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
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


class Abstract(nn.Linear, ABC):
    def training_step(self, batch):
        return self(batch).mean()

    @abstractmethod
    def extra(self): ...


class AbstractByHand(ABC):
    """Has the names of all five methods, and no more than the names."""

    @abstractmethod
    def train(self, X): ...

    predict = evaluate = save = load = train


@pytest.mark.parametrize(
    ("model_class", "said"),
    [
        (BaseModel, "BaseModel lacks part of the model contract: evaluate, load, ml_task, predict, save, train"),
        (Abstract, "Abstract lacks part of the model contract: extra"),
        (AbstractByHand, "AbstractByHand lacks part of the model contract: evaluate, load, predict, save, train"),
        (StandardScaler, "StandardScaler lacks part of the model contract: train, evaluate, save, load|predict"),
        (LogisticRegression(), "the model is a LogisticRegression, not a class"),
        (nn.Linear(1, 1), "the model is a Linear, not a class"),
        ("module:Class", "the model is a str, not a class"),
        (None, "the model is a NoneType, not a class"),
    ],
)
def test_what_cannot_be_built_or_used_is_refused_before_the_run(model_class, said):
    with pytest.raises(ModelContractError, match=said):
        check_model_class(model_class, loss="mse")


def test_a_class_by_hand_may_have_slots_or_a_run_of_its_own():
    class Slotted:
        __slots__ = ()
        train = predict = evaluate = save = load = lambda self, *_: {}

    class Running(ByHand):
        def run(self):
            return "mine"

    assert call_train(build_model(Slotted, {}, RunContext()), X, None) == {}
    assert build_model(Running, {}, RunContext()).run() == "mine"


def noting(signature):
    """Write a `train` and `evaluate` with a signature, which note what they got by name."""
    namespace = {}
    source = f"def method({signature}):\n    got = dict(locals())\n    got.pop('self').got = got\n"
    exec(source, namespace)  # noqa: S102 - signatures are the table below
    return namespace["method"]


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("self, X_train, y_train, X_val, y_val", {"X_train": X, "y_train": Y, "X_val": X_VAL, "y_val": Y_VAL}),
        ("self, X, y, Xv, yv", {"X": X, "y": Y, "Xv": X_VAL, "yv": Y_VAL}),
        ("self, a, b, c, d", {"a": X, "b": Y, "c": X_VAL, "d": Y_VAL}),
        ("self, inputs, targets, /", {"inputs": X, "targets": Y}),
        ("self, X", {"X": X}),
        ("self, x_train", {"x_train": X}),
        ("self, inputs", {"inputs": X}),
        ("self, X, y=None", {"X": X, "y": Y}),
        ("self, X, y=None, epochs=10", {"X": X, "y": Y, "epochs": 10}),
        ("self, X, epochs=10", {"X": X, "epochs": 10}),
        ("self, X, y, epochs=10, X_val=None", {"X": X, "y": Y, "epochs": 10, "X_val": None}),
        ("self, X, y, label_smoothing=0.1", {"X": X, "y": Y, "label_smoothing": 0.1}),
        ("self, X, y, *, epochs=10", {"X": X, "y": Y, "epochs": 10}),
        ("self, X, y, *, X_val=None, y_val=None", {"X": X, "y": Y, "X_val": X_VAL, "y_val": Y_VAL}),
        ("self, X, y, **options", {"X": X, "y": Y, "options": {}}),
        ("self, *data", {"data": (X, Y, X_VAL, Y_VAL)}),
        ("self, X, *rest", {"X": X, "rest": (Y, X_VAL, Y_VAL)}),
        ("self, data", {"data": (X, Y)}),
        ("self, train_data", {"train_data": (X, Y)}),
        ("self, pairs", {"pairs": (X, Y)}),
        ("self, train_data, val_data", {"train_data": (X, Y), "val_data": (X_VAL, Y_VAL)}),
        ("self, train_loader, val_loader=None", {"train_loader": (X, Y), "val_loader": (X_VAL, Y_VAL)}),
        ("self, dataset, epochs=3", {"dataset": (X, Y), "epochs": 3}),
        ("self", {}),
    ],
)
def test_train_gets_what_its_parameters_are_for(signature, expected):
    model = type("Model", (Complete,), {"train": noting(signature)})()
    call_train(model, (X, Y), (X_VAL, Y_VAL))
    assert is_same(model.got, expected)


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("self, X_test, y_test=None", {"X_test": X, "y_test": Y}),
        ("self, X, threshold=0.5", {"X": X, "threshold": 0.5}),
        ("self, test_data", {"test_data": (X, Y)}),
        ("self, X", {"X": X}),
        ("self, *data", {"data": (X, Y)}),
        ("self, X, *, y_test", {"X": X, "y_test": Y}),
    ],
)
def test_evaluate_gets_what_its_parameters_are_for(signature, expected):
    model = type("Model", (Complete,), {"evaluate": noting(signature)})()
    call_evaluate(model, (X, Y))
    assert is_same(model.got, expected)


def is_same(got, expected):
    """Tell whether both hold the same objects; arrays are compared by identity."""
    if isinstance(expected, dict):
        return got.keys() == expected.keys() and all(is_same(got[name], expected[name]) for name in expected)
    if isinstance(expected, tuple):
        return len(got) == len(expected) and all(map(is_same, got, expected))
    return got is expected if isinstance(expected, np.ndarray) else got == expected


def test_without_validation_data_there_is_none():
    model = type("Model", (Complete,), {"train": noting("self, X, y, X_val, y_val")})()
    call_train(model, (X, Y), None)
    assert model.got["X_val"] is None
    assert model.got["y_val"] is None


def test_an_error_in_train_is_the_authors_own():
    def train(self, X, y):
        return y.no_such_attribute

    with pytest.raises(AttributeError, match="no_such_attribute"):
        trained(train, (X, Y))
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        trained(lambda self, X, y, X_val, y_val, more: None, (X, Y))


def test_an_evaluation_without_metrics_is_said(caplog):
    model = type("Model", (Complete,), {"evaluate": lambda *_: None})()
    assert call_evaluate(model, (X, Y)) == {}
    assert "Model.evaluate returned no metrics" in caplog.text
