"""Whether a training can go on from a checkpoint: it has to be the one that saved it, but for what is allowed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kladml.errors import CheckpointError
from kladml.log import get_logger

if TYPE_CHECKING:
    from pathlib import Path

    from kladml.training.fitting import Fitting

log = get_logger(__name__)


def check_compatible(fitting: Fitting, state: dict[str, Any], path: Path, *, allow_world_change: bool) -> None:
    """Check that what a checkpoint holds means the same for a fit.

    Args:
        fitting: The fit.
        state: The checkpoint's state.
        path: The checkpoint.
        allow_world_change: Whether another number of processes or another strategy is accepted, which is said.

    Raises:
        CheckpointError: It does not.
    """
    _check_order(fitting, state, path)
    before, now = state["world_size"], fitting.ranks.world
    if before != now:
        follows = "every sample is still seen once per epoch, and the results will differ from then on"
        _accept_change(state, path, f"{before} processes", str(now), follows, is_allowed=allow_world_change)
    saved_by, strategy = strategy_of(state), fitting.config.strategy
    if saved_by != strategy:
        follows = "results will differ by rounding from then on"
        _accept_change(state, path, f"strategy {saved_by}", strategy, follows, is_allowed=allow_world_change)
    for part, kind in classes_of(fitting).items():
        saved = state["classes"][part]
        if saved != kind:
            problem = f"the checkpoint {path} was saved with the {part} {saved}, and this training has {kind}"
            raise CheckpointError(problem, next_step="configure the training as it was")


def classes_of(fitting: Fitting) -> dict[str, str]:
    """Return the classes of what brings a state of its own, as one would silently take over another's."""
    optimization, scaler = fitting.optimization, fitting.accelerator.scaler
    parts = {"optimizer": optimization.optimizer, "scheduler": optimization.scheduler, "scaler": scaler}
    return {name: type(part).__name__ for name, part in parts.items()}


def strategy_of(state: dict[str, Any]) -> str:
    """Return the strategy of a checkpoint's training; those from before there was a choice do not name it."""
    return str(state["config"].get("strategy", "ddp"))


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


def _accept_change(state: dict[str, Any], path: Path, before: str, now: str, follows: str, *, is_allowed: bool) -> None:
    """Check that processes may share the work in another way, which the gradients of a window do not outlive."""
    change = f"the checkpoint {path} is of a training with {before}, and this one has {now}"
    if not is_allowed:
        raise CheckpointError(change, next_step=f"use {before}, or --allow-world-change, after which results differ")
    if state["in_window"]:
        problem = f"{change}, and it was saved inside an accumulation window, whose gradients cannot be shared out anew"
        raise CheckpointError(problem, next_step=f"use {before}, or an older checkpoint")
    log.warning(f"{change}: {follows}")
