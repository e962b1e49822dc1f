"""What is wrong with a CSV file, by line and column; it is read a second time, slowly, to find that out."""

from __future__ import annotations

import csv
from contextlib import suppress
from typing import TYPE_CHECKING

from kladml.datasets.csv_blocks import BrokenRowError
from kladml.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kladml.datasets.formats import DataFile

CSV_NULLS = ("", "NA", "N/A", "n/a", "NULL", "null", "#N/A", "nan", "NaN")
"""Cells that stand for a missing value."""

_NUMBERS = ("int64", "float64", "double")


def csv_header(file: DataFile) -> list[str]:
    """Return the names of the columns of a CSV file.

    Raises:
        DataError: It is empty or no text, or a name is missing or there twice.
    """
    _, header = next(_rows(file), (1, []))
    problem = None
    if not header:
        problem = f"{file.name} has no line with the names of its columns"
    for position, name in enumerate(header, 1):
        if not name.strip():
            problem = f"{file.name}:1 has no name for column {position}"
        elif header.index(name) != position - 1:
            problem = f"{file.name}:1 has two columns '{name}'"
    if problem is not None:
        raise DataError(problem, next_step="correct the file's first line")
    return header


def csv_error(file: DataFile, types: Mapping[str, str], cause: Exception) -> DataError:
    """Return an error that says where a CSV file is broken.

    Args:
        file: The file.
        types: Types of its columns, as far as they are known.
        cause: What the quick reader said.
    """
    if isinstance(cause, BrokenRowError):
        return _unended(file, cause)
    try:
        problem = _first_fault(file, types)
    except DataError as error:
        return error
    if problem is None:
        problem = f"{file.name} cannot be read: {' '.join(str(cause).split())}"
    return DataError(problem, next_step="correct or remove the row")


def _unended(file: DataFile, cause: BrokenRowError) -> DataError:
    if cause.column is None:
        problem = f"{file.name}:{cause.line} begins a row that {cause}"
        return DataError(problem, next_step="correct or remove the row")
    header = csv_header(file)
    column = f"column '{header[cause.column]}'" if cause.column < len(header) else f"cell {cause.column + 1}"
    problem = f"{file.name}:{cause.line} has a quote in {column} that {cause}, so that the rows below are a part of it"
    return DataError(problem, next_step="close it, or remove it; a quote within quotes is written twice")


def first_text(file: DataFile, column: str) -> str | None:
    """Return where a column has its first cell that is no number, as `file:line has 'abc' in column 'x'`, or None."""
    return _first_fault(file, {column: "float64"})


def _first_fault(file: DataFile, types: Mapping[str, str]) -> str | None:
    rows = _rows(file)
    _, header = next(rows, (1, []))
    checked = [(position, name) for position, name in enumerate(header) if types.get(name) in _NUMBERS]
    for line, row in rows:
        if not row:
            continue
        if len(row) != len(header):
            which = (
                f"column '{header[len(row)]}' is missing" if len(row) < len(header) else f"'{row[len(header)]}' is more"
            )
            columns = f"{len(row)} column{'' if len(row) == 1 else 's'}"
            return f"{file.name}:{line} has {columns} instead of {len(header)}: {which}"
        for position, name in checked:
            if row[position] not in CSV_NULLS and not _fits(row[position], types[name]):
                return f"{file.name}:{line} has '{row[position]}' in column '{name}', which holds numbers"
    return None


def _fits(cell: str, kind: str) -> bool:
    with suppress(ValueError):
        (int if kind == "int64" else float)(cell)
        return "_" not in cell
    return False


def _rows(file: DataFile) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a file, each with the line at which it begins."""
    line = 1
    with file.path.open(newline="", encoding="utf-8-sig") as opened:
        reader = csv.reader(opened, strict=True)
        try:
            for row in reader:
                yield line, row
                line = reader.line_num + 1
        except csv.Error as error:
            problem = f"{file.name}:{line} is no row of a CSV file: {error}"
            raise DataError(problem, next_step="correct or remove the row") from error
        except UnicodeDecodeError:
            line = _line_of_bad_text(file)
            problem = f"{file.name}:{line} is not encoded in UTF-8"
            raise DataError(problem, next_step="convert the file, such as with iconv -t utf-8") from None


def _line_of_bad_text(file: DataFile) -> int:
    with file.path.open("rb") as opened:
        for number, line in enumerate(opened, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1
