"""What is wrong with a CSV file, by line and column; it is read a second time, slowly, to find that out."""

from __future__ import annotations

import csv
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING

from kladml.datasets.csv_blocks import BrokenRowError, csv_blocks
from kladml.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kladml.datasets.formats import DataFile

CSV_NULLS = ("", "NA", "N/A", "n/a", "NULL", "null", "#N/A", "nan", "NaN")
"""Cells that stand for a missing value."""

_NUMBERS = ("int64", "float64", "double")
_SHOWN = 40
"""Letters of a cell that an error shows."""


def csv_header(file: DataFile) -> list[str]:
    """Return the names of the columns of a CSV file.

    Raises:
        DataError: It is empty or no text, or a name is missing or there twice.
    """
    _, header = next(csv_rows(file, strict=True), (1, []))
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


def csv_rows(file: DataFile, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file, of which the first has the names, each with the line at which it begins.

    Args:
        file: The file.
        strict: Whether quotes have to stand as RFC 4180 wants them; the quick reader does not ask for that.

    Raises:
        DataError: What follows is no row or no text.
    """
    line = 1
    with file.path.open(newline="", encoding="utf-8-sig") as opened:
        reader = csv.reader(opened, strict=strict)
        try:
            for row in reader:
                yield line, row
                line = reader.line_num + 1
        except csv.Error as error:
            problem = f"{file.name}:{line} is no row of a CSV file: {error}{_column_that_opens(file, line)}"
            raise DataError(problem, next_step="correct or remove the row") from error
        except UnicodeDecodeError:
            problem = f"{file.name}:{_place_of_bad_text(file)} that is not encoded in UTF-8"
            raise DataError(problem, next_step="convert the file, such as with iconv -t utf-8") from None


def check_quotes(file: DataFile) -> None:
    """Check that each quote of a CSV file is closed, for readers that would take all below for one cell.

    Raises:
        DataError: One is not; the message says the line and the column.
    """
    try:
        for _ in csv_blocks(file.path, []):
            pass
    except BrokenRowError as error:
        raise _unended(file, error) from error


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
    _, header = next(csv_rows(file), (1, []))
    column = named(header, cause.column) if cause.column < len(header) else f"cell {cause.column + 1}"
    problem = f"{file.name}:{cause.line} has a quote in {column} that {cause}, so that the rows below are a part of it"
    return DataError(problem, next_step="close it, or remove it; a quote within quotes is written twice")


def first_text(file: DataFile, column: str) -> str | None:
    """Return where a column has its first cell that is no number, as `file:line has 'abc' in column 'x'`, or None."""
    return _first_fault(file, {column: "float64"})


def length_fault(file: DataFile, line: int, row: Sequence[str], header: Sequence[str]) -> str:
    """Return what to say of a row that has more or fewer cells than there are columns."""
    more = len(row) > len(header)
    which = f"{shown(row[len(header)])} is more" if more else f"{named(header, len(row))} is missing"
    columns = f"{len(row)} column{'' if len(row) == 1 else 's'}"
    return f"{file.name}:{line} has {columns} instead of {len(header)}: {which}"


def named(header: Sequence[str], position: int) -> str:
    """Return what an error calls a column: by its name, or by its number where it has none."""
    name = header[position] if position < len(header) else ""
    return f"column '{name}'" if name.strip() else f"column {position + 1}"


def shown(cell: str) -> str:
    """Return the beginning of a cell for an error, in quotes and on one line."""
    text = " ".join(cell[: 2 * _SHOWN].split())
    return f"'{text[:_SHOWN]}…'" if len(cell) > _SHOWN else f"'{text}'"


def _first_fault(file: DataFile, types: Mapping[str, str]) -> str | None:
    rows = csv_rows(file)
    _, header = next(rows, (1, []))
    checked = [(position, name) for position, name in enumerate(header) if types.get(name) in _NUMBERS]
    for line, row in rows:
        if not row:
            continue
        if len(row) != len(header):
            return length_fault(file, line, row, header)
        for position, name in checked:
            if row[position] not in CSV_NULLS and not _fits(row[position], types[name]):
                return (
                    f"{file.name}:{line} has {shown(row[position])} in {named(header, position)}, which holds numbers"
                )
    return None


def _fits(cell: str, kind: str) -> bool:
    with suppress(ValueError):
        (int if kind == "int64" else float)(cell)
        return "_" not in cell
    return False


def _column_that_opens(file: DataFile, line: int) -> str:
    """Return which cell of a row that begins at a line does not end there, or nothing where that cannot be told."""
    if line == 1:
        return ""
    with file.path.open(newline="", encoding="utf-8-sig", errors="replace") as opened, suppress(csv.Error):
        header = next(csv.reader(opened), [])
        opened.seek(0)
        row = next(csv.reader(islice(opened, line - 1, line)), [])
        return f" in {named(header, len(row) - 1)}" if row else ""
    return ""


def _place_of_bad_text(file: DataFile) -> str:
    """Return the line and the cell with the first text of another encoding, as `3 has text in column 'x'`."""
    header: list[str] | None = None
    with (
        file.path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as opened,
        suppress(csv.Error),
    ):
        reader, line = csv.reader(opened), 1
        for row in reader:
            for position, cell in enumerate(row):
                index = next((index for index, letter in enumerate(cell) if "\udc80" <= letter <= "\udcff"), None)
                if index is not None:
                    before = "".join((*row[:position], cell[:index]))
                    return f"{line + before.count(chr(10))} has text in {named(header or (), position)}"
            header, line = header or row, reader.line_num + 1
    return "1 has text"
