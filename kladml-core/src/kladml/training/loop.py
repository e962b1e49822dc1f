"""The loop over the epochs of one fit: train, validate, judge, save, tell."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kladml.errors import TrainingError
from kladml.training import checkpoints
from kladml.training.callbacks import FitInfo, FitResult
from kladml.training.fitting import uncompiled
from kladml.training.monitor import Monitor, resolve_mode

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kladml.config.schema import TrainingConfig
    from kladml.training.batches import BatchSource
    from kladml.training.callbacks import TrainerCallback
    from kladml.training.checkpoints import CheckpointStore
    from kladml.training.fitting import Fitting


class FitLoop:
    """Decides, epoch by epoch, what is saved and when training ends.

    Args:
        config: How to train.
        fitting: The prepared module and optimizer.
        train: Training batches.
        val: Validation batches, or None.
        store: Where checkpoints go, or None to keep none.
        callbacks: What is told of the progress.
    """

    def __init__(
        self,
        config: TrainingConfig,
        fitting: Fitting,
        train: BatchSource,
        val: BatchSource | None,
        *,
        store: CheckpointStore | None,
        callbacks: Sequence[TrainerCallback],
    ) -> None:
        self.config, self.store, self.callbacks = config, store, callbacks
        self.fitting, self.train, self.val = fitting, train, val
        self.history: list[dict[str, float]] = []
        self.last_checkpoint: Path | None = None
        self.best_checkpoint: Path | None = None
        stopping, saving = self.config.early_stopping, self.config.checkpoint
        default = "val_loss" if val is not None else "loss"
        stop_metric = stopping.monitor or default
        best_metric = saving.monitor or (stop_metric if stopping.enabled else default)
        shared = saving.monitor is None and stopping.enabled
        mode, section = (stopping.mode, "early_stopping") if shared else (saving.mode, "checkpoint")
        best_mode = resolve_mode(mode, best_metric, f"training.{section}.mode")
        self.best = Monitor(best_metric, best_mode)
        fitting.optimization.check_watched(best_metric, best_mode)
        self.stopping: Monitor | None = None
        if stopping.enabled:
            mode = resolve_mode(stopping.mode, stop_metric, "training.early_stopping.mode")
            self.stopping = Monitor(stop_metric, mode, stopping.min_delta)

    def run(self) -> FitResult:
        """Train until the last epoch or step, or until early stopping."""
        self._check_monitored()
        info = self._info()
        for callback in self.callbacks:
            callback.on_fit_started(info)
        stopped_early = False
        for epoch in range(1, self.config.max_epochs + 1):
            metrics = self._epoch(epoch)
            self.history.append(metrics)
            is_best = self.best.update(metrics, epoch)
            for callback in self.callbacks:
                callback.on_epoch_ended(epoch, self.fitting.plan.steps, metrics)
            stopped_early = self._should_stop(metrics, epoch)
            is_last = stopped_early or self.fitting.is_done or epoch == self.config.max_epochs
            every = self.config.checkpoint.every_epochs
            if is_best or is_last or (every and epoch % every == 0):
                self._save(epoch, is_best=is_best)
            if is_last:
                break
        return self._result(stopped_early=stopped_early)

    def _check_monitored(self) -> None:
        """Find out before an epoch is spent what cannot be: from one validation batch, that a metric is missing."""
        if self.config.checkpoint.restore_best and self.store is None:
            problem = "training.checkpoint.restore_best is set, and no checkpoints are kept"
            raise TrainingError(problem, next_step="enable checkpoints and give the trainer a checkpoint_dir")
        monitored = [monitor for monitor in (self.best, self.stopping) if monitor is not None]
        wanted = [monitor for monitor in monitored if monitor.metric.startswith("val_")]
        if not any(monitor.metric != "val_loss" for monitor in wanted) and self.val is not None:
            return
        produced = {} if self.val is None else self.fitting.first_validation_metrics(self.val)
        for monitor in wanted:
            monitor.require({f"val_{name}": value for name, value in produced.items()})

    def _epoch(self, epoch: int) -> dict[str, float]:
        every = self.config.checkpoint.every_steps
        for _ in self.fitting.train_epoch(self.train, epoch, self.callbacks):
            if every and self.fitting.plan.steps % every == 0:
                self._save(epoch, is_best=False)
        metrics = self.fitting.means.read()
        metrics["lr"] = self.fitting.lr
        if self.val is not None:
            metrics |= {f"val_{name}": value for name, value in self.fitting.validate(self.val).items()}
        self.fitting.optimization.end_of_epoch(metrics, self.best.metric)
        return metrics

    def _should_stop(self, metrics: dict[str, float], epoch: int) -> bool:
        if self.stopping is None:
            return False
        self.stopping.update(metrics, epoch)
        return self.stopping.epochs_without_improvement >= self.config.early_stopping.patience

    def _save(self, epoch: int, *, is_best: bool) -> None:
        if self.store is None:
            return
        step = self.fitting.plan.steps
        extra = {
            "best": self.best.state_dict(),
            "early_stopping": self.stopping.state_dict() if self.stopping else None,
            "metrics": self.history[-1] if self.history else {},
        }
        self.last_checkpoint = self.store.save(self.fitting.checkpoint(epoch, extra), step, is_best=is_best)
        self.best_checkpoint = self.last_checkpoint if is_best else self.best_checkpoint
        for callback in self.callbacks:
            callback.on_checkpoint_saved(self.last_checkpoint, step, is_best=is_best)

    def _info(self) -> FitInfo:
        batches, epochs, most = self.train.batches_per_epoch(), self.config.max_epochs, self.config.max_steps
        steps = None if batches is None else math.ceil(batches / self.config.gradient_accumulation_steps)
        if steps and most is not None:
            epochs, steps = min(epochs, math.ceil(most / steps)), min(steps, most)
        return FitInfo(
            max_epochs=epochs,
            steps_per_epoch=steps,
            device=str(self.fitting.accelerator.device),
            mixed_precision=self.config.mixed_precision,
            parameters=sum(p.numel() for p in self.fitting.plan.parameters),
        )

    def _result(self, *, stopped_early: bool) -> FitResult:
        metrics = self.history[-1]
        if self.config.checkpoint.restore_best and self.best_checkpoint is not None:
            metrics = self.history[(self.best.best_epoch or len(self.history)) - 1]
            uncompiled(self.fitting.module).load_state_dict(checkpoints.load(self.best_checkpoint).model)
        return FitResult(
            metrics=metrics,
            history=self.history,
            epochs=len(self.history),
            steps=self.fitting.plan.steps,
            stopped_early=stopped_early,
            best_epoch=self.best.best_epoch,
            best_checkpoint=self.best_checkpoint,
            last_checkpoint=self.last_checkpoint,
        )
