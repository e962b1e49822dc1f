"""The order of an epoch: which samples form which batch, as a function of seed and epoch alone."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler

from kladml.training.rng import BatchRandomness
from kladml.training.seeding import derived_seed, generator

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Order(Protocol):
    """Says what each batch of an epoch is made of."""

    def batches(self, epoch: int) -> Sequence[Any]:
        """Return, for each batch of an epoch, the indices of its samples."""

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""


class IndexedOrder:
    """A permutation that is a function of seed and epoch, cut into batches.

    Args:
        samples: Number of samples.
        batch_size: Samples per batch; the last batch may be shorter.
        shuffle: Whether to permute.
        seed: The seed.
    """

    def __init__(self, samples: int, batch_size: int, *, shuffle: bool, seed: int) -> None:
        self.samples, self.batch_size, self.shuffle, self.seed = samples, batch_size, shuffle, seed

    def indices(self, epoch: int) -> torch.Tensor:
        """Return the order of an epoch, shape (samples,)."""
        if not self.shuffle:
            return torch.arange(self.samples)
        return torch.randperm(self.samples, generator=generator("order", self.seed, epoch))

    def batches(self, epoch: int) -> Sequence[torch.Tensor]:
        """Return the batches' indices, each of shape (batch size,)."""
        return torch.split(self.indices(epoch), self.batch_size)

    def __len__(self) -> int:
        """Return the number of batches in a whole epoch."""
        return math.ceil(self.samples / self.batch_size)


def order_seed(seed: int, epoch: int) -> int:
    """Return the seed under which the order of a `DataLoader` without a generator of its own is drawn.

    A plain loop sees the same order after `torch.manual_seed(order_seed(seed, epoch))`:

    ```python
    torch.manual_seed(order_seed(0, epoch=1))
    for batch in loader: ...
    ```
    """
    return derived_seed("order", seed, epoch)


def tell_epoch(epoch: int, owners: Iterable[Any]) -> None:
    """Tell the epoch to each of the owners that has a method `set_epoch`."""
    for owner in owners:
        set_epoch = getattr(owner, "set_epoch", None)
        if callable(set_epoch):
            set_epoch(epoch)


class Generators:
    """The generators that a user gave to a loader, a sampler or a data set, seeded anew for each epoch.

    Left alone, they would go on from epoch to epoch, and a training that is resumed would begin with them anew. In
    the first epoch they keep the seed that the user gave them.

    Args:
        owners: What may have a `torch.Generator` as `generator`.
    """

    def __init__(self, owners: Iterable[Any]) -> None:
        found = (getattr(owner, "generator", None) for owner in owners)
        own = {id(each): each for each in found if isinstance(each, torch.Generator)}
        self._first_seeds = [(each, each.initial_seed()) for each in own.values()]

    def seed(self, epoch: int) -> None:
        """Seed them for an epoch."""
        for each, first in self._first_seeds:
            each.manual_seed(first if epoch == 1 else derived_seed("order", first, epoch))

    @contextmanager
    def seeded(self, epoch: int) -> Iterator[None]:
        """Seed them for an epoch; afterwards they are as they were before."""
        before = [(each, each.get_state()) for each, _ in self._first_seeds]
        self.seed(epoch)
        try:
            yield
        finally:
            for each, state in before:
                each.set_state(state)


class LoaderOrder:
    """The order that a `DataLoader`'s samplers give, drawn whole at the start of an epoch.

    Drawn under a seed of the epoch's own, it does not depend on what was drawn before it. A sampler of the user's own
    may remember something all the same, so that the orders of earlier epochs are drawn before a later one's.

    Args:
        loader: The loader.
        seed: The seed, for loaders without a generator.
    """

    def __init__(self, loader: DataLoader[Any], seed: int) -> None:
        self.loader, self.seed = loader, seed
        self._randomness = BatchRandomness()
        batch_sampler = loader.batch_sampler
        # A loader that was given a batch sampler has a sampler as well, which takes no part.
        self._indices = loader.sampler if batch_sampler is None else batch_sampler
        self._sampler = getattr(batch_sampler, "sampler", loader.sampler)
        self._owners = (loader, self._sampler, batch_sampler)
        self._generators = Generators(self._owners)
        self._may_remember = any(_may_remember(owner) for owner in (self._indices, self._sampler))
        self._drawn = 0

    def batches(self, epoch: int) -> Sequence[Any]:
        """Return the batches' indices: tensors where the samplers are torch's own, else what they give."""
        for earlier in range(self._drawn + 1, epoch) if self._may_remember else ():
            self._batches(earlier)
        self._drawn = max(self._drawn, epoch)
        return self._batches(epoch)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self.loader)

    def _batches(self, epoch: int) -> Sequence[Any]:
        seed = order_seed(self.seed, epoch)
        with self._generators.seeded(epoch):
            self._randomness.call(tell_epoch, epoch, self._owners, seed=seed)
            drawn: Sequence[Any] = self._randomness.call(self._draw, seed=seed)
            return drawn

    def _draw(self) -> Sequence[Any]:
        # As an iterator of the loader does, to get the order that it would give: the sampler's iterator first, then
        # the seed of the workers, then the indices.
        indices = iter(self._indices)
        torch.empty((), dtype=torch.int64).random_(generator=self.loader.generator)
        sampler, whole = self._sampler, type(self._sampler) in (RandomSampler, SequentialSampler)
        if type(self._indices) is not BatchSampler or not whole or getattr(sampler, "replacement", False):
            return list(indices)
        batches = torch.split(torch.tensor(list(sampler)), self._indices.batch_size)
        return batches[: len(self._indices)]


def _may_remember(sampler: Any) -> bool:
    """Tell whether the order that a sampler gives may depend on those that it gave before."""
    return not type(sampler).__module__.startswith("torch.") and not callable(getattr(sampler, "set_epoch", None))
