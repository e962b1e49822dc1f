"""Names with values, below one another, under headings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual.containers import VerticalScroll
from textual.widgets import Static

from kladml_cli.ui.shades import shade

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual.app import ComposeResult

_LONGEST_NAME = 40


class Facts(VerticalScroll, can_focus=True):
    """A page of text that scrolls."""

    DEFAULT_CSS = """
    Facts { height: 1fr; padding: 0 1; scrollbar-size: 1 1; }
    """

    def compose(self) -> ComposeResult:
        """Compose the text."""
        yield Static("", markup=False)

    def show(self, text: Text | str) -> None:
        """Show a text."""
        self.query_one(Static).update(Text(text) if isinstance(text, str) else text)


def pairs(title: str, rows: Iterable[tuple[str, object]]) -> Text:
    """Return a heading and rows of name and value; nothing if there are no rows."""
    found = [*rows]
    if not found:
        return Text()
    width = min(max(len(name) for name, _ in found), _LONGEST_NAME)
    text = Text()
    if title:
        text.append(f"{title}\n", style="bold underline")
    for name, value in found:
        text.append(f"{name:<{width}}  ", style="dim")
        text.append(f"{value}\n")
    return text


def diff(lines: Sequence[str]) -> Text:
    """Return a diff with what was added and removed in colours, besides the signs in front."""
    styles = {"+": "green", "-": "red", "@": "cyan", "d": "bold"}
    text = Text()
    for line in lines:
        text.append(f"{line}\n", style=shade(styles.get(line[:1], "")))
    return text
