"""Keeping a share of the training data back for validation."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, TypeGuard

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, Subset

from kladml.errors import DataError
from kladml.training.data.arrays import ChosenRows, is_array, is_arrays


def keep_back(data: Any, share: float, seed: int, *, in_place: bool = False) -> tuple[Any, Any]:
    """Return what is left of data to train on, and what is kept back; both in the order of the data.

    The same data, share and seed always give the same parts. Arrays are copied.

    Args:
        data: An array, a tuple of arrays with one row for each sample, or a `Dataset`.
        share: How much is kept back, above 0 and below 1; at least one sample is, and at least one is left.
        seed: What decides which samples.
        in_place: Whether arrays that are mapped from a file stay there, as `ChosenRows` of them.

    Raises:
        DataError: It is in no form that can be divided, or has less than two samples.
    """
    if in_place and _is_mapped(data):
        arrays, is_single = (data, False) if isinstance(data, tuple) else ((data,), True)
        left, kept = _rows(len(arrays[0]), share, seed)
        return ChosenRows(arrays, left, is_single), ChosenRows(arrays, kept, is_single)
    if is_array(data):
        left, kept = _rows(len(data), share, seed)
        return _taken(data, left), _taken(data, kept)
    if is_arrays(data):
        left, kept = _rows(len(data[0]), share, seed)
        return tuple(_taken(part, left) for part in data), tuple(_taken(part, kept) for part in data)
    if _has_samples(data):
        left, kept = _rows(len(data), share, seed)
        return Subset(data, left.tolist()), Subset(data, kept.tolist())
    problem = f"data.val_split cannot divide a {type(data).__name__}"
    raise DataError(problem, next_step="give data.val, or arrays or a Dataset as training data")


def _is_mapped(data: Any) -> bool:
    return any(isinstance(part, np.memmap) for part in (data if isinstance(data, tuple) else (data,)))


def _has_samples(data: Any) -> TypeGuard[Any]:
    return isinstance(data, Dataset) and isinstance(data, Sized) and not isinstance(data, IterableDataset)


def _rows(count: int, share: float, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    if count < 2:  # noqa: PLR2004 - one for each part
        problem = "data.val_split cannot divide data with less than two samples"
        raise DataError(problem, next_step="set it to 0, or give more data")
    order = np.random.default_rng(seed).permutation(count)
    kept = min(max(round(count * share), 1), count - 1)
    return np.sort(order[kept:]), np.sort(order[:kept])


def _taken(part: Any, rows: np.ndarray[Any, Any]) -> Any:
    if isinstance(part, list):
        return [part[row] for row in rows]
    if isinstance(part, torch.Tensor):
        return part[torch.from_numpy(rows)]
    if hasattr(part, "iloc"):  # a table of pandas, whose columns have names that an estimator may ask for
        return part.iloc[rows]
    return np.asarray(part)[rows]
