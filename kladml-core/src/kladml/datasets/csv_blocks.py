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

# Only at the beginning of a cell a quote opens one that may hold line breaks.
_CELL = rb'(?:"[^"]*+(?:""[^"]*+)*+"[^,\n]*+|[^",\n][^,\n]*+|)'
_ROW = re.compile(rb"%b(?:,%b)*+\n" % (_CELL, _CELL))
_ROWS = re.compile(rb"(?:%b(?:,%b)*+\n)*+" % (_CELL, _CELL))


def csv_blocks(path: Path, names: Sequence[str], block: int = _BLOCK) -> Iterator[bytes]:
    """Yield the rows of a CSV file, some at a time, each time below a line with the names of the columns.

    A line break between quotes does not end a row. A row that is larger than a block makes that block larger.

    Args:
        path: The file, whose first row is that of the names.
        names: The names.
        block: Bytes of a block.
    """
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(names)
    header = line.getvalue().encode()
    is_first, rest = True, b""
    with path.open("rb") as file:
        while True:
            read = file.read(max(block, len(rest)))  # of a row that is large, not a little more each time
            data = rest + read
            if is_first:
                end = _first_end(data)
                if end < 0 and read:
                    rest = data
                    continue
                data, is_first = data[end:] if end > 0 else b"", False
            end = _last_end(data) if read else len(data)
            if end:
                yield header + data[:end]
            rest = data[end:]
            if not read:
                return


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
