"""Batches: from whatever holds the data to an order that depends only on the seed and the epoch."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, TensorDataset

from kladml.errors import DataError
from kladml.training.seeding import derived_seed, generator


class BatchSource(ABC):
    """Yields the batches of an epoch, from any position on."""

    @abstractmethod
    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """Yield the batches of an epoch.

        Args:
            epoch: Number of the epoch, from 1.
            start: Batches to leave out at the beginning; where possible they are not even fetched.
        """

    @abstractmethod
    def batches_per_epoch(self) -> int | None:
        """Return how many batches an epoch has, or None when the data does not tell."""


class IndexedOrder(Sampler[list[int]]):
    """Lists of indices, a batch each: a permutation that is a function of seed and epoch.

    Args:
        samples: Number of samples.
        batch_size: Samples per batch; the last batch may be shorter.
        shuffle: Whether to permute.
        seed: The seed.
    """

    def __init__(self, samples: int, batch_size: int, *, shuffle: bool, seed: int) -> None:
        self.samples, self.batch_size, self.shuffle, self.seed = samples, batch_size, shuffle, seed
        self.epoch = 1
        self.start = 0

    def indices(self) -> torch.Tensor:
        """Return the order of the current epoch, shape (samples,)."""
        if not self.shuffle:
            return torch.arange(self.samples)
        return torch.randperm(self.samples, generator=generator("order", self.seed, self.epoch))

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches' indices from `start` on."""
        yield from (part.tolist() for part in torch.split(self.indices(), self.batch_size)[self.start :])

    def __len__(self) -> int:
        """Return the number of batches in a whole epoch."""
        return math.ceil(self.samples / self.batch_size)


class ArrayBatches(BatchSource):
    """Batches of tensors in memory, taken by index and not sample by sample."""

    def __init__(self, tensors: Sequence[torch.Tensor], order: IndexedOrder, *, single: bool) -> None:
        self.tensors, self.order, self.single = tensors, order, single

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """Yield tuples of tensors, or tensors when the data is a single one."""
        self.order.epoch = epoch
        for index in torch.split(self.order.indices(), self.order.batch_size)[start:]:
            batch = tuple(tensor.index_select(0, index.to(tensor.device)) for tensor in self.tensors)
            yield batch[0] if self.single else batch

    def batches_per_epoch(self) -> int:
        """Return how many batches an epoch has."""
        return len(self.order)


class DatasetBatches(BatchSource):
    """Batches of a map-style data set, collated by a `DataLoader` of ours with a generator of its own."""

    def __init__(self, dataset: Dataset[Any], order: IndexedOrder, *, num_workers: int) -> None:
        self.order = order
        self._generator = torch.Generator()
        self._loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_sampler=order,
            num_workers=num_workers,
            generator=self._generator,
            persistent_workers=num_workers > 0,
        )

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """Yield collated batches."""
        self.order.epoch, self.order.start = epoch, start
        self._generator.manual_seed(derived_seed("workers", self.order.seed, epoch))
        yield from self._loader

    def batches_per_epoch(self) -> int:
        """Return how many batches an epoch has."""
        return len(self.order)


class IterableBatches(BatchSource):
    """Batches of a `DataLoader` or another iterable of batches, in the order that it gives."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches = batches

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """Yield the iterable's batches; the first `start` are fetched and left out."""
        for owner in (self.batches, getattr(self.batches, "sampler", None), getattr(self.batches, "dataset", None)):
            set_epoch = getattr(owner, "set_epoch", None)
            if callable(set_epoch):
                set_epoch(epoch)
        for position, batch in enumerate(self.batches):
            if position >= start:
                yield batch

    def batches_per_epoch(self) -> int | None:
        """Return the iterable's length, if it has one."""
        try:
            return len(self.batches) if isinstance(self.batches, Sized) else None
        except TypeError:  # a DataLoader over an IterableDataset without length
            return None


def batch_source(
    data: Any, *, name: str, batch_size: int, shuffle: bool, seed: int, num_workers: int = 0
) -> BatchSource:
    """Return the batches of data in any of the accepted forms.

    Args:
        data: `(X, y)` or a single array or tensor; a `Dataset`; a `DataLoader` or another iterable of batches.
        name: What errors call it, such as `train_data`.
        batch_size: Samples per batch; a `DataLoader` keeps its own.
        shuffle: Whether to permute the samples anew each epoch; a `DataLoader` keeps its own order.
        seed: Seed of the order.
        num_workers: Processes that fetch a data set's samples.

    Raises:
        DataError: The data is empty, of unequal lengths, or in no accepted form.
    """
    if isinstance(data, TensorDataset) and type(data).__getitem__ is TensorDataset.__getitem__:
        data = tuple(data.tensors)
    if isinstance(data, DataLoader):
        return IterableBatches(data)
    if isinstance(data, IterableDataset):
        return IterableBatches(DataLoader(data, batch_size=batch_size, num_workers=num_workers))
    if isinstance(data, Dataset):
        order = IndexedOrder(_length(data, name), batch_size, shuffle=shuffle, seed=seed)
        return DatasetBatches(data, order, num_workers=num_workers)
    single = is_array(data)
    if single or is_arrays(data):
        tensors = [as_tensor(part, name) for part in ([data] if single else data)]
        lengths = [len(tensor) for tensor in tensors]
        if len(set(lengths)) > 1:
            problem = f"the arrays of {name} have different lengths: {', '.join(map(str, lengths))}"
            raise DataError(problem, next_step="give one target per sample")
        _nonempty(lengths[0], name)
        return ArrayBatches(tensors, IndexedOrder(lengths[0], batch_size, shuffle=shuffle, seed=seed), single=single)
    if isinstance(data, Iterable) and not isinstance(data, str | bytes | Mapping | Iterator):
        if isinstance(data, Sized):
            _nonempty(len(data), name)
        return IterableBatches(data)
    problem = f"{name} is a {type(data).__name__}, which cannot be trained on"
    raise DataError(problem, next_step="give (X, y), arrays, a Dataset, a DataLoader or a list of batches")


def is_array(data: Any) -> bool:
    """Tell whether the data is one array: a tensor, a NumPy array, or something with `__array__`."""
    return isinstance(data, torch.Tensor | np.ndarray) or (hasattr(data, "__array__") and hasattr(data, "shape"))


def is_arrays(data: Any) -> bool:
    """Tell whether the data is a tuple of arrays (or of plain lists), such as `(X, y)`."""
    return isinstance(data, tuple) and len(data) > 0 and all(is_array(part) or isinstance(part, list) for part in data)


def as_tensor(array: Any, name: str) -> torch.Tensor:
    """Return an array as a tensor; 64 bit floats become torch's default float, as models expect them.

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
    return tensor.to(torch.get_default_dtype()) if tensor.dtype == torch.float64 else tensor


def samples_in(batch: Any) -> int:
    """Return how many samples a batch has: the first dimension of its first tensor.

    Raises:
        DataError: There is no tensor with a dimension in the batch, or no sample.
    """
    found = _first_tensor(batch)
    if found is None:
        problem = f"a batch of type {type(batch).__name__} holds no tensor whose first dimension counts its samples"
        raise DataError(problem, next_step="let the loader collate to tensors")
    return _nonempty(int(found.shape[0]), "a batch")


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
    if isinstance(batch, Mapping):
        parts = batch.values()
    elif isinstance(batch, list | tuple):
        parts = batch
    return next((found for part in parts if (found := _first_tensor(part)) is not None), None)


def _length(dataset: Dataset[Any], name: str) -> int:
    if not isinstance(dataset, Sized):
        problem = f"{name} is a {type(dataset).__name__} without length"
        raise DataError(problem, next_step="define __len__, or derive it from IterableDataset")
    return _nonempty(len(dataset), name)


def _nonempty(samples: int, name: str) -> int:
    if samples == 0:
        problem = f"{name} is empty"
        raise DataError(problem, next_step="give at least one sample")
    return samples
