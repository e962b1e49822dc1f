"""Optimizers and learning-rate schedules: the model's own, or by name from the configuration."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer, lr_scheduler

from kladml.errors import ModelContractError, WrongTypeError

if TYPE_CHECKING:
    from types import ModuleType

    from torch import nn

    from kladml.config.schema import OptimizerConfig, SchedulerConfig, TrainingConfig

_FUSED_ON_SHARDS = (torch.optim.Adam, torch.optim.AdamW)
"""Optimizers whose fused kernels torch can call on parameters that fsdp has shared out."""


@dataclass
class Optimization:
    """An optimizer with its schedule.

    Attributes:
        optimizer: The optimizer.
        scheduler: The schedule, or None.
        interval: `step` or `epoch`: what the schedule counts.
        monitor: Metric that a `ReduceLROnPlateau` watches, or None for the trainer's own choice.
    """

    optimizer: Optimizer
    scheduler: lr_scheduler.LRScheduler | None = None
    interval: str = "epoch"
    monitor: str | None = None

    def check_watched(self, metric: str, mode: str) -> None:
        """Check that a `ReduceLROnPlateau` without a metric of its own judges the trainer's one the right way round.

        Raises:
            WrongTypeError: It takes for worse what is better.
        """
        plateau = self.scheduler
        if isinstance(plateau, lr_scheduler.ReduceLROnPlateau) and self.monitor is None and plateau.mode != mode:
            problem = f"ReduceLROnPlateau has the mode {plateau.mode}, and the best '{metric}' is its {mode}imum"
            raise WrongTypeError(problem, next_step=f"set the scheduler's argument mode to {mode}")

    def end_of_step(self) -> None:
        """Advance a schedule that counts optimizer steps."""
        if self.scheduler is not None and self.interval == "step":
            self.scheduler.step()

    def end_of_epoch(self, metrics: dict[str, float], monitored: str) -> None:
        """Advance a schedule that counts epochs."""
        if self.scheduler is None or self.interval != "epoch":
            return
        if isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau):
            metric = self.monitor or monitored
            if metric not in metrics:
                problem = f"ReduceLROnPlateau watches '{metric}', which the model does not produce"
                raise ModelContractError(problem, next_step=f"monitor one of: {', '.join(sorted(metrics))}")
            self.scheduler.step(metrics[metric])
        else:
            self.scheduler.step()


def build_optimization(module: nn.Module, config: TrainingConfig) -> Optimization:
    """Return what `module.configure_optimizers()` gives, or what the configuration names.

    `configure_optimizers` may return an optimizer, `(optimizer, scheduler)`, or a dict with `optimizer`,
    `lr_scheduler` (a scheduler, or a dict with `scheduler`, `interval` and `monitor`) and `interval`.

    Raises:
        ModelContractError: It returns something else, or there is nothing to optimize.
        WrongTypeError: The configuration names no optimizer or scheduler of torch, or arguments it lacks.
    """
    if callable(getattr(module, "configure_optimizers", None)):
        return _checked(_from_model(module.configure_optimizers(), module))  # type: ignore[operator]
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not parameters:
        problem = f"{type(module).__name__} has no parameters that could be trained"
        raise ModelContractError(problem, next_step="give it parameters that require gradients")
    fusable = not any(getattr(part, "sparse", False) for part in module.modules())
    fusable_classes = _FUSED_ON_SHARDS if config.strategy == "fsdp" else (Optimizer,)
    optimizer = _named_optimizer(config.optimizer, parameters, fusable_classes if fusable else ())
    scheduler = _named_scheduler(config.scheduler, optimizer)
    return _checked(Optimization(optimizer, scheduler, config.scheduler.interval))


def _checked(optimization: Optimization) -> Optimization:
    if isinstance(optimization.optimizer, torch.optim.LBFGS):
        problem = "LBFGS computes the loss several times in a step, which the trainer does not"
        raise WrongTypeError(problem, next_step="choose another optimizer")
    if isinstance(optimization.scheduler, lr_scheduler.ReduceLROnPlateau) and optimization.interval == "step":
        problem = "ReduceLROnPlateau watches the metrics of an epoch and cannot step with the optimizer"
        raise WrongTypeError(problem, next_step="set its interval to epoch")
    return optimization


def _from_model(returned: Any, module: nn.Module) -> Optimization:
    if isinstance(returned, Optimizer):
        return Optimization(returned)
    optimizer, schedule, interval, monitor = None, None, "epoch", None
    if isinstance(returned, tuple) and len(returned) == 2:  # noqa: PLR2004 - optimizer and scheduler
        optimizer, schedule = (part[0] if isinstance(part, list) and len(part) == 1 else part for part in returned)
    elif isinstance(returned, dict):
        optimizer, schedule = returned.get("optimizer"), returned.get("lr_scheduler")
        interval, monitor = returned.get("interval", interval), returned.get("monitor")
    if isinstance(schedule, dict):
        interval, monitor = schedule.get("interval", interval), schedule.get("monitor", monitor)
        schedule = schedule.get("scheduler")
    known_schedule = schedule is None or isinstance(schedule, lr_scheduler.LRScheduler)
    if not (isinstance(optimizer, Optimizer) and known_schedule and interval in ("step", "epoch")):
        problem = f"configure_optimizers of {type(module).__name__} returned {type(returned).__name__}"
        raise ModelContractError(
            problem, next_step="return an optimizer, (optimizer, scheduler), or {'optimizer': …, 'lr_scheduler': …}"
        )
    return Optimization(optimizer, schedule, interval, monitor)


def _named_optimizer(
    config: OptimizerConfig, parameters: list[nn.Parameter], fusable: tuple[type[Optimizer], ...]
) -> Optimizer:
    """Return an optimizer by name, fused where torch has that: the same algorithm in a third of the time on a CPU."""
    chosen = _class_named(config.name, torch.optim, Optimizer, "training.optimizer.name")
    arguments = {"lr": config.lr, **config.args}
    decided = any(arguments.get(name) for name in ("fused", "foreach", "capturable", "differentiable"))
    real = all(torch.is_floating_point(parameter) for parameter in parameters)
    if "fused" not in arguments and not decided and real and issubclass(chosen, fusable):
        has_fused = "fused" in inspect.signature(chosen).parameters
        arguments |= {"fused": True} if has_fused else {}
    return _call(chosen, parameters, arguments, "training.optimizer.args")  # type: ignore[no-any-return]


def _named_scheduler(config: SchedulerConfig, optimizer: Optimizer) -> lr_scheduler.LRScheduler | None:
    if config.name is None:
        return None
    chosen = _class_named(config.name, lr_scheduler, lr_scheduler.LRScheduler, "training.scheduler.name")
    return _call(chosen, optimizer, config.args, "training.scheduler.args")  # type: ignore[no-any-return]


def _class_named(name: str, module: ModuleType, base: type[Any], key: str) -> type[Any]:
    classes = {
        attribute.lower(): value
        for attribute, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base) and value is not base and not attribute.startswith("_")
    }
    if name.lower() in classes:
        return classes[name.lower()]
    close = get_close_matches(name.lower(), classes, n=1)
    problem = f"{key} '{name}' is not in {module.__name__}"
    names = ", ".join(sorted(found.__name__ for found in classes.values()))
    step = f"did you mean {classes[close[0]].__name__}?" if close else f"choose one of {names}"
    raise WrongTypeError(problem, next_step=step)


def _call(chosen: type[Any], first: Any, arguments: dict[str, Any], key: str) -> Any:
    try:
        return chosen(first, **arguments)
    except (TypeError, ValueError) as error:
        problem = f"{chosen.__name__} does not take {key}: {error}"
        raise WrongTypeError(problem, next_step=f"see the documentation of torch's {chosen.__name__}") from error
