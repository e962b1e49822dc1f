"""The data that is trained on, in every form that the trainer takes, changed at random each time it is fetched."""

from __future__ import annotations

import math
import random

import numpy as np
import torch
from models import FEATURES, noise
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, WeightedRandomSampler

BATCH = 4


class Samples(Dataset):
    """Samples that the global generators change each time, as augmentation does."""

    def __init__(self, samples, reach=lambda point: None, *, random=True):
        generator = torch.Generator().manual_seed(5)
        self.inputs = torch.randn(samples, FEATURES, generator=generator)
        self.targets = (self.inputs.sum(1) > 0).long()
        self.reach, self.random = reach, random

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        self.reach("fetch")
        inputs = self.inputs[index] + (noise() if self.random else 0.0)
        return inputs, self.targets[index], torch.tensor(index)

    def tensors(self):
        return self.inputs, self.targets, torch.arange(len(self))


class Stream(IterableDataset):
    """The samples in an order of the stream's own."""

    def __init__(self, samples):
        self.samples = samples

    def __iter__(self):
        order = list(range(len(self.samples)))
        random.shuffle(order)
        return (self.samples[index] for index in order)


class Batches:
    """An iterable of batches without length."""

    def __init__(self, samples):
        self.samples = samples

    def __iter__(self):
        for numbers in torch.randperm(len(self.samples)).split(BATCH):
            yield collate([self.samples[index] for index in numbers.tolist()])


class Whole(Dataset):
    """Whole batches by index."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return math.ceil(len(self.samples) / BATCH)

    def __getitem__(self, index):
        numbers = range(len(self.samples))[index * BATCH : (index + 1) * BATCH]
        return collate([self.samples[number] for number in numbers])


class OwnWay(DataLoader):
    """A loader that iterates its own way."""

    def __iter__(self):
        yield from super().__iter__()


class OwnOrder:
    """A sampler with a generator that goes on from epoch to epoch."""

    def __init__(self, samples):
        self.samples, self.generator = len(samples), np.random.default_rng(3)

    def __len__(self):
        return self.samples

    def __iter__(self):
        return iter(self.generator.permutation(self.samples).tolist())


def collate(samples):
    """Make a batch, at random as well."""
    inputs, targets, numbers = zip(*samples, strict=True)
    return torch.stack(inputs) + noise(), torch.stack(targets), torch.stack(numbers)


def _seeded(_=None):
    return torch.Generator().manual_seed(11)


def _list(samples, _):
    return list(zip(*(part.split(BATCH) for part in samples.tensors()), strict=True))


def _loader(kind=DataLoader, **options):
    def make(samples, workers):
        made = {name: option(samples) if callable(option) else option for name, option in options.items()}
        size = {} if "batch_sampler" in made or "batch_size" in made else {"batch_size": BATCH}
        return kind(samples, collate_fn=collate, num_workers=workers, **size, **made)

    return make


def _own_batches(samples, workers):
    return DataLoader(Whole(samples), batch_size=None, shuffle=True, num_workers=workers)


def _stream_loader(samples, workers):
    one = min(workers, 1)  # or each would give the whole stream
    return DataLoader(Stream(samples), batch_size=BATCH, collate_fn=collate, num_workers=one, generator=_seeded())


DATA = {
    "dataset": lambda samples, _: samples,
    "arrays": lambda samples, _: samples.tensors(),
    "list of batches": _list,
    "loader": _loader(shuffle=True),
    "loader with a generator": _loader(shuffle=True, generator=_seeded),
    "loader that drops the last batch": _loader(shuffle=True, drop_last=True),
    "loader of whole batches": _own_batches,
    "loader with weights": _loader(sampler=lambda samples: WeightedRandomSampler(torch.arange(len(samples)) + 1.0, 30)),
    "loader with a batch sampler": _loader(
        batch_sampler=lambda samples: BatchSampler(RandomSampler(samples, generator=_seeded()), BATCH, drop_last=False)
    ),
    "loader with a sampler of its own": _loader(sampler=OwnOrder),
    "loader that iterates its own way": _loader(OwnWay, shuffle=True, generator=_seeded),
    "stream": lambda samples, _: Stream(samples),
    "loader of a stream": _stream_loader,
    "iterable": lambda samples, _: Batches(samples),
}
"""Each makes the data of samples and a number of loading workers."""
