"""The application: its first screen, its colours, and what all screens share."""

from __future__ import annotations

import logging
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from kladml_cli.log_output import LOGGERS
from kladml_cli.ui.reading import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from textual.screen import Screen

    from kladml_cli.run_place import RunPlace

_MOST_MESSAGES = 1_000

CSS = """
Screen { layout: vertical; background: $surface; }
#heading {
    height: 1; background: $primary 40%; color: $text; padding: 0 1; text-style: bold;
    text-wrap: nowrap; text-overflow: ellipsis;
}
#keys { height: 1; background: $panel; color: $text; text-wrap: nowrap; text-overflow: ellipsis; }
#error { height: auto; max-height: 8; background: $error 30%; color: $text; padding: 0 1; display: none; }
#body { height: 1fr; }
DataTable { height: 1fr; background: $surface; scrollbar-size: 1 1; }
Tree { scrollbar-size: 1 1; }
#tree { width: 24; max-width: 34%; background: $panel; padding: 0; }
#none { padding: 1 2; display: none; }
"""


class KladmlApp(App[None]):
    """The terminal user interface.

    Args:
        place: Where the runs are.
    """

    TITLE = "KladML"
    CSS = CSS
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "quit", "Quit", show=False, priority=True)]

    def __init__(self, place: RunPlace) -> None:
        super().__init__()
        self.reader = Reader(place)
        self.messages: deque[logging.LogRecord] = deque(maxlen=_MOST_MESSAGES)

    def get_default_screen(self) -> Screen[Any]:
        """Return the first screen."""
        from kladml_cli.ui.runs_screen import RunsScreen

        return RunsScreen()

    @contextmanager
    def logging_to_messages(self) -> Iterator[None]:
        """Keep what KladML logs for the screen of messages: the terminal belongs to the application."""
        handler = _Messages(self.messages)
        before = {name: logging.getLogger(name).handlers[:] for name in LOGGERS}
        for name in LOGGERS:
            logging.getLogger(name).handlers[:] = [handler]
        try:
            yield
        finally:
            for name, handlers in before.items():
                logging.getLogger(name).handlers[:] = handlers


class _Messages(logging.Handler):
    def __init__(self, messages: deque[logging.LogRecord]) -> None:
        super().__init__()
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append(record)
