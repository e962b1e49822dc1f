"""What all screens have in common: a line of keys, errors as a sentence, and reading in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Static

from kladml.errors import KladMLError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from textual.app import ComposeResult

    from kladml_cli.ui.app import KladmlApp
    from kladml_cli.ui.reading import Reader

Result = TypeVar("Result")

STATUS_STYLES = {
    "RUNNING": "bold cyan",
    "FAILED": "bold red",
    "LOST": "bold red",
    "KILLED": "bold yellow",
    "FINISHED": "green",
}

_NAMES = {"question_mark": "?", "slash": "/", "escape": "esc"}


class KladmlScreen(Screen[None]):
    """A screen with a title above, a line of keys below, and a line for an error between them.

    A subclass composes what stands in the middle in `compose_body`.
    """

    app: KladmlApp

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back"),
        Binding("question_mark", "help", "help"),
        Binding("q", "app.quit", "quit"),
    ]

    def compose(self) -> ComposeResult:
        """Compose the screen."""
        yield Static(self.heading(), id="heading", markup=False)
        yield from self.compose_body()
        yield Static("", id="error", markup=False)
        yield Static("", id="keys", markup=False)

    def compose_body(self) -> ComposeResult:
        """Compose what stands between the title and the keys."""
        raise NotImplementedError

    def heading(self) -> Text:
        """Return the title."""
        raise NotImplementedError

    def show_heading(self) -> None:
        """Bring the title up to date."""
        self.query_one("#heading", Static).update(self.heading())

    @property
    def is_open(self) -> bool:
        """Whether it was not left; of one that was, parts may be gone already."""
        return self.is_attached and self in self.app.screen_stack

    @property
    def reader(self) -> Reader:
        """What reads in the background."""
        return self.app.reader

    def load(self, name: str, reading: Callable[[], Awaitable[Result]], then: Callable[[Result], None]) -> None:
        """Read in the background, then show it; a newer call of the same name takes the place of an older one."""

        async def work() -> None:
            try:
                result = await reading()
            except Exception as error:  # noqa: BLE001 - shown; the screen stays usable
                self.show_error(error)
            else:
                if self.is_open:
                    self.show_error(None)
                    then(result)

        self.run_worker(work(), name=name, group=name, exclusive=True, exit_on_error=True)

    def show_error(self, error: Exception | str | None) -> None:
        """Show an error as a sentence, or take it away."""
        if not self.is_open:
            return
        text = "" if error is None else sentence_of(error)
        line = self.query_one("#error", Static)
        line.update(Text(text))
        line.display = bool(text)

    def action_back(self) -> None:
        """Return to the screen before."""
        if len(self.app.screen_stack) > 1:
            self.app.pop_screen()

    def action_help(self) -> None:
        """Show what the keys do."""
        from kladml_cli.ui.help_screen import HelpScreen

        self.app.push_screen(HelpScreen(type(self).__name__, self.key_texts(hidden=True, tooltips=True)))

    def key_texts(self, *, hidden: bool = False, tooltips: bool = False) -> list[tuple[str, str]]:
        """Return keys and what they do, those of this screen first.

        Args:
            hidden: Whether with those that a narrow screen does not show.
            tooltips: Whether to tell it in full.
        """
        found: dict[str, str | None] = {}
        for cls in type(self).__mro__:
            for binding in vars(cls).get("BINDINGS", ()):
                if isinstance(binding, Binding):
                    key = _NAMES.get(binding.key, binding.key)
                    text = (binding.tooltip if tooltips else "") or binding.description
                    found.setdefault(key, text if binding.show or hidden else None)
            if cls is KladmlScreen:
                break
        return [(key, text) for key, text in found.items() if text]

    def on_resize(self) -> None:
        """Show as many keys as fit, and as much of the title."""
        self.show_heading()
        line = _keys(self.key_texts(hidden=True))
        is_wide = line.cell_len <= self.size.width
        self.query_one("#keys", Static).update(line if is_wide else _keys(self.key_texts()))


def _keys(keys: Iterable[tuple[str, str]]) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    for key, description in keys:
        line.append(f" {key}", style="bold")
        line.append(f" {description}")
    return line


def sentence_of(error: Exception | str) -> str:
    """Return an error as one sentence."""
    if isinstance(error, str | KladMLError):
        return " ".join(str(error).split())
    return f"KladML failed unexpectedly: {type(error).__name__}: {' '.join(str(error).split())}; please report it"


def clipped(text: str, width: int) -> str:
    """Return text that takes so many columns at most; of an address the end tells more."""
    return text if len(text) <= width else f"…{text[1 - width :]}" if width > 1 else "…"


def cell(text: object, **style: Any) -> Text:
    """Return text for a table, which is never read as markup."""
    return Text(str(text), no_wrap=True, **style)
