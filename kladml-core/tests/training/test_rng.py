"""Random numbers: their state comes back to the last bit, and a batch's own disturb nobody's."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from kladml.training.rng import BatchRandomness, restore_rng, rng_state
from kladml.training.seeding import batch_seed, derived_seed, seed_everything

CPU = torch.device("cpu")


def draw(pairs=1):
    """Draw from every generator; an odd number of pairs leaves the second of two normal numbers behind."""
    found = [random.random(), np.random.rand(), torch.rand(()).item(), torch.randint(2**60, ()).item()]  # noqa: NPY002, S311
    for _ in range(pairs):
        found += [random.gauss(), np.random.randn(), torch.randn(()).item(), np.random.randint(2**30)]  # noqa: NPY002
    return [*found, random.randrange(2**70), torch.rand(20).tolist(), np.random.permutation(9).tolist()]  # noqa: NPY002, S311


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("between", range(3))
def test_a_state_that_was_restored_gives_the_same_numbers(seed, before, between):
    seed_everything(seed)
    draw(before)
    state = rng_state(CPU)
    expected = [draw(pairs) for pairs in (1, 2, 3)]
    seed_everything(seed + 1)
    draw(between)

    restore_rng(state, CPU)

    assert [draw(pairs) for pairs in (1, 2, 3)] == expected


def test_a_state_is_made_of_tensors_that_keep_when_more_is_drawn(seed):
    seed_everything(seed)
    draw(1)
    state = rng_state(CPU)
    kept = {name: tensor.clone() for name, tensor in state.items()}
    draw(5)

    assert all(torch.equal(state[name], kept[name]) for name in kept)
    assert set(state) >= {"rng.python", "rng.numpy", "rng.torch"}


@pytest.mark.parametrize("pairs", [0, 1, 2, 3])
@pytest.mark.parametrize("inside", [0, 1, 3])
def test_what_is_drawn_in_a_batch_is_of_its_seed_alone_and_shifts_nothing(seed, pairs, inside):
    randomness = BatchRandomness()
    seed_everything(seed)
    expected = [draw(pairs), draw(pairs), draw(pairs)]
    seed_everything(seed)

    found, batches = [], []
    for position in range(3):
        found.append(draw(pairs))
        batches.append(randomness.call(draw, inside, seed=derived_seed(position % 2)))

    assert found == expected
    assert batches[0] == batches[2] != batches[1]
    seed_everything(seed + 1)
    assert BatchRandomness().call(draw, inside, seed=derived_seed(0)) == batches[0]


def test_generators_are_as_before_after_an_exception(seed):
    seed_everything(seed)
    draw(1)
    state = rng_state(CPU)

    def fails():
        draw(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        BatchRandomness().call(fails, seed=1)

    after = rng_state(CPU)
    assert all(torch.equal(state[name], after[name]) for name in state)


def test_calls_may_be_nested(seed):
    seed_everything(seed)
    outer, inner = BatchRandomness(), BatchRandomness()
    alone = outer.call(lambda: (draw(), draw()), seed=1)
    nested = outer.call(lambda: (draw(), inner.call(draw, seed=2), draw()), seed=1)

    assert (nested[0], nested[2]) == alone
    assert nested[1] == inner.call(draw, seed=2)


def test_another_bit_generator_of_the_users_own_is_given_back(seed):
    before = np.random.get_bit_generator()
    own = np.random.PCG64(seed)
    try:
        np.random.set_bit_generator(own)
        expected = np.random.PCG64(seed).state
        BatchRandomness().call(draw, seed=1)

        assert np.random.get_bit_generator() is own
        assert own.state == expected
    finally:
        np.random.set_bit_generator(before)


def test_seeds_of_batches_do_not_meet(seed):
    first, second = derived_seed("batch", seed, 1), derived_seed("batch", seed, 2)
    seeds = [batch_seed(epoch_seed, position) for epoch_seed in (first, second) for position in range(10_000)]

    assert all(0 <= value < 2**63 for value in seeds)
    assert len({value % 2**32 for value in seeds[:10_000]}) == 10_000, "NumPy's and torch's generators take 32 bits"
    assert len(set(seeds)) == 20_000
