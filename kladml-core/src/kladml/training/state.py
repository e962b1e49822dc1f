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
from kladml.training.compatibility import check_compatible, classes_of, strategy_of
from kladml.training.data_parallel import buffers_of, put_back_buffers
from kladml.training.fitting import uncompiled
from kladml.training.rng import restore_rng, rng_state
from kladml.training.seeding import derived_seed, seed_everything

if TYPE_CHECKING:
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
    model = fitting.strategy.weights(uncompiled(fitting.module))
    ranks = fitting.ranks.gather(_of_this_process(fitting))
    tensors, rest = optimizer_content(fitting.optimization.optimizer.state_dict())
    scheduler, scaler = fitting.optimization.scheduler, fitting.accelerator.scaler
    state = {
        "format": FORMAT,
        "epoch": epoch,
        "position": fitting.position,
        "in_window": fitting.plan.in_window,
        "step": fitting.plan.steps,
        "seed": fitting.config.seed,
        "classes": classes_of(fitting),
        "optimizer": rest,
        "scheduler": scheduler.state_dict() if scheduler is not None else None,
        "scaler": scaler.state_dict() if scaler is not None else None,
        "world_size": fitting.ranks.world,
        "config": asdict(fitting.config),
        "versions": {name: version(name) for name in ("kladml-core", "torch", "accelerate")},
        "saved_at": time.time(),
        **extra,
    }
    return Checkpoint(model, fitting.strategy.whole(tensors), state, ranks)


def restore(fitting: Fitting, checkpoint: Checkpoint, path: Path, *, allow_world_change: bool) -> None:
    """Put a fit into the state that `capture` returned, but for the random numbers.

    Raises:
        CheckpointError: It does not fit: another module, optimizer or number of processes.
    """
    state = checkpoint.state
    if state.get("format") != FORMAT:
        problem = f"the checkpoint {path} is of format {state.get('format')}, and this version resumes format {FORMAT}"
        raise CheckpointError(problem, next_step="start a new training from its weights with load_weights")
    check_compatible(fitting, state, path, allow_world_change=allow_world_change)
    try:
        kept = optimizer_state(checkpoint.optimizer, state["optimizer"])
        if strategy_of(state) != fitting.config.strategy:
            _keep_kernels(fitting.optimization.optimizer, kept)
        fitting.strategy.load(uncompiled(fitting.module), checkpoint.model)
        kept = fitting.strategy.optimizer_state(kept, fitting.plan.parameters)
        fitting.optimization.optimizer.load_state_dict(kept)
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
    if gradients:
        used = sorted({int(name.split(".")[1]) for name in gradients})
        fitting.strategy.note_used([fitting.plan.parameters[index] for index in used])
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


def _own(tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    own: dict[str, Any] = json.loads(tensors["state"].numpy().tobytes())
    return own
