"""What changed between two versions."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kladml.datasets.difference import as_dict, compare
from kladml.datasets.row_difference import _difference
from kladml.errors import DataError

ROWS = st.lists(st.integers(0, 5), max_size=12)


def compared(store, shown=10):
    first, second = store.versions("data")
    return compare(store, first, second, shown=shown)


def rows_of(found):
    rows = found.row_difference
    return rows.changed, rows.added, rows.removed


def test_rows_columns_and_labels_of_a_table(store, csv):
    store.add("data", csv("id,x,y", "1,0.5,a", "2,0.5,b", "3,0.5,b"))
    store.add("data", csv("id,x,z,y", "1,0.5,9,a", "2,1.5,9,b", "3,0.5,9,a", "4,0.5,9,c"))
    found = compared(store)
    assert not found.same
    assert found.files.changed == ("data.csv",)
    assert found.columns == {"z": (None, "int64")}
    assert found.labels == {"a": (1, 2), "b": (2, 1), "c": (0, 1)}
    assert found.rows == (3, 4)
    assert rows_of(found) == (2, 1, 0)
    assert [change.values for change in found.row_difference.examples[:2]] == [
        {"x": (0.5, 1.5), "z": (None, 9)},
        {"y": ("b", "a"), "z": (None, 9)},
    ]
    assert found.row_difference.examples[2].row_after == 4
    assert as_dict(found)["rows"]["added"] == 1


def test_a_column_of_another_type_changes_no_row_whose_value_is_the_same(store, csv):
    store.add("data", csv("x,y", "1,0", "2,1"))
    store.add("data", csv("x,y", "1,0", "2,1", "2.5,1"))
    found = compared(store)
    assert found.columns == {"x": ("int64", "float64")}
    assert rows_of(found) == (0, 1, 0)


def test_the_same_rows_in_another_order(store, csv):
    store.add("data", csv("x,y", "1,0", "2,1"))
    store.add("data", csv("x,y", "2,1", "1,0"))
    found = compared(store)
    assert rows_of(found) == (0, 0, 0)
    assert found.row_difference.only_order


def test_no_more_rows_are_shown_than_asked_for(store, csv):
    store.add("data", csv("x,y", *(f"{row},0" for row in range(10))))
    store.add("data", csv("x,y", *(f"{row},1" for row in range(20))))
    found = compared(store, shown=3)
    assert rows_of(found) == (10, 10, 0)
    assert len(found.row_difference.examples) == 3
    assert compared(store, shown=0).row_difference.examples == ()


def test_rows_of_arrays(store, tmp_path, arrays):
    inputs, targets = arrays
    path = tmp_path / "data.npz"
    np.savez(path, X=inputs, y=targets)
    store.add("data", path)
    inputs[3] += 1
    targets[4] = (targets[4] + 1) % 3
    np.savez(path, X=inputs[:-1], y=targets[:-1])
    store.add("data", path)
    found = compared(store)
    assert rows_of(found) == (2, 0, 1)
    assert [change.row_before for change in found.row_difference.examples] == [4, 5, 100]
    assert [*found.row_difference.examples[0].values] == ["X"]


def test_files_that_were_added_removed_changed_and_moved(store, tree):
    folder = tree({"cat/1.png": b"1", "cat/2.png": b"2", "dog/3.png": b"3", "dog/4.png": b"4"})
    store.add("data", folder)
    (folder / "cat/1.png").rename(folder / "dog/1.png")
    (folder / "cat/2.png").write_bytes(b"another")
    (folder / "dog/3.png").unlink()
    (folder / "dog/5.png").write_bytes(b"5")
    store.add("data", folder)
    found = compared(store)
    assert found.files.moved == (("cat/1.png", "dog/1.png"),)
    assert (found.files.added, found.files.removed, found.files.changed) == (
        ("dog/5.png",),
        ("dog/3.png",),
        ("cat/2.png",),
    )
    assert found.labels == {"cat": (2, 1), "dog": (2, 3)}
    assert found.row_difference is None


@pytest.mark.parametrize("rows", [("3", "4", "5"), ("3", "4")])
def test_rows_without_a_common_column_are_not_compared(store, csv, rows):
    store.add("data", csv("x", "1", "2"))
    store.add("data", csv("z", *rows))
    found = compared(store)
    assert (found.row_difference, found.nothing_in_common) == (None, True)
    assert as_dict(found)["rows"] == {"before": 2, "after": len(rows), "not_compared": "no column in common"}


def test_arrays_without_a_common_name_are_not_compared(store, tmp_path):
    for name, count in (("a", 2), ("b", 3)):
        np.savez(tmp_path / "data.npz", **{name: np.arange(count)})
        store.add("data", tmp_path / "data.npz")
    assert compared(store).nothing_in_common


def test_equal_versions_and_damaged_ones(store, csv):
    store.add("data", csv("x,y", "1,0"))
    store.add("data", csv("x,y", "1,0"), target="x")
    assert compared(store).same
    version, _ = store.add("data", csv("x,y", "1,1"))
    store.objects.path(version.files[0].digest).unlink()
    with pytest.raises(DataError, match="data@3 is not what was added"):
        compare(store, store.get("data@1"), version, shown=1)


@given(ROWS, ROWS)
def test_counts_are_those_of_the_multisets(before, after):
    hashes = [np.array(rows, np.uint64) for rows in (before, after)]
    found = _difference(hashes, 100, lambda side, rows: {row: {"v": int(hashes[side][row])} for row in rows})
    old, new = Counter(before), Counter(after)
    assert found.added + found.changed == (new - old).total()
    assert found.removed + found.changed == (old - new).total()
    assert found.only_order == (old == new and before != after)
    assert len(found.examples) == found.added + found.removed + found.changed
    for change in found.examples:
        if None not in (change.row_before, change.row_after):
            assert change.row_before == change.row_after
            assert before[change.row_before - 1] != after[change.row_after - 1]
