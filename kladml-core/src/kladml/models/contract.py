"""From a class to a model: what is accepted, what it lacks, and how its methods are called."""

from __future__ import annotations

import contextlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Any, cast

from kladml.errors import ModelContractError
from kladml.log import get_logger
from kladml.models.base import BaseModel

if TYPE_CHECKING:
    from kladml.models.context import RunContext

log = get_logger(__name__)

_METHODS = ("train", "predict", "evaluate", "save", "load")
_ESTIMATOR = ("fit", "predict", "get_params", "set_params")
# Names of parameters, by which data is told from a model's own options.
_INPUTS = re.compile(r"^x(_\w+)?$|(^|_)(inputs?|features?)(_|$)", re.IGNORECASE)
_WHOLE = re.compile(r"(data|dataset|loader|^batches|(^|_)set)$", re.IGNORECASE)
_DATA = re.compile(
    rf"{_WHOLE.pattern}|^[xy](_\w+|v|val|t|test|train)?$|^(val|valid|validation|test)(_\w+)?$"
    r"|^(\w+_)?(inputs?|features?|targets?|labels?)(_(train|val|valid|validation|test))?$",
    re.IGNORECASE,
)


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
    missing = sorted(getattr(model_class, "__abstractmethods__", ()))
    if is_torch_module(model_class) and not missing:
        if not callable(getattr(model_class, "training_step", None)) and loss is None:
            problem = f"{name} is an nn.Module without training_step, and no loss was given"
            raise ModelContractError(problem, next_step="define training_step(self, batch, batch_idx), or give a loss")
        return model_class
    if not (missing or is_estimator(model_class) or issubclass(model_class, BaseModel)):
        missing = [method for method in _METHODS if not callable(getattr(model_class, method, None))]
    if not missing:
        return model_class
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
    model: Any
    if is_torch_module(model_class):
        from kladml.models.torch_model import TorchModel

        model = TorchModel(instance, loss=loss)
    elif is_estimator(model_class):
        from kladml.models.sklearn_model import SklearnModel

        model = SklearnModel(instance)
    else:
        model = instance
    if isinstance(model, BaseModel) or not hasattr(model, "run"):
        with contextlib.suppress(AttributeError):  # a class with __slots__ that has no use for it
            model.run = context
    return cast("BaseModel", model)


def call_train(model: BaseModel, train_data: Any, val_data: Any) -> dict[str, float]:
    """Call a model's `train` with as much as it takes, and return its metrics as numbers."""
    positional, named = _arguments(model.train, [train_data, val_data], ("X_train", "y_train", "X_val", "y_val"))
    return _numbers(model.train(*positional, **named), f"{type(model).__name__}.train")


def call_evaluate(model: BaseModel, data: Any) -> dict[str, float]:
    """Call a model's `evaluate` with as much as it takes, and return its metrics as numbers."""
    positional, named = _arguments(model.evaluate, [data], ("X_test", "y_test"))
    metrics = _numbers(model.evaluate(*positional, **named), f"{type(model).__name__}.evaluate")
    if not metrics:
        log.warning(f"{type(model).__name__}.evaluate returned no metrics, so that none are recorded")
    return metrics


def is_torch_module(model_class: type[Any]) -> bool:
    """Tell whether a class is an `nn.Module`, without importing torch for one that is not."""
    torch = sys.modules.get("torch")
    return torch is not None and issubclass(model_class, torch.nn.Module)


def is_estimator(model_class: type[Any]) -> bool:
    """Tell whether a class has the methods of a scikit-learn estimator."""
    return not issubclass(model_class, BaseModel) and _has(model_class, _ESTIMATOR)


def _has(model_class: type[Any], methods: tuple[str, ...]) -> bool:
    return all(callable(getattr(model_class, method, None)) for method in methods)


def _arguments(
    method: Callable[..., Any], data: list[Any], contract: tuple[str, ...]
) -> tuple[list[Any], dict[str, Any]]:
    """Return data as a method's arguments: `X, y, …`, or whole when it takes one per data set.

    A parameter with a default and the name of something else than data, such as `epochs=10`, is the model's own.
    """
    parameters = inspect.signature(method).parameters.values()
    split = [part for whole in data for part in _inputs_and_targets(whole)]
    by_name = dict(zip(contract, split, strict=True))
    named = {p.name: by_name[p.name] for p in parameters if p.kind is p.KEYWORD_ONLY and p.name in by_name}
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return split, named
    positional = (p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
    names = [p.name for p in takewhile(lambda p: p.default is p.empty or _DATA.search(p.name), positional)]
    takes_whole = names and (
        _WHOLE.search(names[0]) or (len(names) == 1 and not named and not _INPUTS.search(names[0]))
    )
    return (data if takes_whole else split)[: len(names)], named


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
