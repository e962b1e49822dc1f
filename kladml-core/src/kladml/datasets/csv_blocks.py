"""A CSV file in blocks of whole rows, so that finding out its types takes the memory of one block."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_BLOCK = 8 << 20
_LARGEST_ROW = 2 * _BLOCK
"""Bytes: pyarrow reads no row that lies in more than two blocks."""

# Only at the beginning of a cell a quote opens one that may hold line breaks. Behind the closing quote of such a cell
# there is nothing more: text there means that a quote further up was left open, which this one seems to close.
_CELL = rb"""(?>"[^"\n]*+(?:""[^"\n]*+)*+"[^,\n]*+|"[^"]*+(?:""[^"]*+)*+"(?:\r[^,\n]*+)?|[^",\n][^,\n]*+|)"""
_ROW = re.compile(rb"%b(?:,%b)*+\n" % (_CELL, _CELL))
_ROWS = re.compile(rb"(?:%b(?:,%b)*+\n)*+" % (_CELL, _CELL))
_LAST_ROW = re.compile(rb"%b(?:,%b)*+" % (_CELL, _CELL))
_CELL_BEFORE = re.compile(rb"%b," % _CELL)


class BrokenRowError(ValueError):
    """A row does not end as a row does.

    Args:
        what: What is wrong.
        line: The line at which the row begins, or the cell with the quote.
        column: Which cell has a quote that is not closed, from 0; None where there is none.
    """

    def __init__(self, what: str, line: int, column: int | None) -> None:
        super().__init__(what)
        self.line = line
        self.column = column


def csv_blocks(path: Path, names: Sequence[str], block: int = _BLOCK) -> Iterator[bytes]:
    """Yield the rows of a CSV file, some at a time, each time below a line with the names of the columns.

    A line break between quotes does not end a row. A row that is larger than a block makes that block larger. A quote
    that nothing closes would take all further rows for one cell, so that they would be missing: it is refused.

    Args:
        path: The file, whose first row is that of the names.
        names: The names.
        block: Bytes of a block.

    Raises:
        BrokenRowError: A quote is not closed, or a row is larger than what pyarrow reads.
    """
    first = io.StringIO()
    csv.writer(first, lineterminator="\n").writerow(names)
    header = first.getvalue().encode()
    is_first, rest, line = True, b"", 1
    with path.open("rb") as file:
        while len(rest) < _LARGEST_ROW:
            read = file.read(max(block, len(rest)))  # of a row that is large, not a little more each time
            data = rest + read
            if is_first:
                end = _first_end(data)
                if end < 0 and read:
                    rest = data
                    continue
                end = end if end > 0 else len(data)
                line, data, is_first = 1 + data.count(b"\n", 0, end), data[end:], False
            end = _last_end(data)
            if not read:
                if b'"' in data and _LAST_ROW.fullmatch(data, end) is None:
                    raise _broken(data[end:], line + data.count(b"\n", 0, end), "")
                end = len(data)
            if end:
                yield header + data[:end]
            line, rest = line + data.count(b"\n", 0, end), data[end:]
            if not read:
                return
    raise _broken(rest, line, f" within {_LARGEST_ROW >> 20} MB")


def _broken(row: bytes, line: int, where: str) -> BrokenRowError:
    """Return an error for a row that does not end, of which its beginning is given."""
    cells = begin = 0
    while (cell := _CELL_BEFORE.match(row, begin)) is not None:
        cells, begin = cells + 1, cell.end()
    if row[begin : begin + 1] != b'"':
        return BrokenRowError(f"does not end{where}", line, None)
    return BrokenRowError(f"is not closed{where}", line + row.count(b"\n", 0, begin), cells)


def _first_end(data: bytes) -> int:
    """Return where the first row ends, or -1."""
    if b'"' not in data:
        return data.find(b"\n") + 1 or -1
    row = _ROW.match(data)
    return row.end() if row is not None else -1


def _last_end(data: bytes) -> int:
    """Return where the last whole row ends, or 0."""
    if b'"' not in data:  # ten times as quick
        return data.rfind(b"\n") + 1
    rows = _ROWS.match(data)
    return rows.end() if rows is not None else 0
