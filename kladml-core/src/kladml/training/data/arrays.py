"""Arrays of any make as tensors, and how many samples a batch has."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from kladml.errors import DataError


def is_array(data: Any) -> bool:
    """Tell whether the data is one array: a tensor, a NumPy array, or something with `__array__`."""
    return isinstance(data, torch.Tensor | np.ndarray) or (hasattr(data, "__array__") and hasattr(data, "shape"))


def is_arrays(data: Any) -> bool:
    """Tell whether the data is a tuple of arrays (or of plain lists), such as `(X, y)`."""
    return isinstance(data, tuple) and len(data) > 0 and all(is_array(part) or isinstance(part, list) for part in data)


@dataclass(frozen=True, slots=True)
class ChosenRows:
    """Some rows of arrays which stay where they are, such as mapped from a file.

    Attributes:
        arrays: The arrays, with one row for each sample.
        rows: Which rows, shape `(samples,)`.
        is_single: Whether a batch is the rows of the only array, and no tuple.
    """

    arrays: tuple[Any, ...]
    rows: np.ndarray[Any, Any]
    is_single: bool

    def __len__(self) -> int:
        """Return how many samples these are."""
        return len(self.rows)


def as_tensor(array: Any, name: str) -> torch.Tensor:
    """Return an array as a tensor; 64 bit floats become torch's default float, as models expect them.

    Those of an array that is mapped from a file stay: converting them would read all of it.

    Raises:
        DataError: The array holds something else than numbers.
    """
    try:
        tensor = array if isinstance(array, torch.Tensor) else _from_numpy(np.asarray(array))
    except (TypeError, ValueError) as error:
        problem = f"{name} holds something that is no array of numbers: {error}"
        raise DataError(problem, next_step="convert it to numbers first") from error
    if tensor.dim() == 0:
        problem = f"{name} holds a single number where an array is needed"
        raise DataError(problem, next_step="give one row per sample")
    is_mapped = isinstance(array, np.memmap)
    return tensor.to(torch.get_default_dtype()) if tensor.dtype == torch.float64 and not is_mapped else tensor


def samples_in(batch: Any) -> int:
    """Return how many samples a batch has: the first dimension of its first tensor.

    Raises:
        DataError: There is no tensor with a dimension in the batch, or no sample.
    """
    found = batch[0] if type(batch) in (list, tuple) and batch else batch
    if not isinstance(found, torch.Tensor) or not found.dim():
        found = _first_tensor(batch)
    if found is None:
        problem = f"a batch of type {type(batch).__name__} holds no tensor whose first dimension counts its samples"
        raise DataError(problem, next_step="let the loader collate to tensors")
    samples: int = found.shape[0]
    return samples or nonempty(samples, "a batch")


def nonempty(samples: int, name: str) -> int:
    """Return a number of samples after checking that there are any.

    Raises:
        DataError: There are none.
    """
    if samples == 0:
        problem = f"{name} is empty"
        raise DataError(problem, next_step="give at least one sample")
    return samples


def _from_numpy(array: np.ndarray[Any, Any]) -> torch.Tensor:
    if any(stride < 0 for stride in array.strides):  # torch has no negative strides
        array = array.copy()
    with warnings.catch_warnings():  # read-only is no fault: batches are copies, and nothing here writes to it
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.as_tensor(array)


def _first_tensor(batch: Any) -> torch.Tensor | None:
    if isinstance(batch, torch.Tensor):
        return batch if batch.dim() > 0 else None
    parts: Iterable[Any] = ()
    if isinstance(batch, list | tuple):
        parts = batch
    elif isinstance(batch, Mapping):
        parts = batch.values()
    for part in parts:
        found = _first_tensor(part)
        if found is not None:
            return found
    return None
