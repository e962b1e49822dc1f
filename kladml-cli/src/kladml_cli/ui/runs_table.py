"""Runs as a table that keeps its cursor when it is brought up to date."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable

from kladml_cli.plots import COLOURS, MARKS
from kladml_cli.run_rows import short
from kladml_cli.ui.base import STATUS_STYLES, cell, clipped
from kladml_cli.ui.shades import shade

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kladml.interfaces import CatalogRun
    from kladml_cli.ui.runs_reading import Chosen

_PADDING = 1
_MARK_WIDTH = 1
_STATUS_WIDTH = 8
_STARTED_WIDTH = 11
_LEAST_METRIC, _CLIPPED_METRIC, _MOST_METRIC = 6, 8, 13
_LEAST_ADDRESS = 10
_MOST_ADDRESS = 34
_EXPERIMENT = 3


class RunsTable(DataTable[Text]):
    """The runs of a place, with a mark on those that are to be compared."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("space", "mark", "mark", show=False)]

    class Marked(Message):
        """A run was marked, or its mark was taken away."""

    def __init__(self) -> None:
        super().__init__(id="runs", cursor_type="row", zebra_stripes=False, cell_padding=_PADDING)
        self.marked: dict[str, CatalogRun] = {}
        self._runs: dict[str, CatalogRun] = {}
        self._shape: tuple[object, ...] = ()

    @property
    def run(self) -> CatalogRun | None:
        """The run under the cursor."""
        runs = [*self._runs.values()]
        return runs[self.cursor_row] if 0 <= self.cursor_row < len(runs) else None

    def show(self, chosen: Chosen) -> None:
        """Show runs; the cursor stays on its run."""
        runs = {str(run.address): run for run in chosen.runs}
        in_one = len(chosen.choice.place) == _EXPERIMENT
        labels = [f"@{run.address.label}" if in_one else short(run.address) for run in chosen.runs]
        wanted = min(max((len(label) for label in labels), default=0), _MOST_ADDRESS)
        room = self.size.width - 1 - _MARK_WIDTH - _STATUS_WIDTH - _STARTED_WIDTH - 8 * _PADDING
        metrics: dict[str, int] = {}
        used = 0
        for name in dict.fromkeys((*chosen.asked_for, *telling(chosen.runs))):
            left = room - used - wanted - 2 * _PADDING
            if metrics and left < _metric_width(name):
                break
            metrics[name] = min(_metric_width(name), max(left, _CLIPPED_METRIC))
            used += metrics[name] + 2 * _PADDING
        width = max(min(wanted, room - used), _LEAST_ADDRESS, len("RUN"))
        rows = {
            key: self._cells(run, clipped(label, width), metrics)
            for (key, run), label in zip(runs.items(), labels, strict=True)
        }
        shape = ([*runs], [*metrics.items()], width)
        before, self._runs = self._runs, runs
        if shape == self._shape:
            self._update(rows, [key for key in runs if runs[key] != before.get(key)])
            return
        at = [*before][self.cursor_row] if 0 <= self.cursor_row < len(before) else ""
        place = self.scroll_y
        self._shape = shape
        self.clear(columns=True)
        self.add_column(Text(" "), width=_MARK_WIDTH, key="mark")
        self.add_column(Text("RUN"), width=width, key="run")
        self.add_column(Text("STATUS"), width=_STATUS_WIDTH, key="status")
        self.add_column(Text("STARTED"), width=_STARTED_WIDTH, key="started")
        for name, takes in metrics.items():
            self.add_column(Text(_begun(name, takes), justify="right"), width=takes, key=f"metrics.{name}")
        for key, cells in rows.items():
            self.add_row(*cells, key=key)
        if at in runs:
            self.move_cursor(row=[*runs].index(at), animate=False, scroll=False)
            self.scroll_to(y=place, animate=False)

    def action_mark(self) -> None:
        """Mark the run under the cursor, or take its mark away, and go to the next."""
        run = self.run
        if run is None:
            return
        key = str(run.address)
        if self.marked.pop(key, None) is None:
            self.marked[key] = run
        self.show_marks()
        self.move_cursor(row=self.cursor_row + 1)
        self.post_message(self.Marked())

    def show_marks(self) -> None:
        """Bring the marks up to date."""
        for key in self._runs:
            self.update_cell(key, "mark", self._mark(key))

    def _update(self, rows: dict[str, list[Text]], changed: Iterable[str]) -> None:
        columns = [*self.columns]
        for key in changed:
            for column, text in zip(columns, rows[key], strict=True):
                self.update_cell(key, column, text)

    def _mark(self, key: str) -> Text:
        if key not in self.marked:
            return Text(" ")
        place = [*self.marked].index(key)
        return Text(MARKS[place % len(MARKS)], style=shade(f"bold {COLOURS[place % len(COLOURS)]}"))

    def _cells(self, run: CatalogRun, label: str, metrics: Iterable[str]) -> list[Text]:
        from kladml_backends_console.wording import number

        values = [number(run.metrics[name]) if name in run.metrics else "" for name in metrics]
        return [
            self._mark(str(run.address)),
            cell(label),
            cell(run.status, style=shade(STATUS_STYLES.get(run.status, ""))),
            cell(moment(run.started_at)),
            *(cell(value, justify="right") for value in values),
        ]


def telling(runs: Iterable[CatalogRun]) -> list[str]:
    """Return the metrics of runs, those that tell most first."""
    from kladml_backends_console.wording import ranked

    names = dict.fromkeys(name for run in runs for name in run.metrics)
    return [*ranked(dict.fromkeys(names, 0.0))]


def _begun(name: str, width: int) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"


def _metric_width(name: str) -> int:
    return min(max(len(name), _LEAST_METRIC), _MOST_METRIC)


def moment(time: datetime) -> str:
    """Return a time as short as it is clear: without the year where that is this one."""
    local = time.astimezone()
    return f"{local:%m-%d %H:%M}" if local.year == datetime.now().astimezone().year else f"{local:%Y-%m-%d}"
