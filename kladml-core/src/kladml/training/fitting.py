"""One fit: the objects that a training loop works with, and the loop's pieces."""

from __future__ import annotations

import contextlib
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import send_to_device

from kladml.errors import DataError
from kladml.training.accelerator import make_accelerator
from kladml.training.batches import samples_in
from kladml.training.checkpoints import Checkpoint, optimizer_content
from kladml.training.means import RunningMeans
from kladml.training.objective import StepModule
from kladml.training.optimizers import build_optimization
from kladml.training.plan import StepPlan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import nn

    from kladml.config.schema import TrainingConfig
    from kladml.training.batches import BatchSource
    from kladml.training.callbacks import TrainerCallback
    from kladml.training.objective import Loss


class Fitting:
    """A module, its loss, its optimizer and its step plan, prepared by Accelerate for one fit.

    Args:
        module: The user's module, which is trained in place.
        loss: Loss of a module without `training_step`.
        config: How to train.

    Attributes:
        batches: Batches of the current epoch that were trained on so far.
        means: Means over the current epoch so far.
    """

    def __init__(self, module: nn.Module, loss: Loss | None, config: TrainingConfig) -> None:
        self.module = module
        self.config = config
        self.batches = 0
        self.means = RunningMeans()
        self._modes = [(part, part.training) for part in module.modules()]
        self._frozen = [part for part, training in self._modes if not training] if module.training else []
        self.accelerator = make_accelerator(config)
        step_module = StepModule(module, loss)
        if config.compile:
            step_module.compile()
        self.optimization = build_optimization(module, config)
        self.optimization.optimizer.zero_grad()  # of whatever the module went through before
        self.step_module, optimizer = self.accelerator.prepare(step_module, self.optimization.optimizer)
        parameters = [p for group in self.optimization.optimizer.param_groups for p in group["params"]]
        self.plan = StepPlan(
            self.accelerator,
            optimizer,
            parameters,
            accumulation=config.gradient_accumulation_steps,
            clipping=config.gradient_clipping,
        )

    @property
    def lr(self) -> float:
        """Learning rate of the first parameter group."""
        return float(self.optimization.optimizer.param_groups[0]["lr"])

    @property
    def is_done(self) -> bool:
        """Whether `max_steps` is reached."""
        return self.config.max_steps is not None and self.plan.steps >= self.config.max_steps

    def train_epoch(self, source: BatchSource, epoch: int, callbacks: Sequence[TrainerCallback]) -> Iterator[None]:
        """Train an epoch, pausing after every optimizer step; `means` holds the epoch's means so far.

        The loop in the caller decides what happens between steps: saving, stopping.
        """
        self.module.train()
        for part in self._frozen:
            part.training = False
        self.means = RunningMeans()
        self.batches = 0
        for index, batch in enumerate(self._batches(source, epoch)):
            self.batches += 1
            size = samples_in(batch)
            loss, metrics = self.step_module(batch, index, "train")
            stepped = self.plan.accumulate(loss, size)
            self.means.add(metrics, size)
            if stepped:
                self._after_step(epoch, callbacks)
                yield
                if self.is_done:
                    return
        if self.plan.step():
            self._after_step(epoch, callbacks)
            yield

    def _after_step(self, epoch: int, callbacks: Sequence[TrainerCallback]) -> None:
        every = self.config.log_every
        if every and self.plan.steps % every == 0:
            loss = self.means.read()["loss"]
            for callback in callbacks:
                callback.on_step(epoch, self.plan.steps, loss, self.lr)
        self.optimization.end_of_step()

    def validate(self, source: BatchSource) -> dict[str, float]:
        """Return the means over validation data; the module is in training mode again afterwards, if it was."""
        return evaluate(self.step_module, self._batches(source, 1), mode_of=self.module)

    def first_validation_metrics(self, source: BatchSource) -> dict[str, float]:
        """Return the metrics of the first validation batch; the random state stays as it was."""
        with torch.random.fork_rng(devices=[]):
            return evaluate(self.step_module, islice(self._batches(source, 1), 1), mode_of=self.module)

    def checkpoint(self, epoch: int, extra: dict[str, Any]) -> Checkpoint:
        """Return the state after `batches` batches of an epoch."""
        tensors, rest = optimizer_content(self.optimization.optimizer.state_dict())
        scheduler, scaler = self.optimization.scheduler, self.accelerator.scaler
        state = {
            "format": 1,
            "epoch": epoch,
            "batches": self.batches,
            "step": self.plan.steps,
            "seed": self.config.seed,
            "optimizer": rest,
            "scheduler": scheduler.state_dict() if scheduler is not None else None,
            "scaler": scaler.state_dict() if scaler is not None else None,
            "world_size": self.accelerator.num_processes,
            "torch": torch.__version__,
            **extra,
        }
        return Checkpoint(dict(uncompiled(self.module).state_dict()), tensors, state)

    def close(self) -> None:
        """Let go of the prepared objects; each part of the user's module is in the mode that it was in before."""
        for part, training in self._modes:
            part.training = training
        if self.accelerator.device.type != "cpu":  # it collects garbage, which takes longer than a small training
            self.accelerator.free_memory()

    def _batches(self, source: BatchSource, epoch: int) -> Iterator[Any]:
        device = self.accelerator.device
        found = False
        for batch in source.epoch(epoch):
            found = True
            yield batch if device.type == "cpu" else send_to_device(batch, device, non_blocking=True)
        if not found:
            problem = "the data loader gave no batch"
            raise DataError(problem, next_step="check that it is not used up and that drop_last leaves a batch")


def evaluate(step_module: nn.Module, batches: Iterator[Any], mode_of: nn.Module) -> dict[str, float]:
    """Return sample-weighted means of the metrics over batches, computed without gradients.

    Args:
        step_module: Computes a step.
        batches: Batches on the module's device.
        mode_of: The module to put into evaluation mode meanwhile.
    """
    means = RunningMeans()
    # Not inference_mode: what a module caches meanwhile, such as a mask, has to be of use in training.
    with evaluation_mode(mode_of), torch.no_grad():
        for index, batch in enumerate(batches):
            size = samples_in(batch)
            _, metrics = step_module(batch, index, "val")
            means.add(metrics, size)
    return means.read()


@contextlib.contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and each part of it back into its own mode afterwards."""
    training = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, was_training in training:
            part.training = was_training


def uncompiled(module: nn.Module) -> nn.Module:
    """Return the module inside one that `torch.compile` returned, whose state has clean keys."""
    inner: nn.Module = getattr(module, "_orig_mod", module)
    return inner
