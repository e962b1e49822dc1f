"""The targets of a data set: classes or numbers, how many, and how large."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from kladml.datasets.arrays import open_arrays
from kladml.datasets.formats import ARRAYS
from kladml.datasets.tables import Table
from kladml.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kladml.datasets.formats import DataFile
    from kladml.datasets.manifest import Manifest
    from kladml.datasets.reference import DatasetReference
    from kladml.datasets.schema import Column, Schema

CLASSIFICATION, REGRESSION = "classification", "regression"
TASKS = (CLASSIFICATION, REGRESSION)
TEXT = ("string", "large_string")
"""Types of columns of text."""

_FEW_LABELS = 10
_ROWS_PER_LABEL = 10
_MOST_UNUSED = 10
_SHOWN = 5


def kind_of(schema: Schema, column: Column) -> tuple[str, str]:
    """Return what the targets are for, and how that is known."""
    count, rows = len(schema.labels), schema.rows or 0
    if column.type == "bool":
        return CLASSIFICATION, "the targets are true or false"
    if column.type in TEXT or not all(map(_is_whole, schema.labels)):
        return CLASSIFICATION, "the targets are text"
    if column.shape or not count:
        which = "each sample has an array of targets" if column.shape else "the targets have many different values"
        return REGRESSION, which
    if column.type.startswith("float") and schema.format != "csv":  # a CSV file does not tell 1 from 1.0
        return REGRESSION, f"the targets are {column.type}; whole numbers would be classes"
    first, last = (int(label) for label in (next(iter(schema.labels)), [*schema.labels][-1]))
    is_counted = first in (0, 1) and last - first + 1 == count
    if count <= _FEW_LABELS or (is_counted and rows >= _ROWS_PER_LABEL * count):
        return CLASSIFICATION, f"the targets have {count} different values"
    return REGRESSION, f"the targets are whole numbers with {count} different values"


def outputs_of(schema: Schema, column: Column, manifest: Manifest, train: DatasetReference) -> int:
    """Return how many classes there are; the numbers of classes begin at 0.

    Raises:
        DataError: The targets are no numbers of classes.
    """
    if column.type in TEXT:
        labels = labels_of(schema, column, manifest)
        if len(labels) < 2:  # noqa: PLR2004 - one label is nothing to tell from others
            how = "are all alike" if labels else "are text with too many different values"
            problem = f"the targets '{column.name}' of {train} {how}"
            raise DataError(problem, next_step="name a column of labels with --target")
        return len(labels)
    if column.type == "bool":
        return 2
    labels = labels_of(schema, column, manifest)
    whole = [int(label) for label in labels if _is_whole(label)]
    is_float = column.type.startswith("float") and schema.format != "csv"
    if (
        not whole
        or len(whole) < len(labels)
        or column.shape
        or is_float
        or whole[0] < 0
        or whole[-1] >= len(whole) + _MOST_UNUSED
    ):
        shown = ", ".join(labels[:_SHOWN]) or str(column)
        problem = f"the targets '{column.name}' of {train} are no numbers of classes (0, 1, 2, …): {shown}"
        raise DataError(problem, next_step="store such whole numbers, or text in a table, or use --task regression")
    return max(whole[-1] + 1, 2)


def labels_of(schema: Schema, column: Column, manifest: Manifest) -> tuple[str, ...]:
    """Return the labels, also those that occur in another part of the version alone."""
    if manifest.schema.target == column.name and manifest.schema.labels:
        return tuple(manifest.schema.labels)
    return tuple(schema.labels)


def values_of(
    schema: Schema, files: Sequence[DataFile], column: Column, train: DatasetReference, tell: Callable[[int], object]
) -> Iterator[np.ndarray[Any, Any]]:
    """Yield the targets in pieces.

    Raises:
        DataError: They are no numbers.
    """
    if column.type in TEXT:
        problem = f"the targets '{column.name}' of {train} are text, which is nothing for a regression"
        raise DataError(problem, next_step="name a column of numbers with --target")
    if schema.format in ARRAYS:
        values = open_arrays(files)[column.name]
        for begin in range(0, len(values), 1 << 20):
            yield _numbers(values[begin : begin + (1 << 20)], column, train).reshape(-1)
        return
    for batch in Table(files, schema.types).batches([column.name], tell):
        found = batch.column(column.name)
        while hasattr(found.type, "list_size"):
            found = found.flatten()
        yield _numbers(found.drop_null().to_numpy(zero_copy_only=False), column, train)


def _numbers(values: Any, column: Column, train: DatasetReference) -> np.ndarray[Any, Any]:
    if values.dtype.kind not in "fiub":
        problem = f"the targets '{column.name}' of {train} are {column.type}, which a model cannot be trained on"
        raise DataError(problem, next_step="store them as numbers, or name another column with --target")
    return np.asarray(values, np.float64)


def _is_whole(label: str) -> bool:
    return label.removeprefix("-").isdecimal()


def moments_of(pieces: Iterator[np.ndarray[Any, Any]]) -> tuple[float, float]:
    """Return mean and standard deviation, computed piece by piece (Chan, Golub and LeVeque 1979)."""
    count, mean, squares = 0, 0.0, 0.0
    for piece in pieces:
        finite = piece[np.isfinite(piece)]
        if not len(finite):
            continue
        change, total = float(finite.mean()) - mean, count + len(finite)
        squares += float(((finite - finite.mean()) ** 2).sum()) + change**2 * count * len(finite) / total
        mean, count = mean + change * len(finite) / total, total
    deviation = math.sqrt(squares / count) if count else 0.0
    return mean, deviation or 1.0
