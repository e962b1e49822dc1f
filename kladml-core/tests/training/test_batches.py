"""Batches: which sample comes when, from every form of data, and which data is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from kladml.errors import DataError
from kladml.training.batches import ArrayBatches, IndexedOrder, batch_source, samples_in


class Rows(Dataset):
    """The numbers from 0 on, as (number, twice the number)."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return self.samples

    def __getitem__(self, index):
        return torch.tensor([float(index)]), 2 * index


class Stream(IterableDataset):
    def __init__(self, samples):
        self.samples = samples

    def __iter__(self):
        return (torch.tensor([float(index)]) for index in range(self.samples))


def source(data, *, batch_size=4, shuffle=True, seed=0, num_workers=0):
    return batch_source(
        data, name="train_data", batch_size=batch_size, shuffle=shuffle, seed=seed, num_workers=num_workers
    )


def numbers(batches):
    """The samples' numbers in the order in which they came, a list per batch."""
    return [(batch[0] if isinstance(batch, tuple | list) else batch).flatten().tolist() for batch in batches]


@settings(deadline=None)
@given(
    samples=st.integers(1, 200),
    batch_size=st.integers(1, 50),
    seed=st.integers(0, 2**63),
    epoch=st.integers(1, 10_000),
    shuffle=st.booleans(),
    start=st.integers(0, 5),
)
def test_an_epoch_has_every_sample_once_in_an_order_of_seed_and_epoch_alone(
    samples, batch_size, seed, epoch, shuffle, start
):
    def batches(start=0):
        torch.manual_seed(torch.seed())  # the global random state has no say
        return list(
            source(torch.arange(samples), batch_size=batch_size, seed=seed, shuffle=shuffle).epoch(epoch, start)
        )

    found = batches()

    assert sorted(torch.cat(found).tolist()) == list(range(samples))
    assert [len(batch) for batch in found[:-1]] == [batch_size] * (len(found) - 1)
    assert len(found) == source(torch.arange(samples), batch_size=batch_size).batches_per_epoch()
    assert all(torch.equal(one, other) for one, other in zip(found, batches(), strict=True))
    assert all(torch.equal(one, other) for one, other in zip(found[start:], batches(start), strict=True))
    if not shuffle:
        assert torch.cat(found).tolist() == list(range(samples))


def test_epochs_and_seeds_have_orders_of_their_own():
    def order(seed, epoch):
        found = IndexedOrder(100, 10, shuffle=True, seed=seed)
        found.epoch = epoch
        return tuple(found.indices().tolist())

    assert len({order(seed, epoch) for seed in range(5) for epoch in range(1, 6)}) == 25


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_order_is_the_same_for_arrays_and_data_sets_and_any_number_of_workers(shuffle):
    samples = 23
    tensor = torch.arange(samples).float().unsqueeze(1)
    forms = [
        source((tensor, 2 * torch.arange(samples)), shuffle=shuffle),
        source(TensorDataset(tensor, 2 * torch.arange(samples)), shuffle=shuffle),
        source(Rows(samples), shuffle=shuffle),
        source(Rows(samples), shuffle=shuffle, num_workers=2),
    ]

    for epoch in (1, 2):
        first, *others = [[[part.tolist() for part in batch] for batch in form.epoch(epoch)] for form in forms]
        assert all(other == first for other in others)


def test_leaving_out_batches_of_a_data_set_fetches_none_of_them():
    fetched = []

    class Noting(Rows):
        def __getitem__(self, index):
            fetched.append(index)
            return super().__getitem__(index)

    whole = numbers(source(Noting(10)).epoch(1))
    fetched.clear()

    assert numbers(source(Noting(10)).epoch(1, start=2)) == whole[2:]
    assert sorted(fetched) == sorted(whole[2])


def test_a_data_set_draws_nothing_from_the_global_random_state():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(source(Rows(10)).epoch(1))

    assert torch.equal(torch.get_rng_state(), before)


def test_randomness_in_workers_is_of_seed_and_epoch_alone():
    class Random(Rows):
        def __getitem__(self, index):
            return torch.rand(1)

    def drawn(seed, epoch):
        torch.manual_seed(torch.seed())
        return tuple(map(tuple, numbers(source(Random(6), seed=seed, num_workers=1).epoch(epoch))))

    assert drawn(1, 1) == drawn(1, 1)
    assert len({drawn(seed, epoch) for seed in (1, 2) for epoch in (1, 2)}) == 4


def test_a_loader_keeps_its_own_batches_and_order():
    loader = DataLoader(Rows(10), batch_size=3, shuffle=False, drop_last=True)

    assert numbers(source(loader, batch_size=99, seed=7).epoch(1)) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert source(loader).batches_per_epoch() == 3


def test_a_loader_and_its_sampler_are_told_the_epoch():
    epochs = []

    class Sampler:
        def set_epoch(self, epoch):
            epochs.append(epoch)

        def __iter__(self):
            return iter(range(4))

        def __len__(self):
            return 4

    batches = source(DataLoader(Rows(4), sampler=Sampler()))
    for epoch in (1, 2, 7):
        list(batches.epoch(epoch))

    assert epochs == [1, 2, 7]


def test_a_tensor_data_set_is_batched_in_memory_unless_it_is_changed():
    class Negated(TensorDataset):
        def __getitem__(self, index):
            return tuple(-part for part in super().__getitem__(index))

    plain, changed = source(TensorDataset(torch.ones(3, 1))), source(Negated(torch.ones(3, 1)))

    assert isinstance(plain, ArrayBatches)
    assert numbers(plain.epoch(1)) == [[1, 1, 1]]
    assert numbers(changed.epoch(1)) == [[-1, -1, -1]]


def test_a_stream_is_batched_in_its_own_order_and_has_no_length():
    batches = source(Stream(6), batch_size=4)

    assert numbers(batches.epoch(1)) == numbers(batches.epoch(2)) == [[0, 1, 2, 3], [4, 5]]
    assert batches.batches_per_epoch() is None


def test_any_iterable_of_batches_can_be_gone_through_again():
    class Batches:
        def __iter__(self):
            return iter([torch.tensor([1]), torch.tensor([2, 3])])

    for data, length in (([torch.tensor([1]), torch.tensor([2, 3])], 2), (Batches(), None)):
        batches = source(data)
        assert numbers(batches.epoch(1)) == numbers(batches.epoch(2)) == [[1], [2, 3]]
        assert numbers(batches.epoch(1, start=1)) == [[2, 3]]
        assert batches.batches_per_epoch() == length


def test_a_single_array_gives_tensors_and_a_tuple_gives_tuples():
    array = np.arange(3, dtype=np.float32)

    assert torch.equal(next(source(array, shuffle=False).epoch(1)), torch.tensor([0.0, 1.0, 2.0]))
    assert isinstance(next(source((array,), shuffle=False).epoch(1)), tuple)


READ_ONLY = np.arange(6.0).reshape(3, 2)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.arange(6.0).reshape(3, 2), torch.float32),
        (np.arange(6, dtype=np.float32).reshape(3, 2), torch.float32),
        (np.arange(6, dtype=np.float16).reshape(3, 2), torch.float16),
        (torch.arange(6.0, dtype=torch.float64).reshape(3, 2), torch.float32),
        (torch.arange(6.0, dtype=torch.bfloat16).reshape(3, 2), torch.bfloat16),
        (np.arange(6).reshape(3, 2), torch.int64),
        (np.arange(6, dtype=np.uint8).reshape(3, 2), torch.uint8),
        ([[0, 1], [2, 3], [4, 5]], torch.int64),
        ([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], torch.float32),
        (np.arange(5, -1, -1.0).reshape(3, 2)[::-1, ::-1], torch.float32),
        (np.arange(6.0).reshape(2, 3).T.copy().T[:, :3], torch.float32),
        (READ_ONLY, torch.float32),
    ],
)
def test_arrays_become_tensors_of_the_type_that_models_expect(array, dtype):
    (batch,) = next(source((array,), shuffle=False).epoch(1))

    assert batch.dtype == dtype
    assert batch.tolist() == np.asarray(array.tolist() if hasattr(array, "tolist") else array).tolist()


def test_a_batch_is_a_copy():
    array = torch.zeros(4, 1)
    next(source(array, shuffle=False).epoch(1)).add_(1)

    assert array.sum() == 0


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ((torch.zeros(value) for value in range(3)), "train_data is a generator"),
        (iter([torch.zeros(1)]), "train_data is a list_iterator"),
        ({"X": torch.zeros(3)}, "train_data is a dict"),
        ("data.csv", "train_data is a str"),
        (b"data", "train_data is a bytes"),
        (7, "train_data is a int"),
        (None, "train_data is a NoneType"),
        (object(), "train_data is a object"),
        (torch.zeros(0, 3), "train_data is empty"),
        ((torch.zeros(0, 3), torch.zeros(0)), "train_data is empty"),
        (np.zeros((0, 3)), "train_data is empty"),
        ([], "train_data is empty"),
        ((), "train_data is empty"),
        (Rows(0), "train_data is empty"),
        (TensorDataset(torch.zeros(0)), "train_data is empty"),
        ((torch.zeros(3), torch.zeros(2)), "different lengths: 3, 2"),
        ((np.zeros(3), [1, 2], torch.zeros(3)), "different lengths: 3, 2, 3"),
        (np.array([1, "a", None], dtype=object), "no array of numbers"),
        ((np.zeros(2), np.array(["a", "b"])), "no array of numbers"),
        ((np.zeros(2), ["a", "b"]), "no array of numbers"),
        ((np.zeros(2), [[1, 2], [3]]), "no array of numbers"),
        (np.zeros(2, "M8[s]"), "no array of numbers"),
        (torch.tensor(3.0), "a single number"),
        (np.array(3.0), "a single number"),
        (np.float64(3), "a single number"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_data_that_cannot_be_trained_on_is_refused(data, said):
    with pytest.raises(DataError, match=r".+; .+") as raised:
        source(data)

    assert said in str(raised.value)


def test_a_data_set_without_length_is_refused():
    class NoLength(Dataset):
        def __getitem__(self, index):
            return index

    with pytest.raises(DataError, match="NoLength without length"):
        source(NoLength())


@pytest.mark.parametrize(
    ("batch", "size"),
    [
        (torch.zeros(3, 2), 3),
        ((torch.zeros(4, 2), torch.zeros(4)), 4),
        ([torch.tensor(1.0), torch.zeros(5)], 5),
        ({"name": ["a"], "nested": {"x": torch.zeros(6, 1)}}, 6),
    ],
)
def test_samples_of_a_batch_are_counted_by_its_first_tensor(batch, size):
    assert samples_in(batch) == size


@pytest.mark.parametrize("batch", [np.zeros(3), ["a", "b"], {}, torch.tensor(1.0), 3.0, None])
def test_a_batch_without_tensors_is_refused(batch):
    with pytest.raises(DataError, match="holds no tensor"):
        samples_in(batch)


@pytest.mark.parametrize(
    ("batches", "said"),
    [
        ([(np.zeros((2, 3)), np.zeros((2, 1)))], "holds no tensor"),
        ([(torch.zeros(2, 3), torch.zeros(2, 1)), (torch.zeros(0, 3), torch.zeros(0, 1))], "a batch is empty"),
        (DataLoader(Rows(2), batch_size=3, drop_last=True), "the data loader gave no batch"),
    ],
)
def test_bad_batches_are_refused_while_training(trainer, net, batches, said):
    with pytest.raises(DataError, match=said):
        trainer().fit(net(), batches, loss="mse")


def test_an_iterable_that_is_used_up_after_an_epoch_is_reported(trainer, net, regression):
    class Once:
        def __init__(self, batches):
            self.batches = iter(batches)

        def __iter__(self):
            yield from self.batches

    with pytest.raises(DataError, match="used up"):
        trainer(max_epochs=2).fit(net(), Once([regression(4)]), loss="mse")


@pytest.mark.parametrize("num_workers", [0, 2])
def test_training_on_a_data_set_ends_bitwise_as_on_arrays(trainer, net, regression, same, num_workers):
    arrays, validation = regression(23), regression(7, seed=2)
    one, other = net(dropout=0.2), net(dropout=0.2)

    class Pairs(Dataset):
        def __len__(self):
            return 23

        def __getitem__(self, index):
            return arrays[0][index], arrays[1][index]

    from_arrays = trainer().fit(one, arrays, validation, loss="mse")
    from_data_set = trainer(num_workers=num_workers).fit(other, Pairs(), validation, loss="mse")

    assert same(one.state_dict(), other.state_dict())
    assert from_arrays.history == from_data_set.history
