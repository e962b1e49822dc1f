"""Configurations: the files of the workspace, and what is in force with the origin of each value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import OptionList

from kladml_cli.ui.base import KladmlScreen, clipped, sentence_of
from kladml_cli.ui.facts import Facts, pairs
from kladml_cli.ui.reading import in_background
from kladml_cli.ui.shades import shade

if TYPE_CHECKING:
    from pathlib import Path

    from textual.app import ComposeResult

    from kladml.workspace import Workspace
    from kladml_cli.configuration import Configuration

_IN_FORCE = "in force"
_PATTERNS = ("*.yaml", "*.yml", "data/configs/**/*.yaml", "data/configs/**/*.yml")
_LARGEST = 200_000
_WIDTH = 26


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file that may be a configuration.

    Attributes:
        path: The file.
        name: As the list shows it.
    """

    path: Path
    name: str


class ConfigsScreen(KladmlScreen):
    """The files on the left; on the right what is in one, and whether it fits."""

    CSS = """
    #files { width: 26; height: 1fr; background: $panel; border: none; scrollbar-size: 1 1; }
    #files:focus { border: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("r", "refresh", "refresh", tooltip="read them again")]

    def __init__(self) -> None:
        super().__init__()
        self._files: list[ConfigFile] = []

    def compose_body(self) -> ComposeResult:
        """Compose the list and the page."""
        with Horizontal(id="body"):
            yield OptionList(id="files")
            yield Facts(id="content")

    def heading(self) -> Text:
        """Return what it is."""
        return Text("Configurations")

    def on_mount(self) -> None:
        """Look for the files."""
        self.query_one(OptionList).focus()
        self.action_refresh()

    def action_refresh(self) -> None:
        """Look for the files again."""
        self.load("files", lambda: in_background(self._find), self._list)

    def on_option_list_option_highlighted(self, event: OptionList.OptionHighlighted) -> None:
        """Show a file, or what is in force."""
        file = self._files[event.option_index - 1] if event.option_index else None
        self.load("content", lambda: in_background(lambda: self._content(file)), self.query_one(Facts).show)

    def _workspace(self) -> Workspace:
        from kladml.workspace import Workspace

        return Workspace.find(self.reader.place.workspace)

    def _find(self) -> list[ConfigFile]:
        root = self._workspace().root
        found = {path for pattern in _PATTERNS for path in root.glob(pattern) if path.is_file()}
        return [ConfigFile(path, path.relative_to(root).as_posix()) for path in sorted(found)]

    def _list(self, files: list[ConfigFile]) -> None:
        self._files = files
        choices = self.query_one(OptionList)
        choices.clear_options()
        choices.add_options([Text(_IN_FORCE, style="bold"), *(Text(clipped(file.name, _WIDTH - 2)) for file in files)])
        choices.highlighted = 0

    def _content(self, file: ConfigFile | None) -> Text:
        from kladml.errors import KladMLError
        from kladml_cli.configuration import Configuration

        workspace, place = self._workspace(), self.reader.place
        is_own = file is None or file.path == workspace.config_file
        text = Text() if file is None else Text(_read(file.path))
        try:
            loaded = Configuration(
                workspace,
                file=None if is_own or file is None else file.path,
                source=place.config_source,
                profile=place.profile,
                overrides=list(place.overrides),
            )
            if file is None:
                return _in_force(loaded)
            loaded.check_backends()
        except KladMLError as error:
            return Text().append(f"✗ {sentence_of(error)}\n\n", style=shade("bold red")) + text
        return Text().append("✓ fits\n\n", style=shade("bold green")) + text


def _in_force(loaded: Configuration) -> Text:
    from kladml_cli.configuration import DEFAULT_ORIGIN

    rows = loaded.rows()
    given = [row for row in rows if row.origin != DEFAULT_ORIGIN]
    text = pairs("set", [(row.key, f"{row.value}  ({row.origin})") for row in given])
    return (
        text
        + Text("\n" if given else "")
        + pairs("defaults", [(row.key, row.value) for row in rows if row.origin == DEFAULT_ORIGIN])
    )


def _read(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(_LARGEST)
