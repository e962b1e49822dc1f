"""The Universal Trainer: PyTorch training on Hugging Face Accelerate."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import send_to_device

from kladml.config.fields import schema_keys
from kladml.config.schema import TrainingConfig
from kladml.errors import CheckpointError, DataError, WrongTypeError
from kladml.training import checkpoints
from kladml.training.accelerator import fresh_state
from kladml.training.batches import batch_source
from kladml.training.checkpoints import CheckpointStore
from kladml.training.fitting import Fitting, evaluate, evaluation_mode, uncompiled
from kladml.training.loop import FitLoop
from kladml.training.objective import StepModule, resolve_loss
from kladml.training.seeding import seed_everything

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

    from kladml.training.batches import BatchSource
    from kladml.training.callbacks import FitResult, TrainerCallback
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

    Raises:
        WrongTypeError: A value of the configuration is out of range.
    """

    def __init__(
        self,
        config: TrainingConfig | None = None,
        *,
        checkpoint_dir: str | Path | None = None,
        callbacks: Iterable[TrainerCallback] = (),
    ) -> None:
        self.config = config or TrainingConfig()
        _check(self.config)
        self.callbacks = list(callbacks)
        self._store = None
        if checkpoint_dir is not None and self.config.checkpoint.enabled:
            self._store = CheckpointStore(Path(checkpoint_dir), keep_last=self.config.checkpoint.keep_last)

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
        with fresh_state():
            fitting = Fitting(module, resolve_loss(loss), self.config)
            try:
                result = FitLoop(self.config, fitting, train, val, store=self._store, callbacks=self.callbacks).run()
            finally:
                fitting.close()
        for callback in self.callbacks:
            callback.on_fit_ended(result)
        return result

    def validate(self, module: nn.Module, data: Any, *, loss: str | Loss | None = None) -> dict[str, float]:
        """Return the sample-weighted means of a module's loss and metrics over data, by name without prefix.

        Raises:
            DataError: There is no data.
            ModelContractError: The module has neither a step nor a loss.
        """
        step_module = StepModule(module, resolve_loss(loss))
        device = _device_of(module)
        source = self._source(data, "data", shuffle=False)
        batches = (send_to_device(batch, device) for batch in source.epoch(1))
        metrics = evaluate(step_module, batches, mode_of=module)
        if not metrics:
            problem = "there is nothing to validate on"
            raise DataError(problem, next_step="give at least one sample")
        return metrics

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
        with evaluation_mode(module), torch.no_grad():
            outputs = [module(send_to_device(batch, device)).cpu() for batch in source.epoch(1)]
        if not outputs:
            problem = "there is nothing to predict from"
            raise DataError(problem, next_step="give at least one sample")
        return torch.cat(outputs)

    def load_weights(self, module: nn.Module, checkpoint: Path) -> None:
        """Put the weights of a checkpoint into a module, after verifying it.

        Raises:
            CheckpointError: The checkpoint is absent, incomplete or damaged, or holds another module's weights.
        """
        weights = checkpoints.load(checkpoint).model
        try:
            uncompiled(module).load_state_dict(weights)
        except RuntimeError as error:
            problem = f"the checkpoint {checkpoint} does not fit {type(module).__name__}: {error}"
            raise CheckpointError(problem, next_step="build the module as it was when it was saved") from error

    def _source(self, data: Any, name: str, *, shuffle: bool) -> BatchSource:
        return batch_source(
            data,
            name=name,
            batch_size=self.config.batch_size,
            shuffle=shuffle,
            seed=self.config.seed,
            num_workers=self.config.num_workers,
        )


def _device_of(module: nn.Module) -> torch.device:
    parameter = next(module.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def _check(config: TrainingConfig) -> None:
    """Check the bounds of a configuration that was made in Python, as those from files are."""
    for key in schema_keys(TrainingConfig).values():
        value = reduce(getattr, key.key.split("."), config)
        complaint = key.complaint(value)
        if complaint is not None:
            problem = f"training.{key.key} {complaint}, not {value!r}"
            raise WrongTypeError(problem, next_step=f"what it is: {key.doc}")
