"""Data of a run: from a reference or an object to something checked, with a fingerprint."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from zipfile import BadZipFile

import numpy as np

from kladml.datasets.csv_files import check_quotes, csv_rows, length_fault, named, shown
from kladml.datasets.formats import DataFile
from kladml.errors import DataError
from kladml.runner.references import load_reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SUFFIXES = (".npz", ".safetensors", ".csv")


def load_data(reference: str, folders: Sequence[Path], *, key: str, target: str, arguments: Mapping[str, Any]) -> Any:
    """Return the data that a reference means.

    Args:
        reference: A data file, or `module:function` or `file.py:function`, which is called.
        folders: Where relative files are looked for, in this order.
        key: The configuration key that holds the reference, for errors.
        target: Array or column of a file that holds the targets.
        arguments: Arguments of the function.

    Raises:
        DataError: The file is absent, unreadable or of no known format, or the function does not import or
            does not take the arguments.
    """
    if not reference.endswith(SUFFIXES):
        if ":" not in reference:
            problem = f"{key} '{reference}' is neither a data file nor a reference to a function or a data set"
            raise DataError(problem, next_step=f"give a file ({', '.join(SUFFIXES)}), name@version or file.py:function")
        function = load_reference(reference, folders, key=key, error_class=DataError)
        if not callable(function):
            problem = f"{key} '{reference}' names a {type(function).__name__}, not a function"
            raise DataError(problem, next_step="name a function that returns the data")
        try:
            inspect.signature(function).bind(**arguments)
        except TypeError as error:
            problem = f"{key} '{reference}' cannot be called with data.args: {error}"
            raise DataError(problem, next_step="correct data.args") from error
        return function(**arguments)
    path = next((file for folder in folders if (file := Path(folder, reference)).is_file()), None)
    if path is None:
        problem = f"{key} '{reference}' does not exist"
        looked = ", ".join(str(folder) for folder in dict.fromkeys(folders))
        raise DataError(problem, next_step=f"it was looked for in {looked}")
    try:
        return _read(path, target)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        problem = f"{key} {path} cannot be read: {error}"
        raise DataError(problem, next_step="check the file") from error


def _read(path: Path, target: str) -> tuple[Any, Any]:
    if path.suffix == ".csv":
        return _read_csv(path, target)
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            arrays: Mapping[str, Any] = load_file(path)
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    else:
        # Opened here, since NumPy leaves it open when it is no archive.
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if isinstance(file, np.ndarray):
                problem = f"{path} holds a single array and no archive of arrays"
                raise DataError(problem, next_step="write it with numpy.savez")
            with file:
                arrays = dict(file)
    inputs = [name for name in arrays if name != target]
    if target not in arrays or len(inputs) != 1:
        problem = f"{path} holds the arrays {', '.join(arrays)}, where one and the targets '{target}' are expected"
        raise DataError(problem, next_step="name the array of the targets in data.target")
    return arrays[inputs[0]], arrays[target]


def _read_csv(path: Path, target: str) -> tuple[Any, Any]:
    file = DataFile(str(path), path)
    check_quotes(file)
    rows = csv_rows(file)
    _, header = next(rows, (1, []))
    if target not in header:
        problem = f"{path} has no column '{target}' (it has {', '.join(header) or 'none'})"
        raise DataError(problem, next_step="name the column of the targets in data.target")
    position = header.index(target)
    inputs, targets = [], []
    for line, row in rows:
        if not row:
            continue
        if len(row) != len(header):
            raise DataError(length_fault(file, line, row, header), next_step="correct or remove the row")
        try:
            numbers = [float(cell) for cell in row]
        except ValueError:
            raise _no_numbers(file, line, row, header) from None
        targets.append(numbers.pop(position))
        inputs.append(numbers)
    labels = np.asarray(targets, dtype=np.float32)
    whole = bool(targets) and all(value.is_integer() for value in targets)
    return np.asarray(inputs, dtype=np.float32), labels.astype(np.int64) if whole else labels


def _no_numbers(file: DataFile, line: int, row: Sequence[str], header: Sequence[str]) -> DataError:
    position = next(position for position, cell in enumerate(row) if not _is_number(cell))
    where = named(header, position)
    what = f"{shown(row[position])} in {where}, which is no number" if row[position].strip() else f"no value in {where}"
    return DataError(f"{file.name}:{line} has {what}", next_step="correct or remove the row")


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def check_data(data: Any, name: str) -> None:
    """Check what can be checked of data without reading it.

    Raises:
        DataError: It is absent or empty, or its parts have different lengths.
    """
    if data is None:
        problem = f"there is no {name}"
        raise DataError(problem, next_step="pass it to run(), or set data.train in the configuration")
    parts = data if isinstance(data, tuple) else (data,)
    lengths = [_length(part) for part in parts]
    known = [length for length in lengths if length is not None]
    if isinstance(data, tuple) and len(set(known)) > 1:
        problem = f"the arrays of {name} have different lengths: {', '.join(map(str, known))}"
        raise DataError(problem, next_step="give one target per sample")
    if 0 in known:
        problem = f"{name} is empty"
        raise DataError(problem, next_step="give at least one sample")


def _length(part: Any) -> int | None:
    if not isinstance(part, Sized):
        return None
    try:
        return len(part)
    except TypeError:  # an array without dimensions, a loader without length
        return None


def fingerprint(data: Any) -> str | None:
    """Return `sha256:…` of arrays (their types, shapes and bytes), or None for data that is not in memory."""
    if hasattr(data, "tensors"):
        data = tuple(data.tensors)
    digest = hashlib.sha256()
    for part in data if isinstance(data, tuple) else (data,):
        if not (hasattr(part, "shape") or isinstance(part, list)):
            return None
        try:
            array = np.ascontiguousarray(np.asarray(part))
        except (TypeError, ValueError, RuntimeError):
            return None
        if array.dtype.hasobject:
            return None
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(cast("Any", array.reshape(-1).view(np.uint8)))
    return f"sha256:{digest.hexdigest()}"
