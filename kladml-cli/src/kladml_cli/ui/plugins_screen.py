"""The installed plugins, and what one can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import DataTable

from kladml_cli.ui.base import KladmlScreen, cell
from kladml_cli.ui.facts import Facts, pairs
from kladml_cli.ui.reading import in_background
from kladml_cli.ui.shades import shade
from kladml_cli.ui.tables import fill

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from kladml.plugins import PluginEntry
    from kladml_cli.plugin_states import PluginState

_STYLES = {"ok": "green", "broken": "bold red", "collision": "bold yellow", "disabled": "dim"}


class PluginsScreen(KladmlScreen):
    """All plugins; none is imported before it is opened."""

    CSS = """
    #plugins { height: 60%; }
    #plugin { height: 1fr; border-top: solid $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "describe", "describe", tooltip="load the plugin and show its settings"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._states: list[PluginState] = []

    def compose_body(self) -> ComposeResult:
        """Compose the table and the page below it."""
        with Vertical(id="body"):
            yield DataTable[Text](id="plugins", cursor_type="row")
            yield Facts(id="plugin")

    def heading(self) -> Text:
        """Return how many there are."""
        return Text(f"Plugins  {len(self._states)}" if self._states else "Plugins")

    def on_mount(self) -> None:
        """Read which are installed."""
        self.query_one("#plugins").focus()
        self.load("plugins", lambda: in_background(_installed), self._show)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Show what is known of a plugin without loading it."""
        if 0 <= event.cursor_row < len(self._states):
            self.query_one("#plugin", Facts).show(_known(self._states[event.cursor_row]))

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Load a plugin and describe it."""
        entry = self._states[event.cursor_row].entry
        page = self.query_one("#plugin", Facts)
        page.show(Text("loading…", style="dim"))
        self.load("plugin", lambda: in_background(lambda: _described(entry)), page.show)

    def action_describe(self) -> None:
        """Load the plugin under the cursor and describe it."""
        self.query_one(DataTable).action_select_cursor()

    def _show(self, states: list[PluginState]) -> None:
        self._states = states
        table: DataTable[Text] = self.query_one("#plugins", DataTable)
        titles = [*map(Text, ("KIND", "NAME", "STATE", "VERSION", "DISTRIBUTION"))]
        fill(table, titles, map(_cells, states))
        self.show_heading()


def _installed() -> list[PluginState]:
    from kladml.plugins import PluginRegistry
    from kladml_cli.main import COMMANDS
    from kladml_cli.plugin_states import installed_states

    return installed_states(PluginRegistry(), frozenset(COMMANDS))


def _cells(state: PluginState) -> list[Text]:
    entry = state.entry
    shown = cell(state.state, style=shade(_STYLES.get(state.state, "")))
    return [cell(entry.kind), cell(entry.name), shown, cell(entry.version), cell(entry.distribution)]


def _known(state: PluginState) -> Text:
    entry = state.entry
    text = Text().append(f"{entry.kind} {entry.name}\n", style="bold underline")
    if state.problem:
        text.append(f"{state.state}: {state.problem}\n", style=shade(_STYLES.get(state.state, "")))
    text += pairs("", [("module", entry.value), ("owner", entry.owner)])
    return text.append("\nenter loads it and shows its settings", style="dim")


def _described(entry: PluginEntry) -> Text:
    from kladml.plugins import PluginRegistry
    from kladml_cli.plugin_description import describe
    from kladml_cli.plugin_states import selector

    found = describe(entry.kind, selector(entry), PluginRegistry())
    text = pairs(f"{entry.kind} {entry.name}", found.facts.items())
    for setting in found.settings:
        default = "required" if setting.required else f"default {setting.default!r}"
        text.append(f"\n{setting.name}", style="bold")
        text.append(f": {setting.type_name}, {default}\n")
        if setting.doc:
            text.append(f"    {setting.doc}\n", style="dim")
    return text
