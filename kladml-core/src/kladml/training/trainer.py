"""The Universal Trainer: PyTorch training on Hugging Face Accelerate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import send_to_device

from kladml.config.schema import TrainingConfig
from kladml.errors import DataError
from kladml.training import checkpoints
from kladml.training.batches import batch_source
from kladml.training.callbacks import FitInfo, FitResult
from kladml.training.checkpoints import CheckpointStore
from kladml.training.fitting import Fitting, evaluate, evaluation_mode
from kladml.training.monitor import Monitor, resolve_mode
from kladml.training.objective import StepModule, resolve_loss
from kladml.training.seeding import seed_everything

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from torch import nn

    from kladml.training.batches import BatchSource
    from kladml.training.callbacks import TrainerCallback
    from kladml.training.objective import Loss


class UniversalTrainer:
    """Trains, validates and predicts with any `nn.Module`.

    ```python
    trainer = UniversalTrainer(TrainingConfig(max_epochs=5, batch_size=64))
    result = trainer.fit(net, (X_train, y_train), (X_val, y_val), loss="cross_entropy")
    print(result.metrics["val_accuracy"])
    ```

    A module either has `training_step(batch, batch_idx)`, which returns its loss or a dict with `loss` and
    further metrics (and may have `validation_step` and `configure_optimizers`), or is trained with `loss=` on
    batches of `(inputs, targets)`.

    Args:
        config: How to train.
        checkpoint_dir: Where checkpoints go; without it none are saved.
        callbacks: What is told of the training's progress.
    """

    def __init__(
        self,
        config: TrainingConfig | None = None,
        *,
        checkpoint_dir: Path | None = None,
        callbacks: Iterable[TrainerCallback] = (),
    ) -> None:
        self.config = config or TrainingConfig()
        self.callbacks = list(callbacks)
        self._store = None
        if checkpoint_dir is not None and self.config.checkpoint.enabled:
            self._store = CheckpointStore(checkpoint_dir, keep_last=self.config.checkpoint.keep_last)

    def fit(
        self, module: nn.Module, train_data: Any, val_data: Any = None, *, loss: str | Loss | None = None
    ) -> FitResult:
        """Train a module in place.

        Args:
            module: The module.
            train_data: `(X, y)`, arrays, a `Dataset`, a `DataLoader` or an iterable of batches.
            val_data: Validation data in any of these forms; its metrics get the prefix `val_`.
            loss: For a module without `training_step`: a function of output and target that returns the mean
                over the batch, or the name of one in `torch.nn.functional`.

        Returns:
            How the training ended.

        Raises:
            DataError: The data is empty or inconsistent.
            ModelContractError: The module cannot be trained as it is.
            MissingMetricError: A monitored metric is not produced.
            NonFiniteError: The loss or a gradient became NaN or infinite.
            TrainingError: The device or the precision is not available.
        """
        seed_everything(self.config.seed)
        train = self._source(train_data, "train_data", shuffle=self.config.shuffle)
        val = None if val_data is None else self._source(val_data, "val_data", shuffle=False)
        fitting = Fitting(module, resolve_loss(loss), self.config)
        try:
            result = _Loop(self, fitting, train, val).run()
        finally:
            fitting.close()
        for callback in self.callbacks:
            callback.on_fit_ended(result)
        return result

    def validate(self, module: nn.Module, data: Any, *, loss: str | Loss | None = None) -> dict[str, float]:
        """Return the sample-weighted means of a module's loss and metrics over data, by name without prefix."""
        step_module = StepModule(module, resolve_loss(loss))
        device = _device_of(module)
        source = self._source(data, "data", shuffle=False)
        batches = (send_to_device(batch, device) for batch in source.epoch(1))
        return evaluate(step_module, batches, mode_of=module)

    def predict(self, module: nn.Module, inputs: Any) -> torch.Tensor:
        """Return a module's output for inputs, joined over batches, on the CPU.

        Args:
            module: The module; it is called with one batch of inputs.
            inputs: An array or tensor of shape (samples, …), a `Dataset`, or an iterable of input batches.

        Raises:
            DataError: There are no inputs.
        """
        device = _device_of(module)
        source = self._source(inputs, "inputs", shuffle=False)
        with evaluation_mode(module), torch.inference_mode():
            outputs = [module(send_to_device(batch, device)).cpu() for batch in source.epoch(1)]
        if not outputs:
            problem = "there is nothing to predict from"
            raise DataError(problem, next_step="give at least one sample")
        return torch.cat(outputs)

    def load_weights(self, module: nn.Module, checkpoint: Path) -> None:
        """Put the weights of a checkpoint into a module, after verifying it.

        Raises:
            CheckpointError: The checkpoint is absent, incomplete or damaged.
        """
        module.load_state_dict(checkpoints.load(checkpoint).model)

    def _source(self, data: Any, name: str, *, shuffle: bool) -> BatchSource:
        return batch_source(
            data,
            name=name,
            batch_size=self.config.batch_size,
            shuffle=shuffle,
            seed=self.config.seed,
            num_workers=self.config.num_workers,
        )


class _Loop:
    """The epochs of one fit: train, validate, judge, save, tell."""

    def __init__(
        self, trainer: UniversalTrainer, fitting: Fitting, train: BatchSource, val: BatchSource | None
    ) -> None:
        self.config = trainer.config
        self.callbacks = trainer.callbacks
        self.store = trainer._store  # noqa: SLF001 - the loop is the trainer's other half
        self.fitting, self.train, self.val = fitting, train, val
        self.history: list[dict[str, float]] = []
        self.last_checkpoint: Path | None = None
        stopping, saving = self.config.early_stopping, self.config.checkpoint
        default = "val_loss" if val is not None else "loss"
        stop_metric = stopping.monitor or default
        best_metric = saving.monitor or (stop_metric if stopping.enabled else default)
        best_mode = stopping.mode if saving.monitor is None and stopping.enabled else saving.mode
        self.best = Monitor(best_metric, resolve_mode(best_mode, best_metric, "training.checkpoint.mode"))
        self.stopping: Monitor | None = None
        if stopping.enabled:
            mode = resolve_mode(stopping.mode, stop_metric, "training.early_stopping.mode")
            self.stopping = Monitor(stop_metric, mode, stopping.min_delta)

    def run(self) -> FitResult:
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

    def _epoch(self, epoch: int) -> dict[str, float]:
        every = self.config.checkpoint.every_steps
        means = None
        for means in self.fitting.train_epoch(self.train, epoch, self.callbacks):
            if every and self.fitting.plan.steps % every == 0:
                self._save(epoch - 1, is_best=False)
        metrics = means.read() if means is not None else {}
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
        for callback in self.callbacks:
            callback.on_checkpoint_saved(self.last_checkpoint, step, is_best=is_best)

    def _info(self) -> FitInfo:
        batches = self.train.batches_per_epoch()
        return FitInfo(
            max_epochs=self.config.max_epochs,
            steps_per_epoch=None if batches is None else -(-batches // self.config.gradient_accumulation_steps),
            device=str(self.fitting.accelerator.device),
            mixed_precision=self.config.mixed_precision,
            parameters=sum(p.numel() for p in self.fitting.plan.parameters),
        )

    def _result(self, *, stopped_early: bool) -> FitResult:
        best = self.store.best() if self.store is not None else None
        if self.config.checkpoint.restore_best and best is not None:
            self.fitting.module.load_state_dict(checkpoints.load(best).model)
        return FitResult(
            metrics=self.history[-1],
            history=self.history,
            epochs=len(self.history),
            steps=self.fitting.plan.steps,
            stopped_early=stopped_early,
            best_epoch=self.best.best_epoch,
            best_checkpoint=best,
            last_checkpoint=self.last_checkpoint,
        )


def _device_of(module: nn.Module) -> torch.device:
    parameter = next(module.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device
