"""Arrays in NPZ, NPY and safetensors files, mapped into memory where they lie; pickled objects are refused."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from kladml.datasets.formats import format_of
from kladml.datasets.schema import Column
from kladml.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kladml.datasets.formats import DataFile

Array = np.ndarray[Any, Any]

_SAFETENSORS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
_LARGEST_HEADER = 100_000_000
_LOCAL_HEADER = 30
"""Bytes before the name in a ZIP file's local header (APPNOTE 4.3.7)."""


def open_arrays(files: Sequence[DataFile]) -> dict[str, Array]:
    """Return the arrays of files by name, read-only; what can be mapped into memory is not read.

    An array of an NPY file has the name of the file; with several files of several arrays, each name begins with
    that of its file. Compressed arrays are read.

    Raises:
        DataError: A file is damaged, or holds Python objects, or two arrays have one name.
    """
    several = sum(format_of(file.name) != "npy" for file in files) > 1
    found: dict[str, Array] = {}
    for file in files:
        stem = PurePosixPath(file.name).with_suffix("").as_posix()
        try:
            arrays = _READERS[format_of(file.name)](file.path, stem)
        except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
            reason = str(error)
            if "allow_pickle" in reason or "Object arrays" in reason or "hasobject" in reason:
                problem = f"{file.name} holds Python objects, which are not read: unpickling them could run any program"
                raise DataError(problem, next_step="convert them to numbers, and write the file again") from None
            problem = f"{file.name} cannot be read: {reason}"
            raise DataError(problem, next_step="check the file") from error
        for name, array in arrays.items():
            full = f"{stem}/{name}" if several else name
            if full in found:
                problem = f"two files hold an array '{full}'"
                raise DataError(problem, next_step="rename one of them")
            found[full] = array
    return found


def describe_arrays(arrays: Mapping[str, Array]) -> tuple[int | None, tuple[Column, ...]]:
    """Return how many rows arrays have, if that is the same for all, and one column for each."""
    lengths = {array.shape[0] if array.ndim else None for array in arrays.values()}
    columns = tuple(Column(name, array.dtype.name, array.shape[1:]) for name, array in arrays.items())
    return (lengths.pop() if len(lengths) == 1 else None), columns


def _npy(path: Path, stem: str) -> dict[str, Array]:
    return {stem: _loaded(path)}


def _loaded(path: Path) -> Array:
    with path.open("rb") as file:
        dtype, shape, fortran, offset = _npy_header(file)
    return _mapped(path, dtype, shape, offset, order="F" if fortran else "C")


def _npy_header(file: Any) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        message = "Object arrays"
        raise ValueError(message)
    return dtype, shape, fortran, file.tell()


def _npz(path: Path, stem: str) -> dict[str, Array]:
    """Map the members that `numpy.savez` stored; read those that were compressed."""
    del stem
    arrays: dict[str, Array] = {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as raw:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if member.compress_type == zipfile.ZIP_STORED:
                raw.seek(member.header_offset)
                header = raw.read(_LOCAL_HEADER)
                lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
                raw.seek(member.header_offset + _LOCAL_HEADER + lengths)
                dtype, shape, fortran, offset = _npy_header(raw)
                arrays[name] = _mapped(path, dtype, shape, offset, order="F" if fortran else "C")
            else:
                with archive.open(member) as stream:
                    arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
                    arrays[name].flags.writeable = False
    return arrays


def _safetensors(path: Path, stem: str) -> dict[str, Array]:
    """Map the tensors of a file (https://huggingface.co/docs/safetensors)."""
    del stem
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LARGEST_HEADER:
            message = "its header is too long"
            raise ValueError(message)
        header = json.loads(file.read(length))
    arrays = {}
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        if tensor["dtype"] not in _SAFETENSORS:
            message = f"'{name}' has the type {tensor['dtype']}, which NumPy does not know"
            raise ValueError(message)
        dtype, (begin, end) = np.dtype(_SAFETENSORS[tensor["dtype"]]), tensor["data_offsets"]
        shape = tuple(int(size) for size in tensor["shape"])
        if end - begin != math.prod(shape) * dtype.itemsize or begin < 0:
            message = f"'{name}' has not as many bytes as its shape needs"
            raise ValueError(message)
        arrays[name] = _mapped(path, dtype, shape, 8 + length + begin)
    return arrays


def _mapped(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int, order: str = "C") -> Array:
    if offset + math.prod(shape) * dtype.itemsize > path.stat().st_size:
        message = "it ends before its data does"
        raise ValueError(message)
    if math.prod(shape) == 0:  # nothing cannot be mapped
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape, order)  # type: ignore[call-overload,no-any-return]


_READERS = {"npy": _npy, "npz": _npz, "safetensors": _safetensors}
