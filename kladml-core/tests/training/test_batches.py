"""Batches: which sample comes when, from every form of data, and which data is refused."""

from __future__ import annotations

import random
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from kladml.errors import DataError
from kladml.training.data.arrays import samples_in
from kladml.training.data.batches import ArrayBatches, Share
from kladml.training.data.sources import Loading, batch_source


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


def source(data, *, batch_size=4, shuffle=True, seed=0, num_workers=0, share=None):
    loading = Loading(batch_size, seed, shuffle, num_workers, share=share or Share())
    return batch_source(data, loading, name="train_data")


def contents(batches, epoch=1, start=0):
    return [batch.content for batch in batches.epoch(epoch, start)]


def numbers(batches, epoch=1, start=0):
    """The samples' numbers in the order in which they came, a list per batch."""
    found = contents(batches, epoch, start)
    return [(content[0] if isinstance(content, tuple | list) else content).flatten().tolist() for content in found]


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
        return numbers(source(torch.arange(samples), batch_size=batch_size, seed=seed, shuffle=shuffle), epoch, start)

    found = batches()

    assert sorted(chain(*found)) == list(range(samples))
    assert [len(batch) for batch in found[:-1]] == [batch_size] * (len(found) - 1)
    assert len(found) == source(torch.arange(samples), batch_size=batch_size).batches_per_epoch()
    assert found == batches()
    assert found[start:] == batches(start)
    if not shuffle:
        assert list(chain(*found)) == list(range(samples))


class Unsized:
    """An iterable of batches that does not tell how many there are."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


FORMS = {
    "array": torch.arange,
    "arrays": lambda samples: (torch.arange(samples), torch.zeros(samples)),
    "tensor data set": lambda samples: TensorDataset(torch.arange(samples)),
    "data set": Rows,
    "loader": lambda samples: DataLoader(Rows(samples), batch_size=4, shuffle=True),
    "loader of tensors": lambda samples: DataLoader(TensorDataset(torch.arange(samples)), batch_size=4, shuffle=True),
    "list of batches": lambda samples: list(torch.arange(samples).split(4)),
    "iterable of batches": lambda samples: Unsized(torch.arange(samples).split(4)),
    "stream": Stream,
    "loader of a stream": lambda samples: DataLoader(Stream(samples), batch_size=4),
}


@settings(max_examples=15)
@pytest.mark.parametrize("form", FORMS)
@given(samples=st.integers(1, 60), world=st.integers(1, 5), rounds=st.integers(0, 3), epoch=st.integers(1, 3))
def test_the_processes_share_out_every_batch_in_turn(form, samples, world, rounds, epoch):
    """What they see in a round, taken together, is the next `world` batches of the one process."""
    alone = source(FORMS[form](samples))
    whole = numbers(alone, epoch, rounds * world)
    shares = [source(FORMS[form](samples), share=Share(rank, world)) for rank in range(world)]

    found = [list(share.epoch(epoch, rounds * world)) for share in shares]

    seen = [
        batch.content[0].flatten().tolist() if isinstance(batch.content, tuple | list) else batch.content.tolist()
        for round_ in zip(*found, strict=True)
        for batch in round_
        if batch.samples
    ]
    assert [torch.tensor(batch).flatten().tolist() for batch in seen] == whole
    for share, batches in zip(shares, found, strict=True):
        assert len(batches) == -(-len(whole) // world)
        assert [batch.samples for batch in batches[:-1]] == [4] * (len(batches) - 1)
        known = share.batches_per_epoch()
        assert known in (None, -(-samples // 4))
        assert share.rounds_per_epoch() == (None if known is None else -(-known // world))
        if known is not None or world > 1:
            assert [batch.is_last for batch in batches] == [False] * (len(batches) - 1) + [True] * bool(batches)
        else:
            assert not any(batch.is_last for batch in batches)


def test_a_process_that_has_no_batch_left_gets_one_that_does_not_count():
    three = [torch.tensor([number]) for number in range(3)]

    for data in (three, Unsized(three)):
        *_, last = source(data, share=Share(1, 2)).epoch(1)
        assert (last.content.tolist(), last.samples, last.is_last) == ([2], 0, True)


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
        first, *others = [[[part.tolist() for part in content] for content in contents(form, epoch)] for form in forms]
        assert all(other == first for other in others)


def test_leaving_out_batches_of_a_data_set_fetches_none_of_them():
    fetched = []

    class Noting(Rows):
        def __getitem__(self, index):
            fetched.append(index)
            return super().__getitem__(index)

    whole = numbers(source(Noting(10)))
    fetched.clear()

    assert numbers(source(Noting(10)), start=2) == whole[2:]
    assert sorted(fetched) == sorted(whole[2])


class Augmented(Dataset):
    """Each sample is what Python, NumPy and torch draw for it."""

    def __init__(self, samples=11):
        self.samples = samples

    def __len__(self):
        return self.samples

    def __getitem__(self, index):
        return torch.tensor([random.random(), np.random.rand(), np.random.randn(), *torch.rand(2), torch.randn(())])  # noqa: NPY002, S311


def noisy(samples):
    return torch.stack(samples) + torch.rand(1)


def is_shuffled(workers=0, **options):
    return DataLoader(Augmented(), batch_size=4, shuffle=True, collate_fn=noisy, num_workers=workers, **options)


AUGMENTED = {
    "data set": lambda workers=0: source(Augmented(), num_workers=workers),
    "loader": lambda workers=0: source(is_shuffled(workers)),
    "loader with workers that stay": lambda workers=0: source(is_shuffled(workers, persistent_workers=workers > 0)),
    "loader of single batches": lambda workers=0: source(
        DataLoader(Augmented(), batch_size=None, shuffle=True, num_workers=workers)
    ),
}


@pytest.mark.parametrize("form", AUGMENTED)
def test_what_is_drawn_for_a_batch_depends_on_seed_epoch_and_position_alone(form):
    def drawn(workers, start=0):
        torch.manual_seed(torch.seed())
        random.seed()
        np.random.seed()  # noqa: NPY002
        form_source = AUGMENTED[form](workers)
        return [[batch.tolist() for batch in contents(form_source, epoch, start)] for epoch in (1, 2)]

    first, second = drawn(0)

    flat = [tuple(torch.tensor(batch).flatten().tolist()) for batch in (*first, *second)]
    assert len(set(flat)) == len(flat), "every batch has random numbers of its own"
    assert drawn(1) == drawn(2) == [first, second]
    assert drawn(0, start=1) == drawn(1, start=1) == [first[1:], second[1:]]


class Draws:
    """Draws in every way in which reading an item or an attribute can run code."""

    def __getitem__(self, index):
        return torch.rand(1)

    @property
    def value(self):
        return torch.rand(1)

    def __call__(self, index):
        return torch.rand(1)


class DrawingList(list):
    def __getitem__(self, index):
        return torch.rand(1)


class DrawingDict(dict):
    def __missing__(self, index):
        return torch.rand(1)


def hidden(body, **attributes):
    """Build a data set whose `__getitem__` looks harmless."""
    names = {"__len__": lambda self: 8, "__getitem__": body}
    return type("Hidden", (Dataset,), {**names, "drawn": property(lambda self: torch.rand(1))}), attributes


HIDDEN = {
    "in a list": hidden(lambda self, index: self.parts[0][index], parts=[Draws()]),
    "in a dict": hidden(lambda self, index: self.parts["x"][index], parts={"x": Draws()}),
    "deep inside": hidden(lambda self, index: self.parts[0][0][1][index], parts=[[(1, Draws())]]),
    "an attribute of an item": hidden(lambda self, index: self.items[index].value, items=[Draws()] * 8, value=[1]),
    "an object": hidden(lambda self, index: self.part[index], part=Draws()),
    "a list of its own kind": hidden(lambda self, index: self.part[index], part=DrawingList([1] * 8)),
    "a dict of its own kind": hidden(lambda self, index: self.part[index], part=DrawingDict()),
    "an array of objects": hidden(lambda self, index: self.part[0][index], part=np.array([Draws()], dtype=object)),
    "a property": hidden(lambda self, index: self.drawn),
    "a call": hidden(lambda self, index: self.part(index), part=Draws()),
    "a global": hidden(lambda self, index: GLOBAL[index]),
    "a condition": hidden(
        lambda self, index: self.x[index] if self.part[index] > 0.5 else -self.x[index],
        part=Draws(),
        x=torch.ones(8, 1),
    ),
    "arithmetic": hidden(lambda self, index: self.x[index] + torch.rand(1), x=torch.zeros(8, 1)),
}
GLOBAL = Draws()


@pytest.mark.parametrize("place", HIDDEN)
@pytest.mark.parametrize("in_loader", [False, True])
def test_what_is_drawn_is_found_wherever_it_hides(place, in_loader):
    """Data sets that only look things up are fetched without random numbers of their own, which must be proven."""

    def drawn():
        torch.manual_seed(torch.seed())
        kind, attributes = HIDDEN[place]
        data = kind()
        vars(data).update(attributes)
        return numbers(source(DataLoader(data, batch_size=4) if in_loader else data))

    first = drawn()

    assert len(set(chain(*first))) > 1, "something is drawn"
    assert drawn() == first


def test_a_data_set_that_only_looks_things_up_is_fetched_as_any_other():
    class Plain(Dataset):
        def __init__(self):
            self.x, self.y, self.names = torch.arange(23.0), np.arange(23), {"a": list(range(23))}

        def __len__(self):
            return 23

        def __getitem__(self, index):
            return self.x[index], self.y[index], self.names["a"][index]

    class Other(Plain):
        def __getitem__(self, index):
            return super().__getitem__(index)

    def fetched(data):
        return [[part.tolist() for part in content] for content in contents(source(data))]

    assert fetched(Plain()) == fetched(Other())


@pytest.mark.parametrize("world", [2, 3])
def test_what_is_drawn_for_a_batch_does_not_depend_on_the_number_of_processes(world):
    whole = [batch.tolist() for batch in contents(source(Augmented()))]
    shares = [list(source(Augmented(), share=Share(rank, world)).epoch(1)) for rank in range(world)]

    found = [batch.content.tolist() for round_ in zip(*shares, strict=True) for batch in round_ if batch.samples]
    assert found == whole


class DrawingStream(IterableDataset):
    def __iter__(self):
        for _ in range(11):
            yield torch.tensor([random.random(), np.random.rand(), *torch.rand(2)])  # noqa: NPY002, S311


@pytest.mark.parametrize("form", [*AUGMENTED, "stream", "loader of a stream", "iterable"])
def test_fetching_draws_nothing_from_everybodys_random_state(form):
    """Drawn between the batches, as a model does, the numbers are those without any data."""
    streams = {
        "stream": DrawingStream(),
        "loader of a stream": DataLoader(DrawingStream(), batch_size=4),
        "iterable": Unsized([noisy(list(torch.zeros(4, 6)))] * 3),
    }

    def drawn(fetch):
        random.seed(5)
        np.random.seed(5)  # noqa: NPY002
        torch.manual_seed(5)
        for batch in fetch:
            assert batch is not None
            mine = random.random(), random.gauss(), torch.rand(()).item(), torch.randn(()).item()  # noqa: S311
            yield *mine, np.random.rand(), np.random.randn()  # noqa: NPY002

    fetching = AUGMENTED[form]() if form in AUGMENTED else source(streams[form])
    found = list(drawn(fetching.epoch(1)))

    assert found == list(drawn(range(len(found))))
    assert len(found) >= 3


@pytest.mark.parametrize("make", [DrawingStream, lambda: DataLoader(DrawingStream(), batch_size=4)])
def test_what_a_stream_draws_depends_on_seed_and_epoch_alone(make):
    def drawn(seed=0, epoch=1, start=0, noise=False):
        torch.manual_seed(torch.seed())
        found = []
        for batch in source(make(), seed=seed).epoch(epoch, start):
            if noise:
                random.random(), np.random.rand(3), torch.rand(3)  # noqa: NPY002, S311
            found.append(batch.content.tolist())
        return found

    found = drawn()
    flat = torch.tensor([number for batch in found for number in torch.tensor(batch).flatten().tolist()])
    assert len(flat.unique()) == len(flat), "every sample has random numbers of its own"
    assert found == drawn() == drawn(noise=True)
    assert drawn(start=1, noise=True) == found[1:]
    assert len({str(drawn(seed, epoch)) for seed in (0, 1) for epoch in (1, 2)}) == 4


def test_a_loader_keeps_its_own_batches_and_order():
    loader = DataLoader(Rows(10), batch_size=3, shuffle=False, drop_last=True)

    assert numbers(source(loader, batch_size=99, seed=7)) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert source(loader).batches_per_epoch() == 3


class Told(Rows):
    """Its samples are the epoch that it was told last."""

    told = 0

    def set_epoch(self, epoch):
        self.told = epoch

    def __getitem__(self, index):
        return torch.tensor([float(self.told)])


class ToldStream(Stream):
    told = 0

    def set_epoch(self, epoch):
        self.told = epoch

    def __iter__(self):
        return (torch.tensor([float(self.told)]) for _ in range(self.samples))


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(
    "form",
    [
        lambda workers: Told(9),
        lambda workers: DataLoader(Told(9), batch_size=4, num_workers=workers),
        lambda workers: DataLoader(Told(9), batch_size=4, num_workers=workers, persistent_workers=workers > 0),
        lambda workers: ToldStream(9),
        lambda workers: DataLoader(ToldStream(9), batch_size=4, num_workers=min(workers, 1)),
    ],
    ids=["data set", "loader", "loader with workers that stay", "stream", "loader of a stream"],
)
def test_data_is_told_the_epoch_wherever_it_is_fetched(form, num_workers):
    batches = source(form(num_workers), num_workers=num_workers)

    for epoch in (1, 2, 7):
        assert {number for batch in numbers(batches, epoch) for number in batch} == {epoch}


def test_a_tensor_data_set_is_batched_in_memory_unless_it_is_changed():
    class Negated(TensorDataset):
        def __getitem__(self, index):
            return tuple(-part for part in super().__getitem__(index))

    plain, changed = source(TensorDataset(torch.ones(3, 1))), source(Negated(torch.ones(3, 1)))

    assert isinstance(plain, ArrayBatches)
    assert numbers(plain) == [[1, 1, 1]]
    assert numbers(changed) == [[-1, -1, -1]]


def test_a_stream_is_batched_in_its_own_order_and_has_no_length():
    batches = source(Stream(6), batch_size=4)

    assert numbers(batches, 1) == numbers(batches, 2) == [[0, 1, 2, 3], [4, 5]]
    assert batches.batches_per_epoch() is None


def test_any_iterable_of_batches_can_be_gone_through_again():
    class Batches:
        def __iter__(self):
            return iter([torch.tensor([1]), torch.tensor([2, 3])])

    for data, length in (([torch.tensor([1]), torch.tensor([2, 3])], 2), (Batches(), None)):
        batches = source(data)
        assert numbers(batches, 1) == numbers(batches, 2) == [[1], [2, 3]]
        assert numbers(batches, 1, start=1) == [[2, 3]]
        assert batches.batches_per_epoch() == length


def test_a_single_array_gives_tensors_and_a_tuple_gives_tuples():
    array = np.arange(3, dtype=np.float32)

    assert torch.equal(contents(source(array, shuffle=False))[0], torch.tensor([0.0, 1.0, 2.0]))
    assert isinstance(contents(source((array,), shuffle=False))[0], tuple)


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
    (batch,) = contents(source((array,), shuffle=False))[0]

    assert batch.dtype == dtype
    assert batch.tolist() == np.asarray(array.tolist() if hasattr(array, "tolist") else array).tolist()


def test_a_batch_is_a_copy():
    array = torch.zeros(4, 1)
    contents(source(array, shuffle=False))[0].add_(1)

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


class Augmenting(Dataset):
    """Pairs with noise of every generator."""

    def __init__(self, inputs, targets):
        self.inputs, self.targets, self.epoch = inputs, targets, 0

    def __len__(self):
        return len(self.inputs)

    def set_epoch(self, epoch):
        self.epoch = epoch
        torch.rand(3)

    def __getitem__(self, index):
        noise = random.random() + random.gauss() + np.random.rand() + np.random.randn() + self.epoch  # noqa: NPY002, S311
        return self.inputs[index] + 0.1 * noise + 0.1 * torch.randn(3), self.targets[index]


def noisy_pairs(samples):
    inputs, targets = zip(*samples, strict=True)
    return torch.stack(inputs) + 0.1 * torch.randn(1), torch.stack(targets)


class Drawing(torch.nn.Module):
    """Draws from every generator in its steps, single normal numbers among them, of which NumPy makes two at once."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def training_step(self, batch, batch_idx):
        noise = random.gauss() + np.random.randn() + random.random()  # noqa: NPY002, S311
        return (self.net(batch[0]) - batch[1] + 0.1 * noise).square().mean()

    def validation_step(self, batch):
        return {"loss": (self.net(batch[0]) - batch[1]).square().mean(), "noise": np.random.randn()}  # noqa: NPY002


@pytest.mark.parametrize("form", ["data set", "loader", "loader whose workers stay"])
def test_the_number_of_workers_changes_no_bit_of_a_training(trainer, net, regression, same, form):
    def train(workers):
        data, validation = Augmenting(*regression(23)), Augmenting(*regression(7, seed=2))
        if form != "data set":
            stay = {"persistent_workers": form.endswith("stay") and workers > 0}
            data = DataLoader(data, batch_size=5, shuffle=True, collate_fn=noisy_pairs, num_workers=workers, **stay)
        module = Drawing(net(dropout=0.3))
        result = trainer(num_workers=workers, gradient_accumulation_steps=2).fit(module, data, validation)
        return module.state_dict(), result.history

    weights, history = train(0)

    for workers in (1, 2):
        found = train(workers)
        assert same(found[0], weights)
        assert found[1] == history
