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


def test_files_that_were_added_removed_changed_and_moved(store, tree, picture):
    names = ("cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png")
    folder = tree({name: picture(colour) for colour, name in enumerate(names)})
    store.add("data", folder)
    (folder / "cat/1.png").rename(folder / "dog/1.png")
    (folder / "cat/2.png").write_bytes(picture(20))
    (folder / "dog/3.png").unlink()
    (folder / "dog/5.png").write_bytes(picture(5))
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


def added_arrays(store, path, *versions):
    for arrays in versions:
        np.savez(path, **arrays)
        store.add("data", path)


def test_rows_of_arrays_of_another_type_are_compared_as_numbers(store, tmp_path):
    inputs = np.arange(12.0).reshape(4, 3)
    other = inputs.astype(np.int16)
    other[2, 1] = -1
    added_arrays(store, tmp_path / "data.npz", {"X": inputs}, {"X": other})
    found = compared(store)
    assert found.columns == {"X": ("float64[3]", "int16[3]")}
    assert rows_of(found) == (1, 0, 0)
    assert found.row_difference.examples[0].values == {"X": ("float64[3]", "int16[3]")}


def test_rows_of_arrays_of_another_shape_say_both_shapes(store, tmp_path):
    added_arrays(store, tmp_path / "data.npz", {"X": np.zeros((2, 3))}, {"X": np.zeros((2, 4))})
    found = compared(store)
    assert found.columns == {"X": ("float64[3]", "float64[4]")}
    assert [each.values for each in found.row_difference.examples] == [{"X": ("float64[3]", "float64[4]")}] * 2


def test_arrays_of_other_lengths_say_their_whole_shapes(store, tmp_path):
    before = {"w": np.zeros((5, 4)), "b": np.zeros(5), "scale": np.float32(1), "same": np.zeros((7, 2))}
    after = {"w": np.zeros((6, 4)), "b": np.ones(5), "scale": np.float64(1), "same": np.zeros((7, 2))}
    added_arrays(store, tmp_path / "data.npz", before, after)
    found = compared(store)
    assert found.row_difference is None
    assert found.columns == {"w": ("float64[5, 4]", "float64[6, 4]"), "scale": ("float32", "float64")}


def test_missing_numbers_in_a_row_of_an_array_are_no_change(store, tmp_path):
    inputs = np.array([[1.0, np.nan], [2.0, 3.0]])
    added_arrays(store, tmp_path / "data.npz", {"X": inputs, "y": [1, 2]}, {"X": inputs, "y": [0, 2]})
    assert [each.values for each in compared(store).row_difference.examples] == [{"y": (1, 0)}]


def test_the_progress_of_a_comparison_is_that_of_the_bytes(store, csv, shown):
    rows = [f"{row},{row / 2}" for row in range(50_000)]
    first = csv("a,b", *rows)
    store.add("data", first)
    size = first.stat().st_size
    store.add("data", csv("a,b", *rows[:-1], "1,-1"))
    after = first.stat().st_size
    compare(store, *store.versions("data"), shown=1, progress=shown)
    assert shown.of("comparing rows") == (size + after, size + after)
    assert [label for label, _ in shown.seen] == ["comparing rows", *["reading rows that differ"] * 2]


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
