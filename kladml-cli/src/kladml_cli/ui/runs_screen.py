"""The first screen: the places of the workspace on the left, their runs on the right."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import DataTable, Static, Tree

from kladml_cli.ui.base import KladmlScreen
from kladml_cli.ui.runs_reading import Choice, all_places, choose, places_with_experiments
from kladml_cli.ui.runs_table import RunsTable
from kladml_cli.ui.tree import Place, PlaceTree

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.timer import Timer

    from kladml_cli.run_place import OpenPlace
    from kladml_cli.ui.runs_reading import Chosen

_REFRESH = 3.0
_SETTLING = 0.15
"""Seconds that the cursor rests on a place before its runs are read."""
_PATIENCE = 1.0
"""Seconds of an empty screen after which it says that it is reading: another process may have locked the catalog."""
_PAGE = 100
_FIRST_PAGE = 50
"""Runs that are read for the first picture."""


class RunsScreen(KladmlScreen):
    """Projects, families and experiments, and the runs of the one under the cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "open", tooltip="open the run under the cursor", show=False),
        Binding("space", "mark", "mark", tooltip="mark a run, to compare it"),
        Binding("c", "compare", "compare", tooltip="compare the marked runs"),
        Binding("slash", "ask('where')", "filter", tooltip="only runs that meet a condition: val_acc > 0.9"),
        Binding("s", "ask('order')", "sort", tooltip="sort by a metric or parameter: -val_acc", show=False),
        Binding("d", "show('data')", "data", tooltip="data sets and their versions"),
        Binding("f", "show('configs')", "configs", tooltip="configurations, and where each value comes from"),
        Binding("p", "show('plugins')", "plugins", tooltip="the installed plugins"),
        Binding("l", "show('logs')", "logs", tooltip="what KladML had to say"),
        Binding("u", "unmark", "unmark", tooltip="take all marks away", show=False),
        Binding("r", "refresh", "refresh", tooltip="read everything again", show=False),
        Binding("escape", "clear", "back", tooltip="all runs again: no condition, no order", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._choice = Choice(limit=_FIRST_PAGE)
        self._chosen: Chosen | None = None
        self._settling: Timer | None = None

    def compose_body(self) -> ComposeResult:
        """Compose the tree and the table."""
        with Horizontal(id="body"):
            yield PlaceTree()
            yield RunsTable()
            yield Static("", id="none", markup=False)

    def heading(self) -> Text:
        """Return the name of the workspace, and which runs are shown."""
        text = Text("KladML", no_wrap=True, overflow="ellipsis")
        if self._chosen is None:
            return text
        chosen, choice = self._chosen, self._chosen.choice
        text.append(f"  {'/'.join(choice.place) or 'all runs'}")
        shown = f"{len(chosen.runs)} of {chosen.count:,}" if len(chosen.runs) < chosen.count else f"{chosen.count:,}"
        text.append(f"  {shown} run{'s' if chosen.count != 1 else ''}", style="not bold")
        if choice.where:
            text.append(f"  where {choice.where}", style="not bold italic")
        if choice.order:
            text.append(f"  by {choice.order}", style="not bold italic")
        if self._table.marked:
            text.append(f"  {len(self._table.marked)} marked", style="not bold")
        return text

    def on_mount(self) -> None:
        """Read what there is, and again and again what changed."""
        self.query_one(PlaceTree).focus()
        self.load("first", lambda: self.reader.read(self._read_first), self._show_first)
        self.set_interval(_REFRESH, self._refresh_runs)
        self.set_timer(_PATIENCE, self._say_that_it_takes_long)

    def show_error(self, error: Exception | str | None) -> None:
        """Show an error as a sentence, or take it away."""
        super().show_error(error)
        if self._chosen is None:
            self.show_heading()  # it no longer reads

    def on_resize(self) -> None:
        """Give the columns of the table what there is now."""
        if self._chosen is not None:
            self.call_after_refresh(self._show_runs, self._chosen)

    def on_tree_node_highlighted(self, event: Tree.NodeHighlighted[Place]) -> None:
        """Show the runs of the place under the cursor."""
        place = event.node.data or ()
        if place != self._choice.place:
            self._choice = replace(self._choice, place=place, limit=_PAGE)
            if self._settling is not None:
                self._settling.stop()
            self._settling = self.set_timer(_SETTLING, self._read_runs)

    def on_tree_node_selected(self, event: Tree.NodeSelected[Place]) -> None:
        """Open or close a place, or go on to the runs of an experiment."""
        if event.node.allow_expand:
            event.node.toggle()
        else:
            self._table.focus()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Open a run."""
        self.action_open()

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Read more runs at the end of those that are shown."""
        chosen = self._chosen
        if chosen is not None and event.cursor_row == len(chosen.runs) - 1 and len(chosen.runs) < chosen.count:
            self._choice = replace(self._choice, limit=len(chosen.runs) + _PAGE)
            self._read_runs()

    def on_runs_table_marked(self) -> None:
        """Say how many are marked."""
        self.show_heading()

    def action_open(self) -> None:
        """Open the run under the cursor."""
        from kladml_cli.ui.run_screen import RunScreen

        run = self._table.run
        if run is not None:
            self.app.push_screen(RunScreen(run.address))

    def action_mark(self) -> None:
        """Mark the run under the cursor."""
        self._table.action_mark()

    def action_unmark(self) -> None:
        """Take all marks away."""
        self._table.marked.clear()
        self._table.show_marks()
        self.show_heading()

    def action_compare(self) -> None:
        """Compare the marked runs."""
        from kladml_cli.ui.compare_screen import CompareScreen

        marked = [run.address for run in self._table.marked.values()]
        if len(marked) < 2:  # noqa: PLR2004 - one alone differs from nothing
            self.notify("Mark two or more runs with the space bar, then press c.", title="Compare")
            return
        self.app.push_screen(CompareScreen(marked))

    def action_show(self, name: str) -> None:
        """Open another screen."""
        from kladml_cli.ui.screens import open_screen

        self.app.push_screen(open_screen(name))

    def action_ask(self, what: str) -> None:
        """Ask for a condition or an order."""
        from kladml_cli.ui.prompt import Prompt

        titles = {"where": "Only runs where", "order": "Sort by"}
        examples = {"where": "val_acc > 0.9 and params.lr < 0.01", "order": "-val_acc"}

        def take(text: str | None) -> None:
            if text is not None:
                changes: dict[str, Any] = {what: text.strip(), "limit": _PAGE}
                self._choice = replace(self._choice, **changes)
                self._read_runs()

        self.app.push_screen(Prompt(titles[what], examples[what], getattr(self._choice, what)), take)

    def action_clear(self) -> None:
        """Show all runs of the place again."""
        if self._choice.where or self._choice.order:
            self._choice = replace(self._choice, where="", order="", limit=_PAGE)
            self._read_runs()

    def action_refresh(self) -> None:
        """Read everything again."""
        self._read_runs()
        self._read_places()

    @property
    def _table(self) -> RunsTable:
        return self.query_one(RunsTable)

    def _read_first(self, opened: OpenPlace) -> tuple[set[Place], Chosen]:
        chosen = choose(opened, self._choice)
        return places_with_experiments(opened), chosen

    def _show_first(self, found: tuple[set[Place], Chosen]) -> None:
        places, chosen = found
        self.query_one(PlaceTree).show(places)
        self._show_runs(chosen)
        self.set_timer(_SETTLING, self._read_places)  # what is slower to read can wait for the first picture
        self.call_after_refresh(gc.enable)

    def _say_that_it_takes_long(self) -> None:
        if self._chosen is None and not self.query_one("#error").display:
            self.query_one("#heading", Static).update(Text("KladML  reading…"))

    def _read_places(self) -> None:
        self.load("places", lambda: self.reader.read(all_places), self.query_one(PlaceTree).show)

    def _read_runs(self) -> None:
        choice = self._choice
        self.load("runs", lambda: self.reader.read(lambda opened: choose(opened, choice)), self._show_runs)

    def _refresh_runs(self) -> None:
        if self.app.screen is self and self._chosen is not None:
            self._read_runs()

    def _show_runs(self, chosen: Chosen) -> None:
        if chosen.choice != self._choice:  # another place was chosen meanwhile
            return
        self._chosen = chosen
        is_empty = not chosen.runs
        self._table.display = not is_empty
        none = self.query_one("#none", Static)
        none.display = is_empty
        if is_empty:
            none.update(_why_none(chosen.choice))
        else:
            self._table.show(chosen)
        self.show_heading()


def _why_none(choice: Choice) -> str:
    if choice.where:
        return f"No run meets the condition {choice.where}.\n\nesc shows all runs."
    where = f" of {'/'.join(choice.place)}" if choice.place else ""
    return f"No runs{where} yet.\n\nMake one with: kladml train"
