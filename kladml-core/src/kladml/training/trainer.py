"""The Universal Trainer: PyTorch training on Hugging Face Accelerate."""

from __future__ import annotations

import contextlib
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import send_to_device

from kladml.config.fields import schema_keys
from kladml.config.schema import TrainingConfig
from kladml.errors import CheckpointError, DataError, NonFiniteError, TrainingStopped, WrongTypeError
from kladml.training.accelerator import fresh_state
from kladml.training.checkpointing import store as checkpoints
from kladml.training.checkpointing.store import CheckpointStore
from kladml.training.data.batches import Share
from kladml.training.data.sources import Loading, batch_source
from kladml.training.evaluation import evaluate, evaluation_mode
from kladml.training.fitting import Fitting, uncompiled
from kladml.training.loop import FitLoop
from kladml.training.objective import StepModule, resolve_loss
from kladml.training.ranks import join
from kladml.training.seeding import derived_seed, seed_everything

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from torch import nn

    from kladml.training.callbacks import FitResult, TrainerCallback
    from kladml.training.checkpointing.mirror import CheckpointMirror
    from kladml.training.data.batches import BatchSource
    from kladml.training.objective import Loss

AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16}
"""What `training.mixed_precision` computes in."""


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
        mirror: Where checkpoints are uploaded to, or None.
        identity: What every checkpoint says of the run that it belongs to, JSON-able.

    Raises:
        WrongTypeError: A value of the configuration is out of range.
    """

    def __init__(
        self,
        config: TrainingConfig | None = None,
        *,
        checkpoint_dir: str | Path | None = None,
        callbacks: Iterable[TrainerCallback] = (),
        mirror: CheckpointMirror | None = None,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        self.config = config or TrainingConfig()
        _check(self.config)
        self.callbacks = list(callbacks)
        self.mirror = mirror
        self.identity = dict(identity or {})
        self._folder = None if checkpoint_dir is None or not self.config.checkpoint.enabled else Path(checkpoint_dir)

    def fit(
        self,
        module: nn.Module,
        train_data: Any,
        val_data: Any = None,
        *,
        loss: str | Loss | None = None,
        resume: str | Path | None = None,
        allow_world_change: bool = False,
        finish: bool = False,
    ) -> FitResult:
        """Train a module in place.

        Args:
            module: The module. With strategy fsdp it is whole again on every process afterwards, also after
                `TrainingStopped` and `NonFiniteError`, and after no other error.
            train_data: `(X, y)`, arrays, a `Dataset`, a `DataLoader` or an iterable of batches.
            val_data: Validation data in any of these forms; its metrics get the prefix `val_`.
            loss: For a module without `training_step`: a function of output and target that returns the mean
                over the batch, or the name of one in `torch.nn.functional`.
            resume: A checkpoint to go on from, or a folder of them, of which the newest whole one is taken. What
                follows is to the last bit what would have followed without the interruption.
            allow_world_change: Whether another number of processes or another strategy than the checkpoint's is
                accepted.
            finish: Whether the checkpoint of a training that had reached its end gives its result at once, without
                a further step; else it is refused, since going on is what was asked for.

        Returns:
            How the training ended.

        Raises:
            DataError: The data is empty or inconsistent.
            ModelContractError: The module cannot be trained as it is.
            MissingMetricError: A monitored metric is not produced.
            NonFiniteError: The loss or a gradient became NaN or infinite.
            TrainingError: The device or the precision is not available, or there are not as many processes as the
                configuration asks for.
            CheckpointError: The checkpoint to go on from is damaged or does not fit.
            TrainingStopped: A signal asked for the end; the newest checkpoint holds the state.
        """
        ranks = join(self.config)
        seed_everything(self.config.seed)
        share = Share(ranks.rank, ranks.world)
        train = self._source(train_data, "train_data", share, shuffle=self.config.shuffle)
        val = None if val_data is None else self._source(val_data, "val_data", share)
        checkpoint = None if resume is None else _newest(Path(resume))
        with fresh_state(), self._open_store() as store:
            fitting = Fitting(module, resolve_loss(loss), self.config, ranks)
            loop = FitLoop(
                self.config,
                fitting,
                train,
                val,
                store=store,
                callbacks=self.callbacks,
                identity=self.identity,
                mirror=self.mirror,
            )
            try:
                if checkpoint is not None:
                    loop.resume(checkpoint, allow_world_change=allow_world_change, finish=finish)
                elif ranks.rank:
                    seed_everything(derived_seed("rank", self.config.seed, ranks.rank))
                result = loop.run()
            except (NonFiniteError, TrainingStopped):  # which all processes raise together
                fitting.strategy.join()
                raise
            except (RuntimeError, OSError) as error:
                # Torch tells of a dead worker by a signal handler, wherever the program is at that time.
                named = [found for source in (train, val) if source and (found := source.worker_error(error))]
                if named:
                    raise named[0] from error
                problem = fitting.strategy.explain(error)
                if problem is not None:
                    raise problem from error
                raise
            finally:
                fitting.close()
        if ranks.is_main:
            for callback in self.callbacks:
                callback.on_fit_ended(result)
        return result

    def validate(self, module: nn.Module, data: Any, *, loss: str | Loss | None = None) -> dict[str, float]:
        """Return the sample-weighted means of a module's loss and metrics over data, by name without prefix.

        Raises:
            DataError: There is no data.
            ModelContractError: The module has neither a step nor a loss.
        """
        ranks = join(self.config)
        source = self._source(data, "data", Share(ranks.rank, ranks.world))
        step_module = StepModule(module, resolve_loss(loss))
        device = _device_of(module)
        precise = AUTOCAST.get(self.config.mixed_precision)
        with fresh_state(), torch.autocast(device.type, precise, enabled=precise is not None):
            return evaluate(step_module, source, ranks, device, module, inference=self.config.inference_mode)

    def predict(self, module: nn.Module, inputs: Any) -> torch.Tensor:
        """Return a module's output for inputs, joined over batches, on the CPU.

        Args:
            module: The module; it is called with one batch of inputs.
            inputs: An array or tensor of shape (samples, …), a `Dataset`, or an iterable of input batches.

        Raises:
            DataError: There are no inputs.
        """
        device = _device_of(module)
        source = self._source(inputs, "inputs", Share())
        with evaluation_mode(module), torch.no_grad():
            outputs = [module(send_to_device(batch.content, device)).cpu() for batch in source.epoch(1)]
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

    def _source(self, data: Any, name: str, share: Share, *, shuffle: bool = False) -> BatchSource:
        config = self.config
        loading = Loading(config.batch_size, config.seed, shuffle, config.num_workers, config.timeout, share)
        return batch_source(data, loading, name=name)

    @contextlib.contextmanager
    def _open_store(self) -> Iterator[CheckpointStore | None]:
        """Give the store meanwhile, of which the main process alone makes use; begun checkpoints are completed."""
        if self._folder is None:
            yield None
            return
        store = CheckpointStore(self._folder, keep_last=self.config.checkpoint.keep_last)
        try:
            yield store
        finally:
            store.close()


def _newest(path: Path) -> Path:
    """Return a checkpoint, or the newest whole one in a folder of them."""
    if (path / checkpoints.MANIFEST).is_file():
        return path
    found = CheckpointStore(path).latest()
    if found is None:
        problem = f"there is no whole checkpoint in {path}"
        raise CheckpointError(problem, next_step="give the folder of a checkpoint, or a folder of them")
    return found


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
