"""Which rows differ between two versions, by the hash of each row's content.

A row that is in both versions at other places has not changed. One that is not in the other version, at a place where
the other one has a row that is not in this version either, was changed; all others were added or removed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kladml.datasets.arrays import open_arrays
from kladml.datasets.tables import Table, bytes_to_describe, require, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kladml.datasets.arrays import Array
    from kladml.datasets.formats import DataFile
    from kladml.datasets.progress import Progress

_SEED = 1
_NUMBERS = "biuf"
"""Kinds of NumPy's types whose values are compared as numbers."""


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row that differs.

    Attributes:
        row_before: Its number in the first version, from 1; None if it was added.
        row_after: Its number in the second version, from 1; None if it was removed.
        values: By column, the values that differ before and after; all of them for a row that has no other.
    """

    row_before: int | None
    row_after: int | None
    values: dict[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class RowDifference:
    """Rows that differ between two versions, compared by the columns that both have.

    Attributes:
        added: How many were added.
        removed: How many were removed.
        changed: How many were changed.
        only_order: Whether the same rows stand in another order.
        examples: The first ones that were changed, added and removed.
    """

    added: int
    removed: int
    changed: int
    only_order: bool
    examples: tuple[RowChange, ...]


def compare_tables(
    before: Sequence[DataFile],
    after: Sequence[DataFile],
    shown: int,
    progress: Progress,
    types: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {}),
) -> RowDifference:
    """Compare the rows of two tables.

    Args:
        before: Files of the first one.
        after: Files of the second one.
        shown: How many rows at most to give with their values.
        progress: Shows the progress.
        types: Types of the columns of CSV files in both; found out where there are none.
    """
    sides = [*zip((before, after), types, strict=True)]
    work = sum(size_of(files) if known else bytes_to_describe(files) for files, known in sides)
    with progress("comparing rows", work) as tell:
        tables = [Table(files, known, tell) for files, known in sides]
        columns = [name for name in tables[0].schema.names if name in tables[1].schema.names]
        casts = {name: _common_type(tables[0].types[name], tables[1].types[name]) for name in columns}
        hashes = [_hash_table(table, casts, tell) for table in tables]

    def fetch(side: int, numbers: Sequence[int]) -> dict[int, dict[str, Any]]:
        if not numbers:
            return {}
        with progress("reading rows that differ", size_of(tables[side].files)) as tell:
            return _rows_of_table(tables[side], numbers, tell)

    return _difference(hashes, shown, fetch)


def compare_arrays(
    before: Sequence[DataFile], after: Sequence[DataFile], shown: int, progress: Progress
) -> RowDifference | None:
    """Compare the rows of arrays; None where the arrays of a version have different lengths.

    Numbers of two types are compared as numbers.

    Args:
        before: Files of the first version.
        after: Files of the second version.
        shown: How many rows at most to give with their values.
        progress: Shows the progress.
    """
    versions = open_arrays(before), open_arrays(after)
    names = [name for name in versions[0] if name in versions[1]]
    sides = [{name: arrays[name] for name in names} for arrays in versions]
    lengths = [{array.shape[0] if array.ndim else None for array in side.values()} for side in sides]
    if any(len(each) != 1 or None in each for each in lengths):
        return None
    with progress("comparing rows", sum(array.nbytes for side in sides for array in side.values())) as tell:
        common = {name: _common_dtype(sides[0][name], sides[1][name]) for name in names}
        hashes = [_hash_arrays(side, common, tell) for side in sides]
    return _difference(
        hashes, shown, lambda side, numbers: {row: {name: sides[side][name][row] for name in names} for row in numbers}
    )


def _difference(
    hashes: Sequence[Array], shown: int, fetch: Callable[[int, Sequence[int]], Mapping[int, Mapping[str, Any]]]
) -> RowDifference:
    """Compare rows by their hashes; `fetch` gives the values of rows of the first (0) or second (1) version."""
    before, after = hashes
    _, inverse = np.unique(np.concatenate([before, after]), return_inverse=True)
    old, new = inverse[: len(before)], inverse[len(before) :]
    kinds = int(inverse.max()) + 1 if len(inverse) else 0
    counts = [np.bincount(side, minlength=kinds) for side in (old, new)]
    # Of equal rows, as many are the same as there are in both versions.
    gone = np.flatnonzero(_occurrence(old) >= counts[1][old])
    come = np.flatnonzero(_occurrence(new) >= counts[0][new])
    changed = np.intersect1d(gone, come, assume_unique=True)
    added, removed = (np.setdiff1d(rows, changed, assume_unique=True) for rows in (come, gone))
    pairs: list[tuple[int | None, int | None]] = [(int(row), int(row)) for row in changed[:shown]]
    pairs += [(None, int(row)) for row in added[: shown - len(pairs)]]
    pairs += [(int(row), None) for row in removed[: shown - len(pairs)]]
    found = [fetch(side, [row for pair in pairs if (row := pair[side]) is not None]) for side in range(2)]
    examples = tuple(_change(pair, found) for pair in pairs)
    only_order = not (len(gone) or len(come)) and not np.array_equal(before, after)
    return RowDifference(len(added), len(removed), len(changed), only_order, examples)


def _change(pair: tuple[int | None, int | None], found: Sequence[Mapping[int, Mapping[str, Any]]]) -> RowChange:
    old, new = ({} if row is None else found[side][row] for side, row in enumerate(pair))
    both = None not in pair
    values = {
        name: (_plain(old.get(name)), _plain(new.get(name)))
        for name in {**old, **new}
        if not both or not _equal(old.get(name), new.get(name))
    }
    before, after = (None if row is None else row + 1 for row in pair)
    return RowChange(before, after, values)


def _occurrence(kinds: Array) -> Array:
    """Return, for each item, how many equal ones stand before it."""
    order = np.argsort(kinds, kind="stable")
    ordered = kinds[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, np.int64)
    lengths = np.diff(np.r_[starts, len(ordered)])
    result = np.empty(len(kinds), np.int64)
    result[order] = np.arange(len(kinds)) - np.repeat(starts, lengths)
    return result


def _hash_table(table: Table, casts: Mapping[str, str | None], tell: Callable[[int], object]) -> Array:
    frames = require("polars")
    parts = [np.zeros(0, np.uint64)]
    for batch in table.batches([*casts], tell):
        frame = frames.from_arrow(batch)
        wanted = {name: getattr(frames, kind) for name, kind in casts.items() if kind is not None}
        parts.append(frame.cast(wanted, strict=False).hash_rows(seed=_SEED).to_numpy())
    return np.concatenate(parts)


def _common_type(one: str, other: str) -> str | None:
    """Return the type of polars in which values of two types are compared; None where they have one type."""
    numbers = ("int", "uint", "float", "double", "halffloat", "bool")
    if one == other:
        return None
    return "Float64" if one.startswith(numbers) and other.startswith(numbers) else "String"


def _common_dtype(one: Array, other: Array) -> np.dtype[Any]:
    """Return the type in which values of two arrays are compared."""
    is_number = one.dtype.kind in _NUMBERS and other.dtype.kind in _NUMBERS
    return np.result_type(one.dtype, other.dtype) if is_number else one.dtype


def _hash_arrays(
    arrays: Mapping[str, Array], common: Mapping[str, np.dtype[Any]], tell: Callable[[int], object]
) -> Array:
    rows = len(next(iter(arrays.values())))
    result = np.empty(rows, np.uint64)
    for row in range(rows):
        digest = hashlib.blake2b(digest_size=8)
        for name, array in arrays.items():
            digest.update(np.asarray(array[row], common[name] if array.dtype.kind in _NUMBERS else None).tobytes())
        result[row] = int.from_bytes(digest.digest(), "little")
        tell(sum(array[row].nbytes for array in arrays.values()))
    return result


def _rows_of_table(table: Table, numbers: Sequence[int], tell: Callable[[int], object]) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    wanted, before = set(numbers), 0
    for batch in table.batches(tell=tell):
        here = [row for row in wanted if before <= row < before + batch.num_rows]
        found |= {row: batch.slice(row - before, 1).to_pylist()[0] for row in here}
        before += batch.num_rows
        if len(found) == len(wanted):
            break
    return found


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        floats = all(np.asarray(each).dtype.kind in "fc" for each in (one, other))
        return np.array_equal(one, other, equal_nan=floats)
    return bool(one == other) or (one != one and other != other)  # noqa: PLR0124 - NaN


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; of an array its type and shape."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"{value.dtype.name}{list(value.shape)}"
    return value.item() if isinstance(value, np.generic | np.ndarray) else value
