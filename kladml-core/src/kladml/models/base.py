"""The model contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from kladml.models.context import RunContext

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kladml.models.tasks import MLTask


class BaseModel(ABC):
    """A model of any kind that `ExperimentRunner` can train, evaluate and save.

    A complete model:

    ```python
    from pathlib import Path

    import numpy as np
    from kladml import BaseModel, MLTask

    class MeanModel(BaseModel):
        @property
        def ml_task(self):
            return MLTask.REGRESSION

        def train(self, X_train, y_train=None, X_val=None, y_val=None):
            self.mean = float(np.mean(y_train))
            self.run.log_metric("mean", self.mean)
            return {"mse": float(np.mean((y_train - self.mean) ** 2))}

        def predict(self, X):
            return np.full(len(X), self.mean)

        def evaluate(self, X_test, y_test=None):
            return {"mse": float(np.mean((y_test - self.mean) ** 2))}

        def save(self, path):
            Path(path).write_text(repr(self.mean))

        def load(self, path):
            self.mean = float(Path(path).read_text())
    ```

    Inside `train`, `self.run` holds the run's configuration, logs metrics, and makes a `UniversalTrainer`
    that is connected with the run. `train` and `evaluate` may leave out parameters that they do not use.
    """

    _run: RunContext | None = None

    @property
    def run(self) -> RunContext:
        """The run that the model is trained in; outside a run, one that records nothing."""
        return self._run or RunContext()

    @run.setter
    def run(self, context: RunContext) -> None:
        self._run = context

    @property
    @abstractmethod
    def ml_task(self) -> MLTask:
        """What the model is for."""

    @abstractmethod
    def train(self, X_train: Any, y_train: Any = None, X_val: Any = None, y_val: Any = None) -> Mapping[str, float]:
        """Train the model.

        Args:
            X_train: Features, shape (samples, …); or the whole `Dataset`, `DataLoader` or iterable when the
                run was given one.
            y_train: Targets, shape (samples, …), or None.
            X_val: Validation features, in the same form, or None.
            y_val: Validation targets, or None.

        Returns:
            Final metrics by name.
        """

    @abstractmethod
    def predict(self, X: Any) -> Any:
        """Return predictions for features."""

    @abstractmethod
    def evaluate(self, X_test: Any, y_test: Any = None) -> Mapping[str, float]:
        """Return metrics by name on data that the model was not trained on."""

    @abstractmethod
    def save(self, path: str) -> None:
        """Write the model to a path, which may become a file, a folder, or get an ending."""

    @abstractmethod
    def load(self, path: str) -> None:
        """Read a model that `save` wrote to the same path."""
