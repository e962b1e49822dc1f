"""The adapter that makes a scikit-learn estimator keep the model contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from kladml.errors import DataError, ModelContractError, ModelError
from kladml.files.whole import written_whole
from kladml.models.base import BaseModel
from kladml.models.files import with_ending
from kladml.models.tasks import MLTask

if TYPE_CHECKING:
    from collections.abc import Sequence

SUFFIX = ".skops"


class SklearnModel(BaseModel):
    """Trains a scikit-learn estimator and keeps it as a skops file, which is read without running code.

    Each `random_state` of None, in the estimator and in those inside it, becomes the run's seed, so that a run can
    be repeated.

    Args:
        estimator: The estimator, not fitted.

    Raises:
        ModelContractError: scikit-learn or skops is not installed.
    """

    def __init__(self, estimator: Any) -> None:
        try:
            import sklearn  # noqa: F401 - said before the run starts, not after the training
            import skops.io  # noqa: F401
        except ImportError as error:
            problem = f"training {type(estimator).__name__} needs {error.name}, which is not installed"
            raise ModelContractError(problem, next_step="pip install 'kladml-core[sklearn]'") from error
        self.estimator = estimator

    @property
    def ml_task(self) -> MLTask:
        """Classification, regression or clustering, as the estimator says."""
        from sklearn.base import is_classifier, is_clusterer, is_regressor

        if is_classifier(self.estimator):
            return MLTask.CLASSIFICATION
        if is_regressor(self.estimator):
            return MLTask.REGRESSION
        return MLTask.CLUSTERING if is_clusterer(self.estimator) else MLTask.OTHER

    def train(self, X_train: Any, y_train: Any = None, X_val: Any = None, y_val: Any = None) -> dict[str, float]:
        """Fit the estimator; return its metrics, those on validation data with the prefix `val_`."""
        unseeded = [name for name, value in self.estimator.get_params().items() if _is_random_state(name, value)]
        self.estimator.set_params(**dict.fromkeys(unseeded, self.run.training.seed))
        inputs, targets = self._data(X_train, y_train)
        self.estimator.fit(inputs, targets)
        metrics = self._metrics(inputs, targets)
        if X_val is not None:
            metrics |= {f"val_{name}": value for name, value in self.evaluate(X_val, y_val).items()}
        return metrics

    def predict(self, X: Any) -> Any:
        """Return the estimator's predictions."""
        return self.estimator.predict(_arrays(X, None)[0])

    def evaluate(self, X_test: Any, y_test: Any = None) -> dict[str, float]:
        """Return accuracy and macro F1 of a classifier; R², MSE and MAE of a regressor; else its own score."""
        return self._metrics(*self._data(X_test, y_test))

    def _data(self, inputs: Any, targets: Any) -> tuple[Any, Any]:
        inputs, targets = _arrays(inputs, targets)
        if targets is None and self.ml_task in (MLTask.CLASSIFICATION, MLTask.REGRESSION):
            problem = f"{type(self.estimator).__name__} needs targets, and the data has none"
            raise DataError(problem, next_step="give (X, y)")
        return inputs, targets

    def _metrics(self, inputs: Any, targets: Any) -> dict[str, float]:
        from sklearn import metrics as scores

        if targets is None:
            has_score = callable(getattr(self.estimator, "score", None))
            return {"score": float(self.estimator.score(inputs))} if has_score else {}
        if self.ml_task is MLTask.CLASSIFICATION:
            predicted = self.estimator.predict(inputs)
            return {
                "accuracy": float(scores.accuracy_score(targets, predicted)),
                "f1_macro": float(scores.f1_score(targets, predicted, average="macro")),
            }
        if self.ml_task is MLTask.REGRESSION:
            predicted = self.estimator.predict(inputs)
            return {
                "r2": float(scores.r2_score(targets, predicted)),
                "mse": float(scores.mean_squared_error(targets, predicted)),
                "mae": float(scores.mean_absolute_error(targets, predicted)),
            }
        return {"score": float(self.estimator.score(inputs, targets))} if hasattr(self.estimator, "score") else {}

    def save(self, path: str) -> None:
        """Write the estimator to `path` with the ending `.skops`."""
        import skops.io

        with written_whole(with_ending(path, SUFFIX)) as temporary:
            skops.io.dump(self.estimator, temporary)

    def load(self, path: str, trusted: Sequence[str] = ()) -> None:
        """Read an estimator that `save` wrote; types that skops does not trust by itself are refused.

        Args:
            path: Where it was saved.
            trusted: Further types to accept, such as `sklearn.tree._tree.Tree` of forests, whose damaged files
                could crash the process: only for files that you made yourself.

        Raises:
            ModelError: The file is absent or damaged, or holds types that are not trusted.
        """
        import skops.io
        from skops.io.exceptions import UntrustedTypesFoundException

        file = with_ending(path, SUFFIX)
        try:
            self.estimator = skops.io.load(file, trusted=[*trusted])
        except UntrustedTypesFoundException as error:
            types = skops.io.get_untrusted_types(file=file)
            problem = f"{file} holds types that are not trusted: {', '.join(types)}"
            raise ModelError(problem, next_step=f"if you made it yourself, load it with trusted={types}") from error
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            problem = f"{file} cannot be read: {error}"
            raise ModelError(problem, next_step="check the path") from error


def _arrays(inputs: Any, targets: Any) -> tuple[Any, Any]:
    """Return arrays; a Dataset or DataLoader is read whole."""
    if targets is not None or hasattr(inputs, "shape") or isinstance(inputs, list):
        return inputs, targets
    try:
        pairs = [_pair(item) for item in (inputs if hasattr(inputs, "__iter__") else _samples(inputs))]
        batched = hasattr(inputs, "batch_size") or not hasattr(inputs, "__getitem__")
        join = np.concatenate if batched else np.stack
        joined = join([pair[0] for pair in pairs])
        return joined, None if pairs[0][1] is None else join([pair[1] for pair in pairs])
    except (TypeError, ValueError) as error:
        problem = f"a scikit-learn estimator cannot use a {type(inputs).__name__}: {error}"
        raise DataError(problem, next_step="give (X, y) or arrays") from error


def _samples(dataset: Any) -> Any:
    return (dataset[index] for index in range(len(dataset)))


def _pair(item: Any) -> tuple[Any, Any]:
    """Return inputs and targets; what is no pair is inputs alone."""
    if not isinstance(item, tuple | list):
        return np.asarray(item), None
    inputs, targets = item if len(item) > 1 else (*item, None)
    return np.asarray(inputs), None if targets is None else np.asarray(targets)


def _is_random_state(parameter: str, value: Any) -> bool:
    return value is None and parameter.rpartition("__")[2] == "random_state"
