"""What the keys of a screen do."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

if TYPE_CHECKING:
    from textual.app import ComposeResult

_EVERYWHERE = [("tab", "go to the next part of the screen"), ("arrows", "move"), ("pgup pgdn", "move by a page")]


class HelpScreen(ModalScreen[None]):
    """The keys of another screen.

    Args:
        title: What it is called.
        keys: Its keys and what they do.
    """

    CSS = """
    HelpScreen { align: center middle; background: $background 40%; }
    #help { width: 72; height: auto; max-height: 100%; border: round $primary; padding: 0 1; background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,enter", "dismiss", "close")]

    def __init__(self, title: str, keys: list[tuple[str, str]]) -> None:
        super().__init__()
        self._title = title.removesuffix("Screen")
        self._keys = keys

    def compose(self) -> ComposeResult:
        """Compose the screen."""
        text = Text()
        for key, description in [*self._keys, *_EVERYWHERE]:
            text.append(f"{key:>9}", style="bold")
            text.append(f"  {description}\n")
        text.append("\nesc closes this", style="dim")
        with VerticalScroll(id="help") as box:
            box.border_title = f"Keys: {self._title}"
            yield Static(text, markup=False)
