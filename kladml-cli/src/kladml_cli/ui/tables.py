"""Filling tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.text import Text
    from textual.widgets import DataTable


def fill(
    table: DataTable[Text], titles: Sequence[Text], rows: Iterable[Sequence[Text]], keys: Iterable[str] | None = None
) -> list[int]:
    """Show rows in the place of what a table has, and return how wide the columns are.

    textual measures columns later than it may paint them, and keeps what it painted; so they are measured here.

    Args:
        table: The table.
        titles: What stands above the columns, whose keys are their places.
        rows: The cells, as many in a row as there are titles.
        keys: A key for each row; none by default.
    """
    cells = [*rows]
    widths = [max(text.cell_len for text in column) for column in zip(titles, *cells, strict=True)]
    table.clear(columns=True)
    for place, (title, width) in enumerate(zip(titles, widths, strict=True)):
        table.add_column(title, width=width, key=str(place))
    for row, key in zip(cells, [None] * len(cells) if keys is None else keys, strict=True):
        table.add_row(*row, key=key)
    return widths
