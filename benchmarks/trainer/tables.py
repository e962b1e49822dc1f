"""Tables in markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; numbers are aligned to the right, which is every column but the first."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (header, rule, *rows))


def reason(error: Exception) -> str:
    """Return an error as it fits into a cell."""
    text = f"{type(error).__name__}: {error}".splitlines()[0].replace("|", "/")
    return f"failed: {text[:90]}"
