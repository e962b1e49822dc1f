"""What the trainer tells the outside world while it trains."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class FitInfo:
    """What is known before the first step.

    Attributes:
        max_epochs: Passes over the data at most, the last one perhaps cut short by `max_steps`.
        steps_per_epoch: Optimizer steps in a pass, or None when the data has no length.
        device: Where the model trains, such as `cpu` or `cuda:0`.
        mixed_precision: `no`, `fp16` or `bf16`.
        parameters: Number of trainable parameters.
    """

    max_epochs: int
    steps_per_epoch: int | None
    device: str
    mixed_precision: str
    parameters: int


@dataclass(frozen=True, slots=True)
class FitResult:
    """How a training ended.

    Attributes:
        metrics: Metrics of the epoch that the weights are of: the last one, or the best one if it was restored.
        history: Metrics of every epoch, the first epoch first.
        epochs: Epochs that were completed.
        steps: Optimizer steps that were taken.
        stopped_early: Whether early stopping ended it.
        best_epoch: Epoch with the best monitored metric, from 1; None if nothing was monitored.
        best_checkpoint: Folder of the best checkpoint, or None.
        last_checkpoint: Folder of the newest checkpoint, or None.
    """

    metrics: dict[str, float]
    history: list[dict[str, float]] = field(default_factory=list)
    epochs: int = 0
    steps: int = 0
    stopped_early: bool = False
    best_epoch: int | None = None
    best_checkpoint: Path | None = None
    last_checkpoint: Path | None = None


class TrainerCallback:
    """Base of callbacks: override what you need. An exception in a callback ends the training with it.

    In a training of several processes, callbacks are called in the main process only. What a callback has to
    remember when a training is resumed, it returns from `state_dict`; checkpoints keep it.

    ```python
    class PrintLoss(TrainerCallback):
        def on_epoch_ended(self, epoch, step, metrics):
            print(epoch, metrics["loss"])
    ```
    """

    def on_fit_started(self, info: FitInfo) -> None:
        """Called once, before the first step."""

    def on_step(self, epoch: int, step: int, loss: float, lr: float) -> None:
        """Called every `training.log_every` optimizer steps.

        Args:
            epoch: Current epoch, from 1.
            step: Optimizer steps taken so far.
            loss: Mean loss of the epoch so far, per sample.
            lr: Learning rate of the first parameter group.
        """

    def on_epoch_ended(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        """Called after each epoch and its validation, with means per sample."""

    def on_validated(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        """Called after a validation inside an epoch (`training.validate_every_steps`), with means per sample."""

    def on_checkpoint_saved(self, path: Path, step: int, *, is_best: bool) -> None:
        """Called after a checkpoint is complete on the disk."""

    def on_fit_ended(self, result: FitResult) -> None:
        """Called once after the last step, not when the training failed."""

    def state_dict(self) -> dict[str, Any]:
        """Return what the callback has to remember when training is resumed, JSON-able."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; called before the first step of a resumed training, if not empty."""
