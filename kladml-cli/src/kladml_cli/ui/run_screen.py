"""One run: its metrics with a plot that follows it, its parameters, its files, and what it was made from."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, TabbedContent, TabPane

from kladml_cli.ui import run_texts
from kladml_cli.ui.base import KladmlScreen
from kladml_cli.ui.facts import Facts
from kladml_cli.ui.live_points import add_points
from kladml_cli.ui.metrics_table import MetricsTable, in_order
from kladml_cli.ui.plot import Plot

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from kladml.history.pages import RunPage
    from kladml.history.series import Point
    from kladml.interfaces import CatalogRun, RunAddress
    from kladml_cli.run_place import OpenPlace
    from kladml_cli.ui.hearing import Hearing

_LIVE = 1.0
_SHARE = 5
"""Reading a run that goes on takes at most one part in so many of the time."""
_AGAIN = 5.0
"""Seconds after which a run that goes on is read again if reading failed."""
_TICK = 0.25

_TITLES = ("LAST", "STEP", "BEST", "STEP")


class RunScreen(KladmlScreen):
    """Everything that is known of a run.

    Args:
        address: The run.
    """

    CSS = """
    TabbedContent { height: 1fr; }
    TabPane { padding: 0; }
    #metrics { height: auto; max-height: 45%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "tab('tab-metrics')", "metrics"),
        Binding("2", "tab('tab-parameters')", "parameters"),
        Binding("3", "tab('tab-files')", "files"),
        Binding("4", "tab('tab-origin')", "origin", tooltip="code, data, plugins and environment"),
        Binding("a", "all", "all", tooltip="show parameters at their defaults as well"),
        Binding("r", "refresh", "refresh", tooltip="read everything again", show=False),
    ]

    def __init__(self, address: RunAddress) -> None:
        super().__init__()
        self._address = address
        self._page: RunPage | None = None
        self._with_all = False
        self._files: tuple[str | None, list[str]] | None = None
        self._hearing: Hearing | None = None
        self._heard: list[Point] = []
        self._problem = ""
        self._due = 0.0

    def compose_body(self) -> ComposeResult:
        """Compose the four pages."""
        with TabbedContent(id="body"):
            with TabPane("Metrics", id="tab-metrics"):
                yield MetricsTable()
                yield Plot(id="plot")
            with TabPane("Parameters", id="tab-parameters"):
                yield Facts(id="parameters")
            with TabPane("Files", id="tab-files"):
                yield Facts(id="files")
            with TabPane("Origin", id="tab-origin"):
                yield Facts(id="origin")

    def heading(self) -> Text:
        """Return which run it is and how it stands."""
        if self._page is None:
            return Text(str(self._address))
        publisher = self._hearing.publisher if self._hearing is not None else None
        return run_texts.heading(self._page, publisher, self.app.size.width - 2)

    def on_mount(self) -> None:
        """Read the run."""
        self.query_one(MetricsTable).focus()
        self._read()
        self.set_interval(_TICK, self._tick)

    def on_unmount(self) -> None:
        """Listen no longer."""
        if self._hearing is not None:
            self._hearing.stop()

    def on_tabbed_content_tab_activated(self, event: TabbedContent.TabActivated) -> None:
        """Read the files when they are looked at first; go where the arrows do something."""
        if event.pane.id == "tab-files" and self._files is None:
            self._read_files()
        event.pane.query("MetricsTable, Facts").first().focus()

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Plot the metric under the cursor."""
        self._plot()

    def action_tab(self, name: str) -> None:
        """Go to a page."""
        self.query_one(TabbedContent).active = name

    def action_all(self) -> None:
        """Show all parameters, or those that were set."""
        self._with_all = not self._with_all
        if self._page is not None:
            self.query_one("#parameters", Facts).show(run_texts.parameters(self._page, with_all=self._with_all))

    def action_refresh(self) -> None:
        """Read everything again."""
        if self._hearing is not None and self._hearing.is_over:
            self._hearing = None  # the publisher may be back
        self._read()
        if self._files is not None:
            self._read_files()

    def show_error(self, error: Exception | str | None) -> None:
        """Show an error; without one, what is wrong with the run, its tracker or its publisher."""
        lasting = self._problem if self._page is None else self._page.error or self._page.problem or self._problem
        super().show_error(error or lasting or None)

    def _read(self) -> None:
        self._due = time.monotonic() + _AGAIN

        def read(opened: OpenPlace) -> tuple[RunPage, float]:
            began = time.monotonic()
            page = opened.page(opened.get_run(self._address))
            return page, time.monotonic() - began

        self.load("page", lambda: self.reader.read(read), self._show)

    def _read_files(self) -> None:
        self.query_one("#files", Facts).show(Text("reading…", style="dim"))
        run = self._page.run if self._page is not None else None

        def read(opened: OpenPlace) -> tuple[str | None, list[str]]:
            return run_texts.stored_files(opened, run or _run(opened, self._address))

        self.load("files", lambda: self.reader.read(read), self._show_files)

    def _show(self, found: tuple[RunPage, float]) -> None:

        page, seconds = found
        is_first = self._page is None
        self._page = page
        is_running = page.run.status == "RUNNING"
        self._due = time.monotonic() + max(_LIVE, _SHARE * seconds)
        self._heard = add_points(page, self._heard) if is_running else []
        if is_running and self._hearing is None:
            from kladml_cli.ui.hearing import Hearing

            self._hearing = Hearing(self.reader.place, page.run)
        if not is_running:
            self._problem = ""  # there is nothing more to hear
        self._show_metrics(page)
        self.show_heading()
        if is_first or not is_running:
            self.query_one("#parameters", Facts).show(run_texts.parameters(page, with_all=self._with_all))
            self.query_one("#origin", Facts).show(run_texts.origin(page))
        self.show_error(None)

    def _show_metrics(self, page: RunPage) -> None:
        from kladml_backends_console.wording import number
        from kladml_cli.run_rows import step_text

        rows = {}
        for name in in_order([page]):
            series = page.metrics[name]
            unknown = ("", "") if series.has_history else ("-", "-")
            best = unknown if series.best is None else (number(series.best[0]), str(series.best[1]))
            rows[name] = (number(series.last[0]), step_text(series.last[1]), *best)
        self.query_one(MetricsTable).show([Text(title, justify="right") for title in _TITLES], rows)
        self._plot()

    def _show_files(self, found: tuple[str | None, list[str]]) -> None:
        self._files = found
        self.query_one("#files", Facts).show(run_texts.files(*found))

    def _plot(self) -> None:
        name = self.query_one(MetricsTable).metric
        if self._page is not None and name is not None and name in self._page.metrics:
            self.query_one(Plot).show(name, [self._page.metrics[name]])

    def _tick(self) -> None:
        """Follow a run that goes on: what is heard at once, what is recorded from time to time."""
        page = self._page
        if page is None or page.run.status != "RUNNING" or not self.is_open:
            return
        is_due = time.monotonic() >= self._due
        if self._hearing is not None:
            fresh = add_points(page, self._hearing.take())
            if fresh:
                self._heard += fresh
                self._show_metrics(page)
            if self._hearing.problem != self._problem:
                self._problem = self._hearing.problem
                self.show_error(None)
        self.show_heading()
        if is_due:
            self._read()


def _run(opened: OpenPlace, address: RunAddress) -> CatalogRun:
    return opened.get_run(address)
