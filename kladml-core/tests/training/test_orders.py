"""Orders: a permutation of the trainer's own, and the order that a `DataLoader` gives a plain loop."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)
from torch.utils.data.distributed import DistributedSampler

from kladml.errors import DataError
from kladml.training.data.orders import IndexedOrder, LoaderOrder, order_seed
from kladml.training.data.sources import Loading, batch_source

SAMPLES = list(range(23))
EPOCHS = (1, 2, 5)


@given(samples=st.integers(1, 500), batch_size=st.integers(1, 60), seed=st.integers(0, 2**63), epoch=st.integers(1, 99))
def test_a_shuffled_order_is_the_documented_permutation_cut_into_batches(samples, batch_size, seed, epoch):
    order = IndexedOrder(samples, batch_size, shuffle=True, seed=seed)

    torch.manual_seed(order_seed(seed, epoch))
    expected = torch.randperm(samples).tolist()
    found = [batch.tolist() for batch in order.batches(epoch)]

    assert found == [expected[at : at + batch_size] for at in range(0, samples, batch_size)]
    assert len(order) == len(found)


def test_an_order_that_is_not_shuffled_is_that_of_the_data():
    order = IndexedOrder(7, 3, shuffle=False, seed=5)

    assert [batch.tolist() for batch in order.batches(4)] == [[0, 1, 2], [3, 4, 5], [6]]


def test_epochs_and_seeds_have_orders_of_their_own():
    def order(seed, epoch):
        return tuple(IndexedOrder(100, 10, shuffle=True, seed=seed).indices(epoch).tolist())

    assert len({order(seed, epoch) for seed in range(5) for epoch in range(1, 6)}) == 25


class DrawnAtOnce:
    """A sampler that draws when it is asked for an iterator, and not when that is first asked for an index."""

    def __init__(self, size=None):
        self.size = size

    def __iter__(self):
        indices = torch.randperm(20).tolist()
        return iter(indices if self.size is None else [indices[at : at + self.size] for at in range(0, 20, self.size)])

    def __len__(self):
        return 20 if self.size is None else 20 // self.size


class DrawnFromEverywhere(DrawnAtOnce):
    """A sampler that draws from Python, NumPy and torch while it goes."""

    def __iter__(self):
        for _ in range(20):
            yield (random.randrange(23) + np.random.randint(23) + int(torch.randint(23, ()))) % 23  # noqa: NPY002, S311


LOADERS = {
    "in order": lambda: DataLoader(SAMPLES, batch_size=4),
    "shuffled": lambda: DataLoader(SAMPLES, batch_size=4, shuffle=True),
    "shuffled, the last batch dropped": lambda: DataLoader(SAMPLES, batch_size=4, shuffle=True, drop_last=True),
    "single samples": lambda: DataLoader(SAMPLES, batch_size=None, shuffle=True),
    "with replacement": lambda: DataLoader(SAMPLES, batch_size=4, sampler=RandomSampler(SAMPLES, replacement=True)),
    "some of them": lambda: DataLoader(SAMPLES, batch_size=4, sampler=RandomSampler(SAMPLES, num_samples=9)),
    "more than there are": lambda: DataLoader(SAMPLES, batch_size=4, sampler=RandomSampler(SAMPLES, num_samples=60)),
    "a subset": lambda: DataLoader(SAMPLES, batch_size=4, sampler=SubsetRandomSampler([3, 1, 4, 15, 9, 2])),
    "weighted": lambda: DataLoader(SAMPLES, batch_size=4, sampler=WeightedRandomSampler([1.0, 9.0] * 10, 17)),
    "a sampler that draws at once": lambda: DataLoader(SAMPLES, batch_size=4, sampler=DrawnAtOnce()),
    "a sampler that draws at once, single samples": lambda: DataLoader(SAMPLES, batch_size=None, sampler=DrawnAtOnce()),
    "a sampler that draws from everywhere": lambda: DataLoader(SAMPLES, batch_size=4, sampler=DrawnFromEverywhere()),
    "a batch sampler": lambda: DataLoader(SAMPLES, batch_sampler=BatchSampler(RandomSampler(SAMPLES), 4, False)),
    "a batch sampler that drops": lambda: DataLoader(
        SAMPLES, batch_sampler=BatchSampler(RandomSampler(SAMPLES), 5, True)
    ),
    "a batch sampler in order": lambda: DataLoader(
        SAMPLES, batch_sampler=BatchSampler(SequentialSampler(SAMPLES[:9]), 4, False)
    ),
    "a batch sampler that draws at once": lambda: DataLoader(SAMPLES, batch_sampler=DrawnAtOnce(4)),
    "a list of batches as batch sampler": lambda: DataLoader(SAMPLES, batch_sampler=[[3, 1], [4], [1, 5, 9]]),
    "a sampler that is a list": lambda: DataLoader(SAMPLES, batch_size=2, sampler=[3, 1, 4, 1, 5]),
    "with workers": lambda: DataLoader(SAMPLES, batch_size=4, shuffle=True, num_workers=2),
}


def plain_loop(loader):
    return [batch.tolist() if isinstance(batch, torch.Tensor) else batch for batch in loader]


def of_order(order, epoch):
    return [torch.as_tensor(batch).tolist() for batch in order.batches(epoch)]


@pytest.mark.parametrize("name", LOADERS)
def test_the_order_of_a_loader_is_that_of_a_plain_loop_after_the_documented_seed(name, seed):
    order = LoaderOrder(LOADERS[name](), seed)

    for epoch in EPOCHS:
        random.seed(order_seed(seed, epoch))
        np.random.seed(order_seed(seed, epoch) % 2**32)  # noqa: NPY002
        torch.manual_seed(order_seed(seed, epoch))
        expected = plain_loop(LOADERS[name]())

        assert of_order(order, epoch) == expected
        assert len(order) == len(expected)


@pytest.mark.parametrize("name", LOADERS)
def test_what_the_trainer_fetches_from_a_loader_is_what_a_plain_loop_gets(name, seed):
    batches = batch_source(LOADERS[name](), Loading(batch_size=99, seed=seed), name="train_data")
    epoch = 3
    random.seed(order_seed(seed, epoch))
    np.random.seed(order_seed(seed, epoch) % 2**32)  # noqa: NPY002
    torch.manual_seed(order_seed(seed, epoch))
    expected = plain_loop(LOADERS[name]())

    found = batches.order.batches(epoch)
    fetched = [batches.fetch[epoch, position, indices] for position, indices in enumerate(found)]

    assert [torch.as_tensor(batch).tolist() for batch in fetched] == expected


@pytest.mark.parametrize("workers", [0, 1])
def test_tensors_of_a_loader_are_taken_in_the_order_of_a_plain_loop(seed, workers):
    def loader():
        data = TensorDataset(torch.arange(23), torch.arange(23.0) / 2)
        return DataLoader(data, batch_size=5, shuffle=True, drop_last=True, num_workers=workers)

    batches = batch_source(loader(), Loading(batch_size=99, seed=seed), name="train_data")
    for epoch in EPOCHS:
        torch.manual_seed(order_seed(seed, epoch))
        expected = [[part.tolist() for part in batch] for batch in loader()]

        assert [[part.tolist() for part in batch.content] for batch in batches.epoch(epoch)] == expected


@pytest.mark.parametrize("name", LOADERS)
def test_an_order_depends_on_seed_and_epoch_alone(name):
    torch.manual_seed(torch.seed())
    random.seed()
    order = LoaderOrder(LOADERS[name](), 7)
    several = [of_order(order, epoch) for epoch in EPOCHS]

    assert of_order(LoaderOrder(LOADERS[name](), 7), EPOCHS[-1]) == several[-1]
    assert [of_order(order, epoch) for epoch in reversed(EPOCHS)] == several[::-1]


GENERATORS = {
    "of the loader": lambda own: DataLoader(SAMPLES, batch_size=4, shuffle=True, generator=own),
    "of the sampler": lambda own: DataLoader(SAMPLES, batch_size=4, sampler=RandomSampler(SAMPLES, generator=own)),
    "of both": lambda own: DataLoader(
        SAMPLES, batch_size=4, sampler=RandomSampler(SAMPLES, generator=own), generator=own
    ),
    "of the batch sampler's": lambda own: DataLoader(
        SAMPLES, batch_sampler=BatchSampler(RandomSampler(SAMPLES, generator=own), 4, False)
    ),
    "of a subset": lambda own: DataLoader(SAMPLES, batch_size=4, sampler=SubsetRandomSampler(SAMPLES, generator=own)),
}


@pytest.mark.parametrize("place", GENERATORS)
def test_a_generator_of_the_users_own_gives_its_order_in_the_first_epoch_and_others_later(place, seed):
    def loader():
        return GENERATORS[place](torch.Generator().manual_seed(seed))

    order = LoaderOrder(loader(), 0)
    first = of_order(order, 1)

    torch.manual_seed(order_seed(0, 1))
    assert first == plain_loop(loader())
    assert of_order(LoaderOrder(loader(), 1), 2) == of_order(order, 2), "the trainer's seed has no say"
    assert of_order(order, 1) == first, "an order can be drawn again"
    orders = {str(of_order(order, epoch)) for epoch in range(1, 8)}
    assert len(orders) == 7


@pytest.mark.parametrize("place", GENERATORS)
def test_a_generator_of_the_users_own_is_as_it_was(place):
    own = torch.Generator().manual_seed(3)
    before = own.get_state()
    LoaderOrder(GENERATORS[place](own), 0).batches(2)

    assert torch.equal(own.get_state(), before)


class Told:
    def __init__(self, log, name):
        self.log, self.name = log, name

    def set_epoch(self, epoch):
        self.log.append((self.name, epoch))
        torch.rand(())  # what it draws shifts nobody's numbers

    def __iter__(self):
        return iter([0, 1, 2])

    def __len__(self):
        return 3


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda log: DataLoader(SAMPLES, sampler=Told(log, "sampler")), ["sampler"]),
        (lambda log: DataLoader(SAMPLES, batch_size=None, sampler=Told(log, "sampler")), ["sampler"]),
        (
            lambda log: DataLoader(SAMPLES, batch_sampler=BatchSampler(Told(log, "in a batch sampler"), 2, False)),
            ["in a batch sampler"],
        ),
        (
            lambda log: DataLoader(SAMPLES, batch_size=None, sampler=BatchSampler(Told(log, "sampler"), 2, False)),
            [],
        ),
    ],
)
def test_samplers_are_told_the_epoch_once(make, told):
    log = []
    order = LoaderOrder(make(log), 0)
    before = torch.get_rng_state()

    for epoch in (1, 4):
        order.batches(epoch)

    assert log == [(name, epoch) for epoch in (1, 4) for name in told]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_sampler_of_the_users_own_is_told_the_epoch():
    class Batches(Told):
        def __iter__(self):
            return iter([[0], [1, 2]])

    log = []
    LoaderOrder(DataLoader(SAMPLES, batch_sampler=Batches(log, "batches")), 0).batches(9)

    assert log == [("batches", 9)]


def test_a_loader_for_several_processes_is_refused_and_one_for_one_process_is_told_the_epoch():
    """Its sampler leaves out what the others get, and the trainer would leave out batches once more."""

    def loader(replicas):
        sampler = DistributedSampler(SAMPLES, num_replicas=replicas, rank=0, seed=3)
        return DataLoader(SAMPLES, batch_size=4, sampler=sampler), sampler

    for place in (loader(2)[0], DataLoader(SAMPLES, batch_sampler=BatchSampler(loader(2)[1], 4, False))):
        with pytest.raises(DataError, match="train_data has a DistributedSampler, and the trainer shares out"):
            batch_source(place, Loading(4), name="train_data")

    alone, sampler = loader(1)
    found = of_order(LoaderOrder(alone, 0), 6)
    sampler.set_epoch(6)
    assert found == plain_loop(alone)
