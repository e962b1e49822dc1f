"""Finding out what is in the files of a version: columns, rows, labels."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from kladml.datasets.arrays import describe_arrays, open_arrays
from kladml.datasets.csv_files import first_text
from kladml.datasets.formats import ARRAYS, TABLES, data_files
from kladml.datasets.images import count_labels
from kladml.datasets.progress import silent
from kladml.datasets.schema import Column, Schema
from kladml.datasets.tables import Table, bytes_to_describe
from kladml.errors import DataError
from kladml.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kladml.datasets.formats import DataFile
    from kladml.datasets.progress import Progress

MOST_LABELS = 1_000
"""With more different values than this, a target is no label."""

_NUMPY_NAMES = {"double": "float64", "float": "float32", "halffloat": "float16"}
_MOSTLY = 0.9
_CHUNK_ROWS = 1 << 20

log = get_logger(__name__)


def describe(
    files: Iterable[DataFile], target: str | None = None, progress: Progress = silent, name: str = "data"
) -> Schema:
    """Return what files hold.

    Args:
        files: The files of a version.
        target: The column or array with the targets; `y`, `target` or `label` by default, where there is one.
        progress: Shows the progress, where much has to be read.
        name: What the progress calls the data.

    Raises:
        DataError: A file is damaged, or there is no such target.
    """
    kind, found = data_files(files)
    if kind in TABLES:
        with progress(f"reading {name}", bytes_to_describe(found)) as tell:
            return _describe_table(kind, found, target, tell)
    if kind in ARRAYS:
        arrays = open_arrays(found)
        rows, columns = describe_arrays(arrays)
        target = _target(target, [column.name for column in columns])
        counts: Counter[Any] | None = Counter() if target is not None and arrays[target].ndim == 1 else None
        if target is not None and counts is not None:
            for begin in range(0, len(arrays[target]), _CHUNK_ROWS):
                counts = _add(counts, np.unique(arrays[target][begin : begin + _CHUNK_ROWS], return_counts=True))
        return Schema(kind, rows, columns, target, _labels(counts))
    if target is not None:
        problem = f"the data has the format '{kind}', which has no column '{target}'"
        raise DataError(problem, next_step="leave --target out")
    if kind == "images":
        names = [file.name for file in found]
        return Schema(kind, len(found), labels=count_labels(names))
    return Schema(kind)


def _describe_table(kind: str, files: Sequence[DataFile], target: str | None, tell: Callable[[int], object]) -> Schema:
    table = Table(files, tell=tell)
    target = _target(target, table.schema.names)
    rows, missing = 0, Counter[str]()
    numbers: Counter[str] = Counter()
    counts: Counter[Any] | None = None if target is None else Counter()
    text = [name for name, type_ in table.types.items() if type_ == "string"] if kind == "csv" else []
    for batch in table.batches(tell=tell):
        rows += batch.num_rows
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            missing[name] += column.null_count
        for name in text:
            numbers[name] += _numbers_in(batch.column(name))
        if target is not None and counts is not None:
            counted = batch.column(target).value_counts()
            values, times = (counted.field(position).to_pylist() for position in range(2))
            counts = _add(counts, (values, times)) if all(map(_can_be_label, values)) else None
    for name in text:
        if rows - missing[name] > numbers[name] >= _MOSTLY * (rows - missing[name]):
            where = next((fault for file in files if (fault := first_text(file, name))), name)
            log.warning(f"{where} as nearly all other rows; the column counts as text")
    columns = [_column(field, missing[field.name]) for field in table.schema]
    return Schema(kind, rows, tuple(columns), target, _labels(counts))


def _column(field: Any, missing: int) -> Column:
    """Return a column; one of lists of one length is an array in each row."""
    type_, shape = field.type, []
    while hasattr(type_, "list_size"):
        shape.append(int(type_.list_size))
        type_ = type_.value_type
    return Column(field.name, _NUMPY_NAMES.get(str(type_), str(type_)), tuple(shape), missing)


def _target(target: str | None, names: Sequence[str]) -> str | None:
    if target is None:
        return next((name for name in ("y", "target", "label") if name in names), None)
    if target not in names:
        from difflib import get_close_matches

        near = get_close_matches(target, names, n=1)
        shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")  # noqa: PLR2004 - what one can read
        problem = f"there is no column or array '{target}' in the data, which has {shown}"
        raise DataError(problem, next_step=f"did you mean '{near[0]}'?" if near else "name one of these")
    return target


def _numbers_in(column: Any) -> int:
    """Return how many cells of a column of text are numbers."""
    from kladml.datasets.tables import require

    cast = require("polars").from_arrow(column).cast(require("polars").Float64, strict=False)
    return len(cast) - int(cast.null_count())


def _can_be_label(value: Any) -> bool:
    return value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and value.is_integer())


def _add(counts: Counter[Any] | None, found: tuple[Iterable[Any], Iterable[Any]]) -> Counter[Any] | None:
    """Add numbers of values; None once there are too many different ones for labels."""
    if counts is None:
        return None
    for value, times in zip(*found, strict=True):
        plain = value.item() if isinstance(value, np.generic) else value
        if not _can_be_label(plain):
            return None
        counts[plain] += int(times)
    return counts if len(counts) <= MOST_LABELS else None


def _labels(counts: Counter[Any] | None) -> dict[str, int]:
    """Return labels as text with their numbers, in the order of the labels."""
    present = {value: times for value, times in (counts or {}).items() if value is not None}
    ordered = sorted(present, key=lambda value: (isinstance(value, str), value))
    return {str(int(v) if isinstance(v, float) else v): present[v] for v in ordered}
