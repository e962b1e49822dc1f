"""Fetching batches, in this process or in workers, with the same random numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate, default_convert, get_worker_info

from kladml.training.data.lookup import only_looks_up
from kladml.training.data.orders import Generators, tell_epoch
from kladml.training.data.workers import WatchedLoader
from kladml.training.rng import BatchRandomness, seed_for_batch
from kladml.training.seeding import batch_seed, derived_seed

if TYPE_CHECKING:
    from kladml.errors import DataError

Key = tuple[int, int, Any]
"""Epoch, position of the batch in the epoch, and the indices of its samples."""


class BatchFetch(Dataset[Any]):
    """Makes whole batches of a data set, each with random numbers that depend on seed, epoch and position alone.

    Args:
        dataset: The data set.
        collate: Makes a batch of a list of samples; None for torch's own way.
        seed: The seed.
        in_batches: Whether an index means one sample, of which a batch has several; else it means a whole batch.
    """

    def __init__(
        self, dataset: Any, collate: Callable[[Any], Any] | None, seed: int, *, in_batches: bool = True
    ) -> None:
        self.dataset, self.seed, self.in_batches = dataset, seed, in_batches
        self.collate = collate or (default_collate if in_batches else default_convert)
        can_change = callable(getattr(dataset, "set_epoch", None))
        is_fixed = not can_change and self.collate in (default_collate, default_convert) and only_looks_up(dataset)
        self._randomness = None if is_fixed else BatchRandomness()
        self._epoch: int | None = None
        self._epoch_seed = 0

    def __getitem__(self, key: Key) -> Any:
        """Return a batch."""
        epoch, position, indices = key
        if epoch != self._epoch:
            self._begin(epoch)
        if self._randomness is None:
            return self._fetch(indices)
        seed = batch_seed(self._epoch_seed, position)
        if get_worker_info() is None:
            return self._randomness.call(self._fetch, indices, seed=seed)
        seed_for_batch(seed)
        return self._fetch(indices)

    def _fetch(self, indices: Any) -> Any:
        if isinstance(indices, torch.Tensor):
            indices = indices.tolist()
        if not self.in_batches:
            content = self.dataset[indices]
            if self.collate is default_convert and type(content) is tuple and _are_tensors(content):
                return list(content)  # what it would make of them
            return self.collate(content)
        fetch_all = getattr(self.dataset, "__getitems__", None)
        return self.collate(fetch_all(indices) if fetch_all else [self.dataset[index] for index in indices])

    def _begin(self, epoch: int) -> None:
        """Tell the epoch to the data set's copy in this process; a worker that stays has a copy of its own."""
        seed = derived_seed("told", self.seed, epoch)
        if get_worker_info() is None:
            BatchRandomness().call(tell_epoch, epoch, [self.dataset], seed=seed)
        else:
            seed_for_batch(seed)
            tell_epoch(epoch, [self.dataset])
        self._epoch, self._epoch_seed = epoch, derived_seed("batch", self.seed, epoch)


class StreamFetch(IterableDataset[Any]):
    """Gives the batches of what can only be iterated, each made with random numbers that depend on its place alone.

    Args:
        batches: An iterable of batches, or of samples.
        seed: The seed.
        name: What errors call the data.
        batch_size: Samples per batch; None where the iterable gives whole batches.
        timeout: Seconds after which a worker of a `DataLoader` that gives nothing counts as hanging.
    """

    def __init__(
        self, batches: Iterable[Any], seed: int, name: str, batch_size: int | None = None, timeout: float = 0
    ) -> None:
        self.batches, self.seed, self.batch_size = batches, seed, batch_size
        self._owners = [batches, *(getattr(batches, part, None) for part in ("sampler", "batch_sampler", "dataset"))]
        self._generators = Generators(self._owners)
        self._randomness = BatchRandomness()
        self._watched = WatchedLoader(batches, name, timeout) if isinstance(batches, DataLoader) else None
        self._epoch = 1

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next, to whatever has to know."""
        self._epoch = epoch
        self._generators.seed(epoch)
        self._randomness.call(tell_epoch, epoch, self._owners, seed=derived_seed("told", self.seed, epoch))

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches of the epoch."""
        epoch_seed = derived_seed("batch", self.seed, self._epoch)
        stream = self._randomness.call(self._start, seed=derived_seed("stream", self.seed, self._epoch))
        for position in count():
            content = self._randomness.call(self._next, stream, seed=batch_seed(epoch_seed, position))
            if content is _END:
                return
            yield content

    def length(self) -> int | None:
        """Return how many batches an epoch has, if the iterable tells."""
        try:
            length = len(self.batches) if isinstance(self.batches, Sized) else None
        except TypeError:  # a DataLoader over an IterableDataset without length
            return None
        return length if length is None or self.batch_size is None else math.ceil(length / self.batch_size)

    def worker_error(self, error: Exception) -> DataError | None:
        """Return an error that names the worker of the iterable's own of which torch complains, if it is one."""
        return None if self._watched is None else self._watched.error(error)

    def _start(self) -> Iterator[Any]:
        return iter(self.batches) if self._watched is None else self._watched.batches(self._watched.start())

    def _next(self, stream: Iterator[Any]) -> Any:
        if self.batch_size is None:
            return next(stream, _END)
        samples = list(islice(stream, self.batch_size))
        return default_collate(samples) if samples else _END


def _are_tensors(parts: tuple[Any, ...]) -> bool:
    return all(type(part) is torch.Tensor for part in parts)


_END = object()
