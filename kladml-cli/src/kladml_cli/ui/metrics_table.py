"""The metrics of runs as a table, of which one is plotted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual.widgets import DataTable

from kladml_cli.ui.base import cell
from kladml_cli.ui.tables import fill

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kladml.history.pages import RunPage

_LONGEST_NAME = 24


def in_order(pages: Iterable[RunPage]) -> list[str]:
    """Return the metrics of runs: curves before single values, then by how much they tell, single steps last."""
    from kladml_backends_console.wording import ranked

    lengths: dict[str, int] = {}
    for page in pages:
        for name, series in page.metrics.items():
            lengths[name] = max(lengths.get(name, 0), len(series.values))
    telling = [name for name in ranked(dict.fromkeys(lengths, 0.0)) if not name.endswith("_step")]
    names = [*telling, *(name for name in lengths if name not in telling)]
    return sorted(names, key=lambda name: lengths[name] < 2)  # noqa: PLR2004 - one value is no curve


class MetricsTable(DataTable[Text]):
    """A row for each metric; the cursor chooses which is plotted."""

    def __init__(self) -> None:
        super().__init__(id="metrics", cursor_type="row")
        self._names: list[str] = []
        self._titles: list[str] = []
        self._widths: list[int] = []

    @property
    def metric(self) -> str | None:
        """The metric under the cursor."""
        return self._names[self.cursor_row] if 0 <= self.cursor_row < len(self._names) else None

    def show(self, titles: Sequence[Text], rows: Mapping[str, Sequence[str]]) -> None:
        """Show metrics.

        Args:
            titles: What the columns after the name are.
            rows: The cells of each metric.
        """
        cells = {name: [cell(_label(name)), *(cell(text, justify="right") for text in rows[name])] for name in rows}
        fits = all(
            text.cell_len <= width for row in cells.values() for text, width in zip(row, self._widths, strict=False)
        )
        if fits and [*rows] == self._names and [title.plain for title in titles] == self._titles:
            for name, row in cells.items():
                for place, text in enumerate(row):
                    if self.get_cell(name, str(place)).plain != text.plain:
                        self.update_cell(name, str(place), text)
            return
        at = self.metric
        self._names, self._titles = [*rows], [title.plain for title in titles]
        self._widths = fill(self, [Text("METRIC"), *titles], cells.values(), cells)
        if at in self._names:
            self.move_cursor(row=self._names.index(at), animate=False)


def _label(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
