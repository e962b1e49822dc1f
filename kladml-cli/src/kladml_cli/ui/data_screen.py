"""Data sets: their versions, and what is in each."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import DataTable

from kladml_cli.ui.base import KladmlScreen, cell, clipped
from kladml_cli.ui.facts import Facts, pairs
from kladml_cli.ui.reading import in_background
from kladml_cli.ui.runs_table import moment
from kladml_cli.ui.tables import fill

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from kladml.datasets import Column
    from kladml.datasets.catalog_versions import KnownVersion

_TITLES = [
    *(cell(title) for title in ("VERSION", "FORMAT")),
    *(cell(title, justify="right") for title in ("ROWS", "FILES", "SIZE")),
    *(cell(title) for title in ("ADDED", "WHERE")),
]
_MOST_FILES = 200
_OTHER_COLUMNS = 65
_LEAST_NAME = 12


class DataScreen(KladmlScreen):
    """All versions of all data sets, here and elsewhere, and what is known of the one under the cursor."""

    CSS = """
    #versions { height: 40%; }
    #version { height: 1fr; border-top: solid $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("r", "refresh", "refresh", tooltip="read them again")]

    def __init__(self) -> None:
        super().__init__()
        self._versions: list[KnownVersion] = []

    def compose_body(self) -> ComposeResult:
        """Compose the table and the page below it."""
        with Vertical(id="body"):
            yield DataTable[Text](id="versions", cursor_type="row")
            yield Facts(id="version")

    def heading(self) -> Text:
        """Return how many there are."""
        names = {version.summary.name for version in self._versions}
        return Text(f"Data sets  {len(names)}, in {_count(len(self._versions), 'version')}" if names else "Data sets")

    def on_mount(self) -> None:
        """Read them."""
        self.query_one("#versions").focus()
        self.action_refresh()

    def action_refresh(self) -> None:
        """Read them again."""
        self.load("data", lambda: in_background(self._read), self._show)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Show what is in a version."""
        if 0 <= event.cursor_row < len(self._versions):
            self.query_one("#version", Facts).show(_described(self._versions[event.cursor_row]))

    def _read(self) -> list[KnownVersion]:
        from kladml_cli.data_place import DataPlace

        place = self.reader.place
        with DataPlace(place.config_source, place.profile, place.workspace, place.overrides).open() as opened:
            known, _ = opened.known()
        names = dict.fromkeys(version.summary.name for version in known)
        return [version for name in names for version in known[::-1] if version.summary.name == name]

    def _show(self, versions: list[KnownVersion]) -> None:
        self._versions = versions
        room = max(self.app.size.width - _OTHER_COLUMNS, _LEAST_NAME)
        fill(self.query_one("#versions", DataTable), _TITLES, (_cells(version, room) for version in versions))
        if not versions:
            none = "No data sets yet.\n\nAdd one with: kladml data add NAME PATH"
            self.query_one("#version", Facts).show(none)
        self.show_heading()


def _cells(version: KnownVersion, room: int) -> list[Text]:
    from kladml_cli.terminal import size

    short = version.summary
    return [
        cell(clipped(short.reference, room)),
        cell(short.format),
        cell("-" if short.rows is None else f"{short.rows:,}", justify="right"),
        cell(f"{short.files:,}", justify="right"),
        cell(size(short.size), justify="right"),
        cell(moment(short.created_at)),
        cell(version.where),
    ]


def _described(version: KnownVersion) -> Text:
    from kladml_cli.terminal import size

    manifest, short = version.manifest, version.summary
    if manifest is None:
        facts = [("fingerprint", short.fingerprint), ("where", version.where), ("next", version.next_step)]
        return pairs(short.reference, facts)
    schema = manifest.schema
    facts = [("fingerprint", manifest.fingerprint), ("from", manifest.source)]
    text = pairs(str(manifest.reference), facts)
    columns = [(column.name, _noted(column, schema.target)) for column in schema.columns]
    text += Text("\n") + pairs(_count(len(columns), "column"), columns)
    text += Text("\n") + pairs("labels", [(label, f"{count:,}") for label, count in (schema.labels or {}).items()])
    files = [(file.name, size(file.size)) for file in manifest.files[:_MOST_FILES]]
    text += Text("\n") + pairs(_count(len(manifest.files), "file"), files)
    if len(manifest.files) > _MOST_FILES:
        text.append(f"and {len(manifest.files) - _MOST_FILES:,} more\n", style="dim")
    return text


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' if count != 1 else ''}"


def _noted(column: Column, target: str | None) -> str:
    notes = [str(column), *(["target"] if column.name == target else [])]
    return ", ".join([*notes, *([f"{column.missing:,} missing"] if column.missing else [])])
