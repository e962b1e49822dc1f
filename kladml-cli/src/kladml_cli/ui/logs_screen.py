"""What KladML had to say since the application began, and how runs failed."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType

from kladml_cli.ui.base import KladmlScreen
from kladml_cli.ui.facts import Facts
from kladml_cli.ui.shades import shade

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from kladml.interfaces import CatalogRun
    from kladml_cli.run_place import OpenPlace

_STYLES = {logging.WARNING: "yellow", logging.ERROR: "bold red", logging.CRITICAL: "bold red"}
_NEWEST = 300
_REFRESH = 2.0


class LogsScreen(KladmlScreen):
    """Messages, the newest first; below them why the newest runs failed."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("r", "refresh", "refresh", tooltip="read them again")]

    def __init__(self) -> None:
        super().__init__()
        self._failures: list[tuple[CatalogRun, str]] | None = None

    def compose_body(self) -> ComposeResult:
        """Compose the page."""
        yield Facts(id="body")

    def heading(self) -> Text:
        """Return what it is."""
        return Text("Logs")

    def on_mount(self) -> None:
        """Show what there is."""
        self.query_one(Facts).focus()
        self.action_refresh()
        self.set_interval(_REFRESH, self._show)

    def action_refresh(self) -> None:
        """Read it again."""
        self._show()
        self.load("failures", lambda: self.reader.read(_failures), self._take)

    def _take(self, failures: list[tuple[CatalogRun, str]]) -> None:
        self._failures = failures
        self._show()

    def _show(self) -> None:
        if not self.is_open:
            return
        text = Text().append("messages of this session\n", style="bold underline")
        for record in reversed(self.app.messages):
            text.append(f"{datetime.fromtimestamp(record.created).astimezone():%H:%M:%S}  ", style="dim")
            text.append(f"{record.getMessage()}\n", style=shade(_STYLES.get(record.levelno, "")))
        if not self.app.messages:
            text.append("none\n", style="dim")
        text.append("\nruns that did not finish\n", style="bold underline")
        for run, error in self._failures or ():
            text.append(f"{run.started_at.astimezone():%Y-%m-%d %H:%M}  ", style="dim")
            text.append(f"{run.address}  {run.status}", style="bold")
            text.append(f"\n    {error}\n" if error else "\n")
        if not self._failures:
            text.append("reading…\n" if self._failures is None else "none\n", style="dim")
        self.query_one(Facts).show(text)


def _failures(opened: OpenPlace) -> list[tuple[CatalogRun, str]]:
    """Return those of the newest runs that did not finish, each with its error."""
    from kladml.history.standing import LOST, loss_of
    from kladml.runner.record import RunRecord

    found = []
    for run in opened.newest_runs(_NEWEST, None)[0]:
        if run.status in ("FAILED", "KILLED", LOST):
            folder = opened.runs / run.address.path
            record = RunRecord.read(folder)
            error = (record.error if record is not None else None) or loss_of(folder)
            found.append((run, error or ""))
    return found
