from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from kladml.errors import DataError
from kladml.training.data.keeping_back import keep_back
from kladml.training.data.sources import Loading, batch_source


def test_every_sample_is_in_one_part_and_inputs_stay_with_their_targets():
    inputs, targets = np.arange(20.0).reshape(10, 2), np.arange(10)
    (left, left_y), (kept, kept_y) = keep_back((inputs, targets), 0.3, seed=1)
    assert sorted([*left_y, *kept_y]) == [*range(10)]
    assert len(kept) == 3
    assert np.array_equal(left, inputs[left_y])
    assert np.array_equal(kept, inputs[kept_y])


def test_the_seed_decides_which_samples():
    data = torch.arange(100)
    same = [keep_back(data, 0.2, seed=5)[1].tolist() for _ in range(2)]
    assert same[0] == same[1] != keep_back(data, 0.2, seed=6)[1].tolist()


@pytest.mark.parametrize(("share", "kept"), [(0.001, 1), (0.999, 9), (0.5, 5)])
def test_no_part_is_empty(share, kept):
    left, back = keep_back(([*range(10)], np.arange(10)), share, seed=0)
    assert (len(left[0]), len(back[0])) == (10 - kept, kept)
    assert isinstance(left[0], list)


def test_a_data_set_is_divided_without_reading_it():
    data = TensorDataset(torch.arange(10), torch.arange(10))
    left, kept = keep_back(data, 0.2, seed=0)
    assert (len(left), len(kept)) == (8, 2)
    assert {int(x) for x, _ in left}.isdisjoint(int(x) for x, _ in kept)


def test_tables_keep_the_names_of_their_columns():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": range(10), "b": [*"abcdefghij"]}, index=range(20, 30))
    (left, left_y), (kept, kept_y) = keep_back((table, table["a"]), 0.2, seed=0)
    assert pandas.concat([left, kept]).sort_index().equals(table)
    assert (left["a"].equals(left_y), kept["a"].equals(kept_y)) == (True, True)


@pytest.fixture
def mapped(tmp_path):
    """Return inputs in 64 bit floats and targets, mapped from files."""
    np.save(tmp_path / "x.npy", np.arange(40.0).reshape(20, 2))
    np.save(tmp_path / "y.npy", np.arange(20))
    return tuple(np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "xy")


def test_mapped_arrays_stay_where_they_are(mapped):
    left, kept = keep_back(mapped, 0.25, seed=3, in_place=True)
    copied_left, copied_kept = keep_back(mapped, 0.25, seed=3)
    for part, copied in ((left, copied_left), (kept, copied_kept)):
        assert part.arrays == mapped
        source = batch_source(part, Loading(batch_size=4), name="data")
        same = batch_source(copied, Loading(batch_size=4), name="data")
        for (inputs, targets), (other_inputs, other_targets) in zip(contents(source), contents(same), strict=True):
            assert inputs.dtype == torch.get_default_dtype()
            assert torch.equal(inputs, other_inputs)
            assert torch.equal(targets, other_targets)
        assert all(
            np.shares_memory(tensor.numpy(), array) for tensor, array in zip(source.tensors, mapped, strict=True)
        )


def test_a_single_mapped_array_stays_single(mapped):
    left, _ = keep_back(mapped[0], 0.25, seed=3, in_place=True)
    (first, *_) = contents(batch_source(left, Loading(batch_size=4), name="data"))
    assert isinstance(first, torch.Tensor)


def test_what_is_in_memory_is_divided_there():
    left, _ = keep_back(np.arange(10), 0.2, seed=0, in_place=True)
    assert isinstance(left, np.ndarray)


def contents(source):
    return [batch.content for batch in source.epoch(1)]


def test_what_has_no_rows_is_refused():
    with pytest.raises(DataError, match=r"data\.val_split cannot divide a DataLoader; give data\.val"):
        keep_back(DataLoader(TensorDataset(torch.arange(10))), 0.2, seed=0)
    with pytest.raises(DataError, match="less than two samples"):
        keep_back(np.zeros((1, 2)), 0.2, seed=0)
