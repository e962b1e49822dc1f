"""Curves in braille dots, eight to a character."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from rich.text import Text
from textual.widget import Widget

from kladml_cli.plots import COLOURS, MARKS
from kladml_cli.ui.shades import shade

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kladml.history.series import Series

_LABEL = 9
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a braille character, by line and column: https://www.unicode.org/charts/PDF/U2800.pdf"""
_BLANK = 0x2800
_COLUMNS, _LINES = 2, 4


class Plot(Widget):
    """One metric of one or more runs over its steps.

    The last value of each curve has the run's mark, so that curves can be told apart without colours.
    """

    DEFAULT_CSS = """
    Plot { height: 1fr; min-height: 5; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - textual's name for it
        super().__init__(id=id)
        self._title = ""
        self._curves: Sequence[Series] = ()

    def show(self, title: str, curves: Sequence[Series]) -> None:
        """Show curves.

        Args:
            title: What they are of.
            curves: The metric of each run; an empty one keeps the place, and with it mark and colour.
        """
        self._title, self._curves = title, curves
        self.refresh()

    def render(self) -> Text:
        """Draw as large as the widget is."""
        width, height = self.size
        lines = draw(self._curves, width, height - 1)
        text = Text(no_wrap=True, overflow="crop").append(f"{'':>{_LABEL}} {self._title}\n", style="bold")
        return text.append_text(Text("\n").join(lines))


def draw(curves: Sequence[Series], width: int, height: int) -> list[Text]:
    """Return lines that show curves, with an axis on the left and below.

    Args:
        curves: The curves; values that are no finite numbers are gaps.
        width: How many columns there are.
        height: How many lines there are.
    """
    from kladml_backends_console.wording import number

    points = [pair for curve in curves for pair in _finite(curve)]
    columns, rows = width - _LABEL - 2, height - 2
    if not points or columns < _COLUMNS or rows < 1:
        return [Text("no values yet" if not points else "", style="dim")]
    steps, values = [step for step, _ in points], [value for _, value in points]
    first, last, low, high = min(steps), max(steps), min(values), max(values)
    canvas = _Canvas(columns, rows)
    for place, curve in enumerate(curves):
        pixels = [
            (
                canvas.across((step - first) / (last - first) if last > first else 0.5),
                canvas.down((high - value) / (high - low) if 0 < high - low < float("inf") else 0.5),
            )
            if isfinite(value)
            else None
            for step, value in zip(curve.steps, curve.values, strict=True)
        ]
        canvas.draw(pixels, place)
    labels = {0: number(high), rows - 1: number(low)} if high > low and rows > 1 else {rows // 2: number(high)}
    lines = [
        Text().append(f"{labels.get(row, '')[:_LABEL]:>{_LABEL}} │", style="dim").append_text(canvas.line(row))
        for row in range(rows)
    ]
    below = f"{first}{last:>{columns - len(str(first))}}" if last > first else f"{first:^{columns}}"
    lines.append(Text(f"{'':>{_LABEL}} └{'─' * columns}", style="dim"))
    lines.append(Text(f"{'step':>{_LABEL}}  {below}", style="dim", no_wrap=True))
    return lines


class _Canvas:
    """Dots and marks, each with the number of the curve that it belongs to.

    Args:
        columns: How many characters there are in a line.
        rows: How many lines there are.
    """

    def __init__(self, columns: int, rows: int) -> None:
        self._columns, self._rows = columns, rows
        self._dots = [[0] * columns for _ in range(rows)]
        self._owner = [[0] * columns for _ in range(rows)]
        self._marks: dict[tuple[int, int], int] = {}

    def across(self, share: float) -> int:
        """Return the column of dots at a share of the width."""
        return round(share * (self._columns * _COLUMNS - 1))

    def down(self, share: float) -> int:
        """Return the line of dots at a share of the height."""
        return round(share * (self._rows * _LINES - 1))

    def draw(self, pixels: Sequence[tuple[int, int] | None], curve: int) -> None:
        """Join points by lines, but for gaps, and mark the last one."""
        before, last = None, None
        for pixel in pixels:
            if pixel is not None and pixel != before:
                for x, y in _line(before or pixel, pixel):
                    row, column = y // _LINES, x // _COLUMNS
                    self._dots[row][column] |= _DOTS[y % _LINES][x % _COLUMNS]
                    self._owner[row][column] = curve
            before = pixel
            last = pixel or last
        if last is not None:
            self._marks[last[1] // _LINES, last[0] // _COLUMNS] = curve

    def line(self, row: int) -> Text:
        """Return one line of characters."""
        text = Text(no_wrap=True)
        for column in range(self._columns):
            mark = self._marks.get((row, column))
            if mark is not None:
                text.append(MARKS[mark % len(MARKS)], style=shade(f"bold {COLOURS[mark % len(COLOURS)]}"))
            elif self._dots[row][column]:
                colour = shade(COLOURS[self._owner[row][column] % len(COLOURS)])
                text.append(chr(_BLANK + self._dots[row][column]), style=colour)
            else:
                text.append(" ")
        return text


def _finite(curve: Series) -> Iterator[tuple[int, float]]:
    return ((step, value) for step, value in zip(curve.steps, curve.values, strict=True) if isfinite(value))


def _line(start: tuple[int, int], end: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield the dots between two, both included."""
    (x, y), (to_x, to_y) = start, end
    count = max(abs(to_x - x), abs(to_y - y))
    if count == 0:
        yield end
    for place in range(count + 1 if count else 0):
        yield x + round(place * (to_x - x) / count), y + round(place * (to_y - y) / count)
