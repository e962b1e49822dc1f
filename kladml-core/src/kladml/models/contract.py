"""From a class to a model: what is accepted, what it lacks, and how its methods are called."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from kladml.errors import ModelContractError
from kladml.models.base import BaseModel

if TYPE_CHECKING:
    from kladml.models.context import RunContext

_METHODS = ("train", "predict", "evaluate", "save", "load")
_ESTIMATOR = ("fit", "predict", "get_params", "set_params")


def check_model_class(model_class: object, *, loss: object = None) -> type[Any]:
    """Return a model class after checking, without building it, that it can be trained.

    Args:
        model_class: A `BaseModel`, an `nn.Module` or a scikit-learn estimator class, or a class with the
            methods of `BaseModel`.
        loss: The loss that a bare `nn.Module` needs.

    Raises:
        ModelContractError: It is no class, or lacks part of the contract; names what.
    """
    if not isinstance(model_class, type):
        problem = f"the model is a {type(model_class).__name__}, not a class"
        raise ModelContractError(problem, next_step="pass the class; its arguments go into model_args")
    name = model_class.__name__
    if is_torch_module(model_class):
        if not callable(getattr(model_class, "training_step", None)) and loss is None:
            problem = f"{name} is an nn.Module without training_step, and no loss was given"
            raise ModelContractError(problem, next_step="define training_step(self, batch, batch_idx), or give a loss")
        return model_class
    if is_estimator(model_class) or (not issubclass(model_class, BaseModel) and _has(model_class, _METHODS)):
        return model_class
    if issubclass(model_class, BaseModel):
        missing = sorted(getattr(model_class, "__abstractmethods__", ()))
        if not missing:
            return model_class
    else:
        missing = [method for method in _METHODS if not callable(getattr(model_class, method, None))]
    problem = f"{name} lacks part of the model contract: {', '.join(missing)}"
    raise ModelContractError(
        problem, owner=model_class.__module__, next_step="define it, or pass an nn.Module or a scikit-learn estimator"
    )


def build_model(
    model_class: type[Any], arguments: Mapping[str, Any], context: RunContext, *, loss: Any = None
) -> BaseModel:
    """Build a model from a checked class and connect it with a run.

    Raises:
        ModelContractError: The class does not take the arguments.
    """
    try:
        inspect.signature(model_class).bind(**arguments)
    except TypeError as error:
        problem = f"{model_class.__name__} cannot be built from model.args: {error}"
        raise ModelContractError(problem, owner=model_class.__module__, next_step="correct model.args") from error
    except ValueError:  # a class without signature, such as one written in C
        pass
    instance = model_class(**arguments)
    model: BaseModel
    if is_torch_module(model_class):
        from kladml.models.torch_model import TorchModel

        model = TorchModel(instance, loss=loss)
    elif is_estimator(model_class):
        from kladml.models.sklearn_model import SklearnModel

        model = SklearnModel(instance)
    else:
        model = instance
    model.run = context
    return model


def call_train(model: BaseModel, train_data: Any, val_data: Any) -> dict[str, float]:
    """Call a model's `train` with as much as it takes, and return its metrics as numbers."""
    return _numbers(model.train(*_arguments(model.train, [train_data, val_data])), f"{type(model).__name__}.train")


def call_evaluate(model: BaseModel, data: Any) -> dict[str, float]:
    """Call a model's `evaluate` with as much as it takes, and return its metrics as numbers."""
    return _numbers(model.evaluate(*_arguments(model.evaluate, [data])), f"{type(model).__name__}.evaluate")


def is_torch_module(model_class: type[Any]) -> bool:
    """Tell whether a class is an `nn.Module`, without importing torch for one that is not."""
    torch = sys.modules.get("torch")
    return torch is not None and issubclass(model_class, torch.nn.Module)


def is_estimator(model_class: type[Any]) -> bool:
    """Tell whether a class has the methods of a scikit-learn estimator."""
    return not issubclass(model_class, BaseModel) and _has(model_class, _ESTIMATOR)


def _has(model_class: type[Any], methods: tuple[str, ...]) -> bool:
    return all(callable(getattr(model_class, method, None)) for method in methods)


def _arguments(method: Callable[..., Any], data: list[Any]) -> list[Any]:
    """Return data as the method's positional arguments: `X, y, …`, or whole when it takes one per data set."""
    parameters = inspect.signature(method).parameters.values()
    open_ended = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not open_ended and (len(names) == 1 or (names and names[0].endswith("data"))):
        return data[: len(names)]
    split = [part for whole in data for part in _inputs_and_targets(whole)]
    return split if open_ended else split[: len(names)]


def _inputs_and_targets(data: Any) -> tuple[Any, Any]:
    if isinstance(data, tuple) and len(data) == 2:  # noqa: PLR2004 - inputs and targets
        return data
    return data, None


def _numbers(metrics: Any, where: str) -> dict[str, float]:
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping):
        problem = f"{where} returned {type(metrics).__name__} where metrics by name are expected"
        raise ModelContractError(problem, next_step="return a dict such as {'loss': 0.1}")
    numbers = {}
    for name, value in metrics.items():
        try:
            numbers[str(name)] = float(value)
        except (TypeError, ValueError) as error:
            problem = f"{where} returned {type(value).__name__} as the metric '{name}'"
            raise ModelContractError(problem, next_step="return numbers") from error
    return numbers
