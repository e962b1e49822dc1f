"""The adapter that makes an `nn.Module` keep the model contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from kladml.errors import ModelError
from kladml.files.whole import written_whole
from kladml.models.base import BaseModel
from kladml.models.files import with_ending
from kladml.models.tasks import MLTask

if TYPE_CHECKING:
    import torch
    from torch import nn

    from kladml.training.callbacks import FitResult
    from kladml.training.objective import Loss

SUFFIX = ".safetensors"


class TorchModel(BaseModel):
    """Trains an `nn.Module` with `UniversalTrainer` and keeps its weights as safetensors.

    Args:
        module: The module.
        loss: Loss of a module without `training_step`: a function of output and target, or the name of one in
            `torch.nn.functional`.

    Attributes:
        result: How the last training ended, or None.
    """

    def __init__(self, module: nn.Module, *, loss: str | Loss | None = None) -> None:
        self.module = module
        self.loss = loss
        self.result: FitResult | None = None

    @property
    def ml_task(self) -> MLTask:
        """The module's own `ml_task`, or `OTHER`."""
        return MLTask(getattr(self.module, "ml_task", MLTask.OTHER))

    def train(self, X_train: Any, y_train: Any = None, X_val: Any = None, y_val: Any = None) -> dict[str, float]:
        """Train the module with the run's configuration, or go on with it, and return the metrics of the last epoch."""
        self.result = self.run.trainer().fit(
            self.module,
            _joined(X_train, y_train),
            _joined(X_val, y_val),
            loss=self.loss,
            resume=self.run.resume,
            allow_world_change=self.run.allow_world_change,
            finish=self.run.finish,
        )
        return dict(self.result.metrics)

    def predict(self, X: Any) -> torch.Tensor:
        """Return the module's output for inputs, on the CPU."""
        return self.run.trainer().predict(self.module, X)

    def evaluate(self, X_test: Any, y_test: Any = None) -> dict[str, float]:
        """Return the module's loss and metrics on data."""
        return self.run.trainer().validate(self.module, _joined(X_test, y_test), loss=self.loss)

    def save(self, path: str) -> None:
        """Write the weights to `path` with the ending `.safetensors`.

        Raises:
            ModelError: They cannot be written, or part of the module's state is no tensor.
        """
        file = with_ending(path, SUFFIX)
        try:
            state = self.module.state_dict()
            tensors = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in state.items()}
            with written_whole(file) as temporary:
                save_file(tensors, temporary)
        except (OSError, SafetensorError, AttributeError, ValueError, KeyError) as error:
            problem = f"the weights of {type(self.module).__name__} cannot be written to {file}: {error}"
            raise ModelError(
                problem, next_step="check the path, and that the module's state is made of tensors"
            ) from error

    def load(self, path: str) -> None:
        """Read weights that `save` wrote.

        Raises:
            ModelError: The file is absent or damaged, or holds the weights of another module.
        """
        file = with_ending(path, SUFFIX)
        try:
            self.module.load_state_dict(load_file(file))
        except (OSError, SafetensorError, RuntimeError) as error:
            problem = f"{file} cannot be loaded into {type(self.module).__name__}: {error}"
            raise ModelError(problem, next_step="check the path and the model's arguments") from error


def _joined(inputs: Any, targets: Any) -> Any:
    return inputs if targets is None else (inputs, targets)
