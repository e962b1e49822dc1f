"""How a module's loss is computed, in one module whose `forward` is a whole step.

Everything that needs gradients goes through that one `forward`, because data-parallel wrappers synchronise
gradients only for calls through the wrapped module.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, cast

import torch
from torch import nn

from kladml.errors import ModelContractError, TrainingError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_OF_CLASSES = ("CrossEntropyLoss", "MultiLabelMarginLoss", "cross_entropy", "multilabel_margin_loss")
"""Losses of torch that take numbers of classes also where target and output have one shape."""


def resolve_loss(loss: str | Loss | type[nn.Module] | None) -> Loss | None:
    """Return a loss as a function of output and target.

    Args:
        loss: A function, a loss module or its class, or the name of a function in `torch.nn.functional`, with
            or without the ending `_loss`.

    Raises:
        ModelContractError: There is no such name, or it is no function.
    """
    if loss is None:
        return None
    if isinstance(loss, str):
        losses = _named_losses()
        if loss in losses:
            return losses[loss]
        close = get_close_matches(loss, losses, n=1)
        problem = f"there is no loss named '{loss}' in torch.nn.functional"
        step = f"did you mean {close[0]}?" if close else "write a name such as cross_entropy or mse, or module:function"
        raise ModelContractError(problem, next_step=step)
    built: object = loss() if isinstance(loss, type) else loss
    if not callable(built):
        problem = f"the loss is a {type(built).__name__}, which cannot be called"
        raise ModelContractError(problem, next_step="pass a function of output and target, or the name of a loss")
    return cast("Loss", built)


def _named_losses() -> dict[str, Loss]:
    """Return the losses of torch by their names, and by those without the ending."""
    losses: dict[str, Loss] = {}
    for name, found in vars(nn.functional).items():
        if callable(found) and not name.startswith("_") and ("loss" in name or "entropy" in name):
            losses |= {name: found, name.removesuffix("_loss"): found}
    return losses


class StepModule(nn.Module):
    """A module together with its loss: `forward(batch, index, stage)` returns the loss and further metrics.

    Args:
        module: The user's module.
        loss: Loss of a module that has no `training_step`.

    Raises:
        ModelContractError: The module has neither a `training_step` nor a loss.
    """

    def __init__(self, module: nn.Module, loss: Loss | None = None) -> None:
        super().__init__()
        self.module = module
        self.loss = loss
        self._is_torch_loss = getattr(loss, "__module__", "").startswith("torch")
        self._wants_classes = getattr(loss, "__name__", type(loss).__name__) in _OF_CLASSES
        self._has_step = callable(getattr(module, "training_step", None))
        if not self._has_step and loss is None:
            problem = f"{type(module).__name__} has no training_step, and no loss was given"
            raise ModelContractError(problem, next_step="define training_step(self, batch, batch_idx), or pass loss=")
        self._steps = {stage: _step_of(module, stage) for stage in ("train", "val")} if self._has_step else {}

    def forward(self, batch: Any, index: int, stage: str) -> tuple[torch.Tensor, dict[str, Any]]:
        """Compute one step.

        Args:
            batch: The batch, on the module's device.
            index: Position of the batch in the epoch, from 0.
            stage: `train`, `val`, or `warm` for a loss of 0 that touches every parameter and no batch.

        Returns:
            The loss (a scalar, the mean over the batch) and further detached scalars by name; `num_items` among them
            is how many items, such as tokens, the loss is the mean of.
        """
        if stage == "warm":
            return self._touch_all(), {}
        if self._steps:
            return _loss_and_metrics(self._steps[stage](batch, index), type(self.module).__name__)
        return self._plain_step(batch)

    def _touch_all(self) -> torch.Tensor:
        """Return a zero that depends on every trained parameter, in their order."""
        sparse = {id(part.weight) for part in self.modules() if getattr(part, "sparse", False)}
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return torch.stack([_touch(parameter, sparse=id(parameter) in sparse) for parameter in trained]).sum()

    def _plain_step(self, batch: Any) -> tuple[torch.Tensor, dict[str, Any]]:
        if not (isinstance(batch, list | tuple) and len(batch) == 2):  # noqa: PLR2004 - inputs and targets
            problem = f"{type(self.module).__name__} with loss= needs batches of (inputs, targets)"
            raise ModelContractError(
                problem, next_step="give (X, y) for training and validation, or define training_step"
            )
        inputs, target = batch
        output = self.module(inputs)
        assert self.loss is not None  # noqa: S101 - held by __init__
        if getattr(output, "shape", None) == getattr(target, "shape", None):
            return self.loss(output, self._as_values(target, output)), {}
        if self._would_broadcast(output, target):
            problem = (
                f"the output of {type(self.module).__name__} has shape {tuple(output.shape)} and the target "
                f"{tuple(target.shape)}, which a loss would broadcast to a wrong result"
            )
            raise ModelContractError(problem, next_step="make both shapes equal")
        loss = self.loss(output, self._as_classes(target))
        if not _is_classification(output, target):
            return loss, {}
        return loss, {"accuracy": (output.detach().argmax(1) == target).float().mean()}

    def _as_values(self, target: Any, output: Any) -> Any:
        """Return targets of the shape of the output in the type that torch's losses want.

        Files do not always have it: a CSV file does not tell 3 from 3.0.
        """
        if not self._has_other_type(target):
            return target
        if self._wants_classes:
            return target.to(torch.long)
        if not isinstance(output, torch.Tensor):
            return target
        is_rounding = torch.is_autocast_enabled(output.device.type)  # 16 bits would round 257 to 256
        return target.to(torch.promote_types(output.dtype, torch.float32) if is_rounding else output.dtype)

    def _as_classes(self, target: Any) -> Any:
        """Return targets as the numbers of classes that torch's losses want."""
        return target.to(torch.long) if self._has_other_type(target) else target

    def _has_other_type(self, target: Any) -> bool:
        """Tell whether targets for a loss of torch are whole numbers or truths."""
        if not (self._is_torch_loss and isinstance(target, torch.Tensor)):
            return False
        return not (target.is_floating_point() or target.is_complex())

    def _would_broadcast(self, output: Any, target: Any) -> bool:
        """Tell whether the loss would stretch one of them to the other's shape and be silent about it.

        A loss of torch with real targets wants equal shapes. A function of the user's own, and one with class
        numbers, may want others, but none wants (n, 1) with (n,).
        """
        if not (isinstance(output, torch.Tensor) and isinstance(target, torch.Tensor)) or output.shape == target.shape:
            return False
        if target.is_floating_point() and self._is_torch_loss:
            return True
        return [size for size in output.shape if size != 1] == [size for size in target.shape if size != 1]


def _touch(parameter: nn.Parameter, *, sparse: bool) -> torch.Tensor:
    """Return a zero whose gradient is of the kind that the parameter gets in training."""
    if not sparse:
        return parameter.real.sum() * 0.0 if parameter.is_complex() else parameter.sum() * 0.0
    first = torch.zeros(1, dtype=torch.long, device=parameter.device)
    return nn.functional.embedding(first, parameter, sparse=True).sum() * 0.0


def _is_classification(output: Any, target: Any) -> bool:
    """Tell whether the output holds scores of classes, shape (n, classes), and the target their numbers, (n,)."""
    if not (isinstance(output, torch.Tensor) and isinstance(target, torch.Tensor)):
        return False
    scores = output.dim() == 2 and output.shape[1] > 1  # noqa: PLR2004 - (n, classes)
    return scores and target.dim() == 1 and not target.is_floating_point()


def _step_of(module: nn.Module, stage: str) -> Callable[[Any, int], Any]:
    step = getattr(module, "validation_step", None) if stage == "val" else None
    step = step if callable(step) else module.training_step
    parameters = inspect.signature(step).parameters.values()  # type: ignore[arg-type]
    takes_index = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters) > 1
    takes_index = takes_index or any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return step if takes_index else lambda batch, _: step(batch)  # type: ignore[operator,return-value]


def _loss_and_metrics(result: Any, model: str) -> tuple[torch.Tensor, dict[str, Any]]:
    if isinstance(result, torch.Tensor) and result.dim() == 0:
        return result, {}
    values = dict(result) if isinstance(result, Mapping) else {"loss": result}
    loss = values.pop("loss", None)
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        got = type(loss).__name__ if not isinstance(loss, torch.Tensor) else f"a tensor of shape {tuple(loss.shape)}"
        problem = (
            f"the step of {model} must return the loss as a scalar tensor, or a dict with one as 'loss', not {got}"
        )
        raise TrainingError(problem, next_step="return the mean loss over the batch")
    loss = loss.reshape(()) if loss.dim() else loss  # not even a view of it: FSDP warns of views
    return loss, {name: _metric(value, name, model) for name, value in values.items()}


def _metric(value: Any, name: str, model: str) -> float | torch.Tensor:
    """Return a metric as a number, or as a tensor that stays where it is."""
    shape = getattr(value, "shape", ())
    if math.prod(shape) != 1:
        problem = f"the metric '{name}' of {model} has shape {tuple(shape)}"
        raise TrainingError(problem, next_step="return its mean over the batch")
    if isinstance(value, torch.Tensor):
        return value.detach().reshape(())
    try:
        return float(value.reshape(()) if shape else value)
    except (TypeError, ValueError) as error:
        problem = f"the metric '{name}' of {model} is a {type(value).__name__}, not a number"
        raise TrainingError(problem, next_step="return its mean over the batch") from error
