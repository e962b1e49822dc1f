"""Runs beside one another: their metrics in one plot, and what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Static, TabbedContent, TabPane

from kladml_cli.plots import COLOURS, MARKS
from kladml_cli.run_rows import short
from kladml_cli.ui.base import KladmlScreen, cell
from kladml_cli.ui.metrics_table import MetricsTable, in_order
from kladml_cli.ui.plot import Plot
from kladml_cli.ui.shades import shade
from kladml_cli.ui.tables import fill

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from kladml.history.comparison import Comparison
    from kladml.interfaces import RunAddress
    from kladml_cli.run_place import OpenPlace

_LONGEST_VALUE = 30


class CompareScreen(KladmlScreen):
    """Two or more runs; the first is what the others are compared with.

    Args:
        addresses: The runs.
    """

    CSS = """
    TabbedContent { height: 1fr; }
    TabPane { padding: 0; }
    #legend { height: auto; max-height: 3; padding: 0 1; }
    #metrics { height: auto; max-height: 45%; }
    #same { padding: 1 2; display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "tab('tab-metrics')", "metrics"),
        Binding("2", "tab('tab-differences')", "differences", tooltip="what differs in configuration, code, data …"),
    ]

    def __init__(self, addresses: Sequence[RunAddress]) -> None:
        super().__init__()
        self._addresses = [*addresses]
        self._comparison: Comparison | None = None

    def compose_body(self) -> ComposeResult:
        """Compose the two pages."""
        yield Static(self._legend(), id="legend", markup=False)
        with TabbedContent(id="body"):
            with TabPane("Metrics", id="tab-metrics"):
                yield MetricsTable()
                yield Plot(id="plot")
            with TabPane("Differences", id="tab-differences"):
                yield Static("No difference in configuration, code, data, plugins or environment.", id="same")
                yield DataTable[Text](id="differences", cursor_type="row")

    def heading(self) -> Text:
        """Return how many runs are compared."""
        return Text(f"Compare {len(self._addresses)} runs", no_wrap=True)

    def on_mount(self) -> None:
        """Read the runs."""
        self.query_one(MetricsTable).focus()

        def read(opened: OpenPlace) -> Comparison:
            from kladml.history.comparison import compare

            return compare([opened.page(opened.catalog.get_run(address)) for address in self._addresses])

        self.load("comparison", lambda: self.reader.read(read), self._show)

    def on_tabbed_content_tab_activated(self, event: TabbedContent.TabActivated) -> None:
        """Go where the arrows do something."""
        event.pane.query(DataTable).first().focus()

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Plot the metric under the cursor."""
        self._plot()

    def action_tab(self, name: str) -> None:
        """Go to a page."""
        self.query_one(TabbedContent).active = name

    def _legend(self) -> Text:
        text = Text()
        for place, address in enumerate(self._addresses):
            text.append(f"{MARKS[place % len(MARKS)]} ", style=shade(f"bold {COLOURS[place % len(COLOURS)]}"))
            text.append(f"{short(address)}   ")
        return text

    def _titles(self) -> list[Text]:
        """Return a short name of each run with its mark."""
        alone = len({address.experiment for address in self._addresses}) == 1
        labels = [
            f"@{each.label}" if alone else f"{each.experiment.experiment}@{each.label}" for each in self._addresses
        ]
        return [
            Text(f"{MARKS[place % len(MARKS)]} {label}", style=shade(COLOURS[place % len(COLOURS)]), justify="right")
            for place, label in enumerate(labels)
        ]

    def _show(self, comparison: Comparison) -> None:
        self._comparison = comparison
        titles = self._titles()
        rows = {}
        for name in in_order(comparison.pages):
            rows[name] = [_telling(page.metrics.get(name)) for page in comparison.pages]
        self.query_one(MetricsTable).show(titles, rows)
        table: DataTable[Text] = self.query_one("#differences", DataTable)
        differences = (
            [cell(one.what), cell(one.name), *(cell(_value(value)) for value in one.values)]
            for one in comparison.differences
        )
        fill(table, [Text("WHAT"), Text("NAME"), *titles], differences)
        table.display = bool(comparison.differences)
        self.query_one("#same").display = not comparison.differences
        self._plot()

    def _plot(self) -> None:
        from kladml.history.series import Series

        name = self.query_one(MetricsTable).metric
        if self._comparison is not None and name is not None:
            curves = [page.metrics.get(name) or Series(name) for page in self._comparison.pages]
            self.query_one(Plot).show(name, curves)


def _telling(series: object) -> str:
    from kladml.history.series import Series
    from kladml_cli.run_rows import telling_text

    return telling_text(series if isinstance(series, Series) else None)


def _value(value: object) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
