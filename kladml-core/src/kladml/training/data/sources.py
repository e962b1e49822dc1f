"""Data in any of the accepted forms as a source of batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, default_collate
from torch.utils.data.distributed import DistributedSampler

from kladml.errors import DataError
from kladml.training.data.arrays import ChosenRows, as_tensor, is_array, is_arrays, nonempty
from kladml.training.data.batches import ArrayBatches, BatchSource, DatasetBatches, ReadyBatches, Share, StreamBatches
from kladml.training.data.fetching import BatchFetch, StreamFetch
from kladml.training.data.orders import IndexedOrder, LoaderOrder
from kladml.training.data.workers import WorkerPool


@dataclass(frozen=True, slots=True)
class Loading:
    """How data becomes batches.

    Attributes:
        batch_size: Samples per batch; a `DataLoader` keeps its own.
        seed: Seed of the order and of what is drawn while samples are fetched.
        shuffle: Whether to permute the samples anew each epoch; a `DataLoader` keeps its own order.
        num_workers: Processes that fetch a data set's samples.
        timeout: Seconds after which a worker that gives nothing counts as hanging.
        share: Which batches are this process's.
    """

    batch_size: int
    seed: int = 0
    shuffle: bool = False
    num_workers: int = 0
    timeout: float = 0
    share: Share = field(default_factory=Share)


def batch_source(data: Any, loading: Loading, *, name: str) -> BatchSource:
    """Return the batches of data in any of the accepted forms.

    Args:
        data: `(X, y)` or a single array or tensor; a `Dataset`; a `DataLoader` or another iterable of batches.
        loading: How it becomes batches.
        name: What errors call it, such as `train_data`.

    Raises:
        DataError: The data is empty, of unequal lengths, or in no accepted form.
    """
    share = loading.share
    if _is_plain_tensors(data):
        data = tuple(data.tensors)
    if isinstance(data, DataLoader):
        return _of_loader(data, loading, name)
    if isinstance(data, IterableDataset):
        stream = StreamFetch(data, loading.seed, name, loading.batch_size)
        # One worker at most: several would each give the whole stream, unless it shares itself out among them.
        options: dict[str, Any] = {"num_workers": 1, "timeout": loading.timeout}
        workers = WorkerPool(stream, options, name, loading.seed) if loading.num_workers else None
        return StreamBatches(stream, share, workers)
    if isinstance(data, Dataset):
        order = _order(_length(data, name), loading)
        fetch = BatchFetch(data, None, loading.seed)
        options = {"num_workers": loading.num_workers, "timeout": loading.timeout, "persistent_workers": True}
        workers = WorkerPool(fetch, options, name, loading.seed) if loading.num_workers else None
        return DatasetBatches(fetch, order, share, workers)
    chosen = data if isinstance(data, ChosenRows) else None
    single = is_array(data) if chosen is None else chosen.is_single
    if chosen is not None or single or is_arrays(data):
        tensors = [as_tensor(part, name) for part in (chosen.arrays if chosen else [data] if single else data)]
        lengths = [len(tensor) for tensor in tensors]
        if len(set(lengths)) > 1:
            problem = f"the arrays of {name} have different lengths: {', '.join(map(str, lengths))}"
            raise DataError(problem, next_step="give one target per sample")
        order = _order(nonempty(lengths[0] if chosen is None else len(chosen), name), loading)
        rows = None if chosen is None else torch.from_numpy(chosen.rows)
        return ArrayBatches(tensors, order, share, container=None if single else tuple, convert=True, rows=rows)
    if isinstance(data, Iterable) and not isinstance(data, str | bytes | Mapping | Iterator):
        if isinstance(data, Sized):
            nonempty(len(data), name)
        if isinstance(data, list | tuple):
            return ReadyBatches(data, share)
        return StreamBatches(StreamFetch(data, loading.seed, name), share)
    problem = f"{name} is a {type(data).__name__}, which cannot be trained on"
    raise DataError(problem, next_step="give (X, y), arrays, a Dataset, a DataLoader or a list of batches")


def _of_loader(loader: DataLoader[Any], loading: Loading, name: str) -> BatchSource:
    """Return the batches that a loader would give, fetched by its own rules."""
    is_stream = isinstance(loader.dataset, IterableDataset) or type(loader).__iter__ is not DataLoader.__iter__
    if is_stream:
        return StreamBatches(StreamFetch(loader, loading.seed, name, timeout=loading.timeout), loading.share)
    for sampler in (loader.sampler, getattr(loader.batch_sampler, "sampler", None)):
        if isinstance(sampler, DistributedSampler) and sampler.num_replicas > 1:
            problem = f"the loader of {name} has a DistributedSampler, and the trainer shares out the batches itself"
            raise DataError(problem, next_step="give every process the same loader, without that sampler")
    order = LoaderOrder(loader, loading.seed)
    in_batches = loader.batch_sampler is not None
    if in_batches and loader.collate_fn is default_collate and _is_plain_tensors(loader.dataset):
        return ArrayBatches(loader.dataset.tensors, order, loading.share, container=list)  # type: ignore[attr-defined]
    fetch = BatchFetch(loader.dataset, loader.collate_fn, loading.seed, in_batches=in_batches)
    if not loader.num_workers and not loader.pin_memory:
        return DatasetBatches(fetch, order, loading.share, None)
    options: dict[str, Any] = {"num_workers": loader.num_workers, "pin_memory": loader.pin_memory}
    if loader.num_workers:
        options |= {
            "timeout": loader.timeout or loading.timeout,
            "worker_init_fn": loader.worker_init_fn,
            "multiprocessing_context": loader.multiprocessing_context,
            "prefetch_factor": loader.prefetch_factor,
            "persistent_workers": loader.persistent_workers,
        }
    return DatasetBatches(fetch, order, loading.share, WorkerPool(fetch, options, name, loading.seed))


def _is_plain_tensors(data: Any) -> bool:
    return isinstance(data, TensorDataset) and type(data).__getitem__ is TensorDataset.__getitem__


def _order(samples: int, loading: Loading) -> IndexedOrder:
    return IndexedOrder(samples, loading.batch_size, shuffle=loading.shuffle, seed=loading.seed)


def _length(dataset: Dataset[Any], name: str) -> int:
    if not isinstance(dataset, Sized):
        problem = f"{name} is a {type(dataset).__name__} without length"
        raise DataError(problem, next_step="define __len__, or derive it from IterableDataset")
    return nonempty(len(dataset), name)
