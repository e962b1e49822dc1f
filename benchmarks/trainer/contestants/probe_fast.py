"""A probe, no product: the lean probe, with the data's path decided once too and a fused optimizer.

A `TensorDataset` in memory is fetched by one `index_select` a tensor instead of sample by sample, in the sampler's
order; collated batches skip the fetcher.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jobs import DEVICE
from torch.utils.data import TensorDataset, default_collate

from contestants import probe_lean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobs import Batch, Job

LABEL, ORDER = "probe: lean step, fast batches, fused optimizer", 2.5
FUSED = True


def missing() -> str | None:
    return probe_lean.missing() if DEVICE == "cpu" else "it leaves its batches on the CPU"


def train(job: Job) -> None:
    job.fuse_optimizer()
    probe_lean.train(job, _batches)


def _batches(_: Job, prepared: Any) -> Iterable[Batch]:
    loader = getattr(prepared, "base_dataloader", None)
    if loader is None:
        return prepared
    dataset = loader.dataset
    if isinstance(dataset, TensorDataset) and loader.collate_fn is default_collate:
        return _indexed(prepared, loader)
    return (dataset[index] for index in loader.sampler)


def _indexed(prepared: Any, loader: Any) -> Iterator[Batch]:
    prepared.begin()
    # A DataLoader draws its base seed before the sampler starts; drawing it here too keeps the order.
    torch.empty((), dtype=torch.int64).random_(generator=loader.generator)
    for indices in loader.batch_sampler:
        index = torch.tensor(indices)
        yield tuple(tensor.index_select(0, index) for tensor in loader.dataset.tensors)
    prepared.end()
