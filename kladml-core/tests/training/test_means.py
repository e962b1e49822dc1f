"""Running means: weighted by samples, whatever the values are made of and on however many processes."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from kladml.training.means import RunningMeans
from kladml.training.ranks import Ranks

ALONE = Ranks()
KINDS = {
    "numbers": float,
    "64 bit tensors": lambda value: torch.tensor(value, dtype=torch.float64),
    "numpy": np.float64,
}
batches = st.lists(
    st.tuples(st.integers(0, 97), st.dictionaries(st.sampled_from("abc"), st.floats(-1e6, 1e6), max_size=3)),
    min_size=1,
    max_size=20,
)


def expected(found):
    names = {name for size, values in found if size for name in values}
    return {
        name: sum(size * values[name] for size, values in found if name in values)
        / sum(size for size, values in found if name in values)
        for name in names
    }


def add_all(means, found, kind):
    for size, values in found:
        means.add({name: KINDS[kind](value) for name, value in values.items()}, size)
    return means


@given(found=batches, kind=st.sampled_from(sorted(KINDS)))
def test_a_mean_is_weighted_by_the_samples_of_those_batches_that_have_it(found, kind):
    means = add_all(RunningMeans(), found, kind)

    assert means.read(ALONE) == pytest.approx(expected(found), rel=1e-12, abs=1e-6)
    assert means.read(ALONE) == means.read(ALONE), "reading changes nothing"


@given(found=batches, at=st.integers(0, 20), kind=st.sampled_from(sorted(KINDS)))
def test_a_state_goes_through_json_and_goes_on_to_the_last_bit(found, at, kind):
    whole = add_all(RunningMeans(), found, kind)
    state = json.loads(json.dumps(add_all(RunningMeans(), found[:at], kind).state_dict()))
    resumed = RunningMeans()
    resumed.load_state_dict(state)

    assert add_all(resumed, found[at:], kind).read(ALONE) == whole.read(ALONE)


@given(found=st.lists(batches, min_size=1, max_size=4))
def test_states_of_several_processes_are_joined(found):
    states = [add_all(RunningMeans(), part, "numbers").state_dict() for part in found]
    joined = RunningMeans()
    joined.load_joined(states)

    together = [batch for part in found for batch in part]
    assert joined.read(ALONE) == pytest.approx(expected(together), rel=1e-12, abs=1e-6)


def test_numbers_and_tensors_of_any_width_may_be_mixed():
    means = RunningMeans()
    values = [2.0, torch.tensor(4.0), torch.tensor(6.0, dtype=torch.bfloat16), torch.tensor(8), torch.tensor(True)]
    for value in values:
        means.add({"x": value, "y": 1.0}, 2)

    assert means.read(ALONE) == {"x": (2 + 4 + 6 + 8 + 1) / 5, "y": 1.0}


def test_sums_of_many_small_numbers_are_precise():
    means = RunningMeans()
    for _ in range(10_000):
        means.add({"x": torch.tensor(0.5, dtype=torch.bfloat16), "y": torch.tensor(2**-24) + 1}, 3)

    assert means.read(ALONE) == {"x": 0.5, "y": (torch.tensor(2**-24) + 1).item()}


def test_what_is_no_number_shows():
    means = RunningMeans()
    means.add({"nan": math.nan, "inf": math.inf, "fine": 1.0}, 2)
    means.add({"nan": 1.0, "inf": 1.0, "fine": 1.0}, 2)
    found = means.read(ALONE)

    assert math.isnan(found["nan"])
    assert (found["inf"], found["fine"]) == (math.inf, 1.0)


def test_what_does_not_count_does_not_show():
    means = RunningMeans()
    means.add({"x": math.nan, "only here": 1.0}, 0)
    means.add({"x": 2.0}, 1)

    assert means.read(ALONE) == {"x": 2.0}
    assert RunningMeans().read(ALONE) == {}


def test_a_tensor_that_changes_later_does_not_change_the_mean():
    value, means = torch.tensor(1.0, dtype=torch.float64), RunningMeans()
    means.add({"x": value}, 1)
    value.fill_(7.0)

    assert means.read(ALONE) == {"x": 1.0}


def read_on_all(parts):
    """Read the means over all ranks' batches; some have metrics that others lack, and some have none."""
    from kladml.config import TrainingConfig
    from kladml.training.ranks import join

    ranks = join(TrainingConfig(device="cpu", distributed=True))
    return {"means": [add_all(RunningMeans(), part[ranks.rank], "numbers").read(ranks) for part in parts]}


@pytest.mark.parametrize("world", [2, 3])
def test_the_mean_over_processes_is_that_over_all_their_samples(run_ranks, seed, world):
    random = np.random.default_rng(seed)
    parts = []
    for _ in range(8):
        part = []
        for _ in range(world):
            sizes = random.integers(0, 14, size=random.integers(0, 5)).tolist()
            part.append([(size, {name: random.normal() for name in "abcé" if random.random() < 0.7}) for size in sizes])
        parts.append(part)

    ends = run_ranks(world, read_on_all, parts=parts)

    for number, part in enumerate(parts):
        together = [batch for own in part for batch in own]
        for end in ends:
            assert end.returned["means"][number] == pytest.approx(expected(together), rel=1e-12, abs=1e-12)
            assert end.returned["means"][number] == ends[0].returned["means"][number]


class Talkative(nn.Module):
    """Gives metrics of every kind, wherever they are."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def training_step(self, batch):
        loss = nn.functional.mse_loss(self.layer(batch[0]), batch[1])
        there = {"tensor": torch.ones_like(loss), "host": torch.tensor(2.0)}
        return {"loss": loss, "float": 3.0, "int": 4, "numpy": np.float32(5), **there}


NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NEEDS_CUDA)])
def test_metrics_may_be_on_the_host_or_the_device(trainer, regression, device):
    result = trainer(device=device, log_every=1).fit(Talkative(), regression(), regression())

    expected = {"tensor": 1.0, "host": 2.0, "float": 3.0, "int": 4.0, "numpy": 5.0}
    assert expected.items() <= result.metrics.items()
    assert {f"val_{name}": value for name, value in expected.items()}.items() <= result.metrics.items()
