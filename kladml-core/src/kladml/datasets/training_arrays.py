"""What a training reads of a version: inputs and targets as arrays that are mapped into memory.

Arrays are mapped where they lie. Rows of tables are written once, as numbers and row by row, into the workspace's
cache: columns lie apart in Parquet and Arrow files, and a shuffled training on data larger than the memory would read
as many places of the disk for each row as there are columns.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kladml.datasets.arrays import open_arrays
from kladml.datasets.csv_files import first_text
from kladml.datasets.lock import locked
from kladml.datasets.progress import silent
from kladml.datasets.tables import Table, bytes_to_describe, size_of
from kladml.errors import DataError
from kladml.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from kladml.datasets.arrays import Array
    from kladml.datasets.formats import DataFile
    from kladml.datasets.progress import Progress

_LAYOUT = 1
"""Part of the key of what is cached; another number where the files would be others."""

log = get_logger(__name__)

_META = "meta.json"
_INPUTS, _TARGETS = "inputs.f32", "targets.raw"


class TrainingArrays(NamedTuple):
    """Inputs and targets, one row for each sample.

    Attributes:
        inputs: The inputs.
        targets: The targets; None for a single array.
        classes: What the numbers 0, 1, … of the targets stand for, where they were text.
    """

    inputs: Array
    targets: Array | None
    classes: tuple[str, ...] = ()


def arrays_for_training(files: Sequence[DataFile], target: str, name: str) -> TrainingArrays:
    """Return the arrays of NPZ, NPY and safetensors files.

    Args:
        files: The files.
        target: The array with the targets.
        name: What errors call the data.

    Raises:
        DataError: There are not the targets and one other array.
    """
    arrays = open_arrays(files)
    inputs = [array for array in arrays if array != target]
    if len(arrays) == 1 and inputs:
        return TrainingArrays(arrays[inputs[0]], None)
    if target not in arrays or len(inputs) != 1:
        problem = f"{name} holds the arrays {', '.join(arrays)}, where one and the targets '{target}' are expected"
        raise DataError(problem, next_step="name the array of the targets in data.target, or a file, as in name@1/file")
    return TrainingArrays(arrays[inputs[0]], arrays[target])


def table_for_training(
    files: Sequence[DataFile],
    target: str,
    classes: Sequence[str],
    *,
    cache: Path,
    fingerprint: str,
    name: str,
    types: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> TrainingArrays:
    """Return the rows of a table: the targets, and all other columns as one array of 32-bit floats.

    Args:
        files: The files of the table.
        target: The column with the targets.
        classes: The labels, where the targets are text; in the order of their numbers.
        cache: Folder for what is written once.
        fingerprint: Fingerprint of the files.
        name: What errors call the data.
        types: Types of the columns of CSV files; found out where there are none.
        progress: Shows the progress of what is done once.

    Raises:
        DataError: A column holds no numbers, or values are missing, or the disk is full.
    """
    key = hashlib.blake2b(json.dumps([_LAYOUT, fingerprint, target, list(classes)]).encode(), digest_size=16)
    folder = cache / key.hexdigest()
    if not folder.is_dir():
        with locked(cache / ".lock", f"preparing {name}"):
            if not folder.is_dir():  # another process may have done it meanwhile
                log.info(f"the rows of {name} are written as numbers to the cache, once")
                for left in cache.glob(".*.tmp"):  # by a process that was killed
                    shutil.rmtree(left, ignore_errors=True)
                with progress(f"preparing {name}", size_of(files) if types else bytes_to_describe(files)) as tell:
                    _write(_Rows(Table(files, types, tell), target, classes, name), folder, tell)
    meta = json.loads((folder / _META).read_text(encoding="utf-8"))
    if not meta["rows"]:
        return TrainingArrays(np.zeros((0, meta["width"]), np.float32), np.zeros(0, np.int64))
    inputs = np.memmap(folder / _INPUTS, np.float32, "r", shape=(meta["rows"], meta["width"]))
    return TrainingArrays(inputs, np.memmap(folder / _TARGETS, meta["type"], "r"), tuple(meta["classes"]))


def _write(rows: _Rows, folder: Path, tell: Callable[[int], object]) -> None:
    """Write the rows into a folder that is there whole or not at all."""
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir(parents=True)
        rows.write(temporary, tell)
        temporary.replace(folder)
    except OSError as error:
        problem = f"the rows of {rows.name} cannot be written to {folder.parent}: {error.strerror or error}"
        raise DataError(problem, next_step="make room on the disk") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class _Rows:
    """The rows of a table on their way to the cache."""

    def __init__(self, table: Table, target: str, classes: Sequence[str], name: str) -> None:
        self.files, self.target, self.name = table.files, target, name
        self._table = table
        names = table.schema.names
        if target not in names:
            problem = f"{name} has no column '{target}' (it has {', '.join(names)})"
            raise DataError(problem, next_step="name the column of the targets in data.target")
        self._inputs = [column for column in names if column != target]
        self._is_text = self._table.types[target] in ("string", "large_string")
        self._classes = [*classes] if self._is_text else []
        self._codes = {label: code for code, label in enumerate(self._classes)}

    def write(self, folder: Path, tell: Callable[[int], object]) -> None:
        """Write inputs, targets and what they are; tell the bytes of the table as they are read."""
        rows = width = 0
        whole = self.files[0].name.lower().endswith(".csv")  # a CSV file has no types: 1.0 may be a label
        with (folder / _INPUTS).open("wb") as inputs, (folder / _TARGETS).open("wb") as targets:
            for batch in self._table.batches(tell=tell):
                block = np.concatenate([self._numbers(batch, column, rows) for column in self._inputs], axis=1)
                block.astype(np.float32, copy=False).tofile(inputs)
                values = self._target_values(batch, rows)
                whole = whole and bool(np.all(np.isfinite(values) & (values == np.rint(values))))
                values.tofile(targets)
                rows, width = rows + batch.num_rows, block.shape[1]
        raw = "int64" if rows and values.dtype.kind == "i" else "float64"
        kind = "int64" if raw == "int64" or whole else "float32"
        if rows and kind != raw:
            self._convert(folder, raw, kind)
        meta = {"rows": rows, "width": width, "type": kind, "classes": self._classes}
        (folder / _META).write_text(json.dumps(meta), encoding="utf-8")

    @staticmethod
    def _convert(folder: Path, before: str, after: str) -> None:
        old = folder / "targets.old"
        (folder / _TARGETS).replace(old)
        values = np.memmap(old, before, "r")
        with (folder / _TARGETS).open("wb") as file:
            for begin in range(0, len(values), 1 << 20):
                values[begin : begin + (1 << 20)].astype(after).tofile(file)
        del values
        old.unlink()

    def _target_values(self, batch: Any, before: int) -> Array:
        if not self._is_text:
            values = self._numbers(batch, self.target, before)
            if values.shape[1] != 1:
                problem = f"the column '{self.target}' of {self.name} holds lists, which are no targets"
                raise DataError(problem, next_step="name another column in data.target")
            column = values[:, 0]
            return column.astype(np.int64 if column.dtype.kind in "iub" else np.float64)
        self._check_missing(batch, self.target, before)
        return np.asarray([self._codes[label] for label in batch.column(self.target).to_pylist()], np.int64)

    def _numbers(self, batch: Any, name: str, before: int) -> Array:
        """Return a column as an array with one row for each of the batch's."""
        self._check_missing(batch, name, before)
        column, width = batch.column(name), 1
        while hasattr(column.type, "list_size"):
            width *= column.type.list_size
            column = column.flatten()
        try:
            if str(column.type) in ("string", "large_string"):
                column = column.cast("float64")  # such as 'inf', which no one took for a number
            values = column.to_numpy(zero_copy_only=False)
        except (ValueError, TypeError):
            raise self._no_number(name, str(column.type)) from None
        if values.dtype.kind not in "fiub":
            raise self._no_number(name, str(column.type))
        return np.asarray(values).reshape(batch.num_rows, width)

    def _check_missing(self, batch: Any, name: str, before: int) -> None:
        column = batch.column(name)
        if column.null_count:
            row = before + 1 + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
            problem = f"column '{name}' of {self.name} has no value in row {row}"
            raise DataError(
                problem, next_step="fill in what is missing, or leave these rows out, and add the data again"
            )

    def _no_number(self, name: str, kind: str) -> DataError:
        for file in self.files if self.files[0].name.lower().endswith(".csv") else ():
            where = first_text(file, name)
            if where is not None:
                return DataError(f"{where} if it is to be trained on", next_step="correct it, or leave the column out")
        problem = f"column '{name}' of {self.name} holds {kind}, and a model takes numbers"
        return DataError(problem, next_step="leave it out, or read the data with a function: data.train: data.py:load")
