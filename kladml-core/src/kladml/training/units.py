"""Which submodules FSDP puts together and takes apart as one."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import torch
from torch import nn

from kladml.errors import ModelContractError, TrainingError, WrongTypeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from kladml.training.objective import StepModule

_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)


def units_of(step_module: StepModule, names: Sequence[str]) -> list[nn.Module]:
    """Return the units of a step module, inner ones first and itself last.

    Args:
        step_module: The step module.
        names: Classes whose instances are units; without them, the members of each outermost `ModuleList`,
            `ModuleDict` and `Sequential` are, unless they share a parameter with something outside.

    Raises:
        WrongTypeError: A name is no class in the module.
        ModelContractError: A named unit shares a parameter with something outside.
    """
    inner = _named(step_module, names) if names else list(_members(step_module))
    units = [*dict.fromkeys(reversed(inner)), step_module]  # a part may be a member of several containers
    shared = _shared(own_parameters(step_module, units))
    if not shared:
        return units
    if names:
        unit, name = next(iter(shared.items()))
        problem = f"training.fsdp_wrap names {type(unit).__name__}, whose parameter {name} is also used outside of it"
        raise ModelContractError(problem, next_step="name a class that holds both uses, or none")
    return [unit for unit in units if unit is step_module or unit not in shared]


def own_parameters(step_module: StepModule, units: Iterable[nn.Module]) -> dict[nn.Module, dict[str, nn.Parameter]]:
    """Return, by unit, the parameters that are not an inner unit's, by their names in the user's module."""
    found: dict[nn.Module, dict[str, nn.Parameter]] = {unit: {} for unit in units}

    def collect(part: nn.Module, unit: nn.Module, prefix: str) -> None:
        unit = part if part in found else unit
        for name, parameter in part.named_parameters(recurse=False):
            found[unit][(prefix + name).removeprefix("module.")] = parameter
        for name, child in part.named_children():
            collect(child, unit, f"{prefix}{name}.")

    collect(step_module, step_module, "")
    return found


def check_shardable(owned: Mapping[nn.Module, Mapping[str, nn.Parameter]]) -> None:
    """Check that each unit's parameters are of a kind that can be shared out together.

    Raises:
        ModelContractError: One is not.
    """
    for unit, parameters in owned.items():
        for part in unit.modules():
            if getattr(part, "sparse", False):
                problem = f"{type(part).__name__} has sparse gradients, which cannot be shared out"
                raise ModelContractError(problem, next_step="give it sparse=False, or set training.strategy to ddp")
        for name, parameter in parameters.items():
            if not parameter.dim():
                problem = f"the parameter {name} is a single number of no dimension, which cannot be shared out"
                raise ModelContractError(problem, next_step="give it the shape (1,), or set training.strategy to ddp")
            if not parameter.is_contiguous():
                problem = f"the parameter {name} is not contiguous, and is shared out by rows"
                raise ModelContractError(problem, next_step="make it contiguous, or set training.strategy to ddp")
        kinds: dict[torch.dtype, str] = {p.dtype: name for name, p in parameters.items() if p.requires_grad}
        if len(kinds) > 1:
            (one, first), (other, second) = list(kinds.items())[:2]
            problem = f"the parameters {first} of {one} and {second} of {other} would be put together as one"
            raise ModelContractError(problem, next_step="name the class of a part with one of them in fsdp_wrap")


def cannot_be_sharded(error: BaseException) -> TrainingError | None:
    """Return an error for what torch cannot do with shared out parameters, or None for any other error."""
    said = str(error)
    if "mixed torch.Tensor and DTensor" in said:
        problem = (
            f"with strategy fsdp, a parameter was used outside of the forward pass of the part that has it: {said}"
        )
        hint = "name in training.fsdp_wrap classes whose parameters are used by calling them, or the module's own class"
        return TrainingError(problem, next_step=hint)
    if "sharding strategy registered" in said or "require placement changes" in said:
        problem = f"with strategy fsdp, torch cannot compute this on parts of parameters: {said}"
        return TrainingError(problem, next_step="choose another optimizer, or set training.strategy to ddp")
    return None


def _named(step_module: StepModule, names: Sequence[str]) -> list[nn.Module]:
    parts = [part for part in step_module.modules() if part is not step_module]
    classes = {type(part).__name__ for part in parts}
    for name in names:
        if name not in classes:
            close = get_close_matches(name, classes, n=1)
            problem = f"training.fsdp_wrap names {name}, and no part of {type(step_module.module).__name__} is one"
            step = f"did you mean {close[0]}?" if close else f"choose among {', '.join(sorted(classes))}"
            raise WrongTypeError(problem, next_step=step)
    whole = (step_module.module, getattr(step_module.module, "_orig_mod", None))  # the step's own unit has it
    return [part for part in parts if type(part).__name__ in names and not any(part is each for each in whole)]


def _members(part: nn.Module) -> Iterator[nn.Module]:
    """Give the members of the outermost containers, outer ones first."""
    for child in part.children():
        is_member = isinstance(part, _CONTAINERS) and not isinstance(child, _CONTAINERS)
        if is_member and any(True for _ in child.parameters()):
            yield child
        else:
            yield from _members(child)


def _shared(owned: Mapping[nn.Module, Mapping[str, nn.Parameter]]) -> dict[nn.Module, str]:
    """Return the units that share a parameter with another one, and its name."""
    owners: dict[int, set[nn.Module]] = {}
    for unit, parameters in owned.items():
        for parameter in parameters.values():
            owners.setdefault(id(parameter), set()).add(unit)
    return {
        unit: name
        for unit, parameters in owned.items()
        for name, parameter in parameters.items()
        if len(owners[id(parameter)]) > 1
    }
