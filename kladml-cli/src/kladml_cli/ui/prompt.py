"""A line to write in."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Input

if TYPE_CHECKING:
    from textual.app import ComposeResult


class Prompt(ModalScreen[str | None]):
    """Asks for a line; the answer is None if the question was left.

    Args:
        title: What is asked for.
        example: What an answer may look like.
        before: What was answered before.
    """

    CSS = """
    Prompt { align: center bottom; background: $background 40%; }
    Prompt Input { border: round $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "leave")]

    def __init__(self, title: str, example: str, before: str) -> None:
        super().__init__()
        self._title, self._example, self._before = title, example, before

    def compose(self) -> ComposeResult:
        """Compose the line."""
        line = Input(self._before, placeholder=self._example)
        line.border_title = self._title
        line.border_subtitle = "enter: take it, nothing: all of them, esc: leave"
        yield line

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Return the line."""
        self.dismiss(event.value)

    def action_leave(self) -> None:
        """Return nothing."""
        self.dismiss(None)
