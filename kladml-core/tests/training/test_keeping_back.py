from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from kladml.errors import DataError
from kladml.training.data.keeping_back import keep_back


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


def test_what_has_no_rows_is_refused():
    with pytest.raises(DataError, match=r"data\.val_split cannot divide a DataLoader; give data\.val"):
        keep_back(DataLoader(TensorDataset(torch.arange(10))), 0.2, seed=0)
    with pytest.raises(DataError, match="less than two samples"):
        keep_back(np.zeros((1, 2)), 0.2, seed=0)
