"""The state of a fit as a checkpoint holds it, and how a fit goes on from one."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from importlib_metadata import version
from safetensors.torch import load, save

from kladml.errors import CheckpointError
from kladml.log import get_logger
from kladml.training.checkpointing.store import Checkpoint, optimizer_content, optimizer_state
from kladml.training.data_parallel import buffers_of, note_used, put_back_buffers
from kladml.training.fitting import uncompiled
from kladml.training.rng import restore_rng, rng_state
from kladml.training.seeding import derived_seed, seed_everything

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kladml.training.fitting import Fitting

FORMAT = 2

log = get_logger(__name__)


def capture(fitting: Fitting, epoch: int, extra: dict[str, Any]) -> Checkpoint:
    """Return the state after the current batch; every process calls it, and the main one's is complete.

    Args:
        fitting: The fit.
        epoch: Current epoch, from 1.
        extra: What the loop adds to the state, JSON-able.
    """
    if not fitting.plan.in_window:
        fitting.ranks.share(fitting.module.buffers())
    sharding = fitting.sharding
    if sharding is not None:
        sharding.reshard()
    ranks = fitting.ranks.gather(_of_this_process(fitting))
    model = dict(uncompiled(fitting.module).state_dict())
    tensors, rest = optimizer_content(fitting.optimization.optimizer.state_dict())
    if sharding is not None:
        model, tensors = sharding.whole(model), sharding.whole(tensors)
    scheduler, scaler = fitting.optimization.scheduler, fitting.accelerator.scaler
    state = {
        "format": FORMAT,
        "epoch": epoch,
        "position": fitting.position,
        "in_window": fitting.plan.in_window,
        "step": fitting.plan.steps,
        "seed": fitting.config.seed,
        "classes": _classes(fitting),
        "optimizer": rest,
        "scheduler": scheduler.state_dict() if scheduler is not None else None,
        "scaler": scaler.state_dict() if scaler is not None else None,
        "world_size": fitting.ranks.world,
        "config": asdict(fitting.config),
        "versions": {name: version(name) for name in ("kladml-core", "torch", "accelerate")},
        "saved_at": time.time(),
        **extra,
    }
    return Checkpoint(model, tensors, state, ranks)


def restore(fitting: Fitting, checkpoint: Checkpoint, path: Path, *, allow_world_change: bool) -> None:
    """Put a fit into the state that `capture` returned, but for the random numbers.

    Raises:
        CheckpointError: It does not fit: another module, optimizer or number of processes.
    """
    state = checkpoint.state
    if state.get("format") != FORMAT:
        problem = f"the checkpoint {path} is of format {state.get('format')}, and this version resumes format {FORMAT}"
        raise CheckpointError(problem, next_step="start a new training from its weights with load_weights")
    _check_order(fitting, state, path)
    _check_world(fitting, state, path, allow_world_change=allow_world_change)
    _check_strategy(fitting, state, path, allow_world_change=allow_world_change)
    for part, now in _classes(fitting).items():
        before = state["classes"][part]
        if before != now:
            problem = f"the checkpoint {path} was saved with the {part} {before}, and this training has {now}"
            raise CheckpointError(problem, next_step="configure the training as it was")
    try:
        kept = optimizer_state(checkpoint.optimizer, state["optimizer"])
        if _strategy(state) != fitting.config.strategy:
            _keep_kernels(fitting.optimization.optimizer, kept)
        _load(fitting, checkpoint.model, kept)
    except (RuntimeError, ValueError, KeyError) as error:
        problem = f"the checkpoint {path} does not fit {type(fitting.module).__name__} and its optimizer: {error}"
        raise CheckpointError(problem, next_step="build both as they were when it was saved") from error
    _lay_out_as_parameters(fitting.optimization.optimizer)
    scheduler, scaler = fitting.optimization.scheduler, fitting.accelerator.scaler
    for owner, name in ((scheduler, "scheduler"), (scaler, "scaler")):
        if owner is not None:
            owner.load_state_dict(state[name])
    fitting.resumed(state["step"])
    fitting.position = state["position"]


def restore_process(fitting: Fitting, checkpoint: Checkpoint) -> None:
    """Restore what each process has of its own: running sums, gradients inside a window, and random numbers, last.

    With another number of processes than before, each gets new random numbers; which samples are still to come in
    the epoch stays exact.
    """
    ranks, state = fitting.ranks, checkpoint.state
    if state["world_size"] != ranks.world:
        if ranks.is_main:
            fitting.means.load_joined(_own(load(data))["means"] for data in checkpoint.ranks)
        seed_everything(derived_seed("resumed", fitting.config.seed, ranks.rank, ranks.world, state["step"]))
        return
    tensors = load(checkpoint.ranks[ranks.rank])
    own = _own(tensors)
    fitting.means.load_state_dict(own["means"])
    gradients = {name: tensor for name, tensor in tensors.items() if name.startswith("grad.")}
    if ranks.world > 1 and gradients and fitting.sharding is None:
        note_used(fitting.plan.parameters[index] for index in sorted({int(name.split(".")[1]) for name in gradients}))
    fitting.plan.load_state_dict(own["window"], gradients)
    if ranks.world > 1 and fitting.plan.in_window:
        kept = {name.removeprefix("buffer."): tensor for name, tensor in tensors.items()}
        put_back_buffers(fitting.module, fitting.step_module, kept)
    restore_rng(tensors, fitting.accelerator.device)


def _of_this_process(fitting: Fitting) -> bytes:
    apart = fitting.ranks.world > 1 and fitting.plan.in_window
    buffers = buffers_of(fitting.module) if apart else {}
    own = {"means": fitting.means.state_dict(), "window": fitting.plan.state_dict()}
    tensors = {
        "state": torch.frombuffer(bytearray(json.dumps(own).encode()), dtype=torch.uint8),
        **fitting.plan.gradients(),
        **{f"buffer.{name}": buffer for name, buffer in buffers.items()},
        **rng_state(fitting.accelerator.device),
    }
    return save(tensors)


def _load(fitting: Fitting, weights: Mapping[str, torch.Tensor], optimizer: dict[str, Any]) -> None:
    """Load weights and an optimizer's state, of which each process takes its part where they are shared out."""
    module, sharding = uncompiled(fitting.module), fitting.sharding
    if sharding is None:
        module.load_state_dict(weights)
    else:
        sharding.load(module, weights)
        optimizer = sharding.optimizer_state(optimizer, fitting.plan.parameters)
    fitting.optimization.optimizer.load_state_dict(optimizer)


def _keep_kernels(optimizer: torch.optim.Optimizer, kept: dict[str, Any]) -> None:
    """Let an optimizer call the kernels that it was built for: not all of them can work on parts of parameters."""
    for saved, now in zip(kept["param_groups"], optimizer.param_groups, strict=False):
        saved.update({name: now[name] for name in ("fused", "foreach") if name in now})


def _lay_out_as_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Let moments lie in memory as their parameters do: fused kernels walk both side by side."""
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            alike = isinstance(value, torch.Tensor) and value.shape == parameter.shape
            if alike and value.stride() != parameter.stride():
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _classes(fitting: Fitting) -> dict[str, str]:
    """Return the classes of what brings a state of its own, as one would silently take over another's."""
    optimization, scaler = fitting.optimization, fitting.accelerator.scaler
    parts = {"optimizer": optimization.optimizer, "scheduler": optimization.scheduler, "scaler": scaler}
    return {name: type(part).__name__ for name, part in parts.items()}


def _own(tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    own: dict[str, Any] = json.loads(tensors["state"].numpy().tobytes())
    return own


def _check_order(fitting: Fitting, state: dict[str, Any], path: Path) -> None:
    """Check what decides which samples come when: with another order, some would be seen twice and others never."""
    before, now = state["config"], asdict(fitting.config)
    for key in ("seed", "shuffle", "batch_size", "gradient_accumulation_steps"):
        if before.get(key) != now[key]:
            problem = (
                f"the checkpoint {path} is of a training with {key} {before.get(key)}, and this one has {now[key]}"
            )
            raise CheckpointError(
                problem, next_step="configure the training as it was, or start a new one from its weights"
            )


def _check_world(fitting: Fitting, state: dict[str, Any], path: Path, *, allow_world_change: bool) -> None:
    before, now = state["world_size"], fitting.ranks.world
    if before == now:
        return
    change = f"the checkpoint {path} is of a training with {before} processes, and this one has {now}"
    if not allow_world_change:
        raise CheckpointError(
            change, next_step=f"use {before} processes, or --allow-world-change, after which results differ"
        )
    if state["in_window"]:
        problem = f"{change}, and it was saved inside an accumulation window, whose gradients cannot be shared out anew"
        raise CheckpointError(problem, next_step=f"use {before} processes, or an older checkpoint")
    log.warning(f"{change}: every sample is still seen once per epoch, and the results will differ from then on")


def _strategy(state: dict[str, Any]) -> str:
    """Return the strategy of a checkpoint's training; those from before there was a choice do not name it."""
    return str(state["config"].get("strategy", "ddp"))


def _check_strategy(fitting: Fitting, state: dict[str, Any], path: Path, *, allow_world_change: bool) -> None:
    """Check that gradients are added up as before: each unit's by themselves, or all of them."""
    before, now = _strategy(state), fitting.config.strategy
    if before == now:
        return
    change = f"the checkpoint {path} is of a training with strategy {before}, and this one has {now}"
    if not allow_world_change:
        raise CheckpointError(
            change, next_step=f"use strategy {before}, or --allow-world-change, after which results differ by rounding"
        )
    if state["in_window"]:
        problem = f"{change}, and it was saved inside an accumulation window, whose gradients cannot be shared out anew"
        raise CheckpointError(problem, next_step=f"use strategy {before}, or an older checkpoint")
    log.warning(f"{change}: results will differ by rounding from then on")
