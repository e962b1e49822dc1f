"""A line on the terminal that says what goes on until there is something else to see."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kladml_cli.hints import is_quiet
from kladml_cli.log_output import is_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

PREPARING = "preparing the run ..."
"""It is imported what the model needs, such as torch, data is read, and backends are opened: seconds of silence."""

_ECHO = len("^C")
"""Columns that a terminal adds when its user interrupts."""


@contextmanager
def passing_note(text: str) -> Iterator[Callable[[], None]]:
    """Show a line on a terminal until something is printed or the block ends; nothing elsewhere or with `--quiet`.

    No thread draws it: what is prepared may fork.

    Args:
        text: The line.

    Yields:
        What takes the line away before that.
    """
    if not sys.stderr.isatty() or is_quiet() or is_json():
        yield lambda: None
        return
    note = _Note(text, sys.stderr)
    before = sys.stdout, sys.stderr
    watched = tuple(_Watched(stream, note) if stream.isatty() else stream for stream in before)
    try:
        sys.stdout, sys.stderr = watched
        note.show()
        yield note.take_away
    finally:
        # Whoever took one of their places meanwhile gives it back later.
        sys.stdout = before[0] if sys.stdout is watched[0] else sys.stdout
        sys.stderr = before[1] if sys.stderr is watched[1] else sys.stderr
        note.take_away()


class _Note:
    """The line.

    Args:
        text: What it says.
        stream: The terminal.
    """

    def __init__(self, text: str, stream: TextIO) -> None:
        self._text = text
        self._stream = stream
        self._process: int | None = None

    def show(self) -> None:
        """Write it."""
        self._process = os.getpid()
        self._stream.write(self._text)
        self._stream.flush()

    def take_away(self) -> None:
        """Leave an empty line where it was, once, and only in the process that wrote it."""
        if self._process == os.getpid():
            self._process = None
            self._stream.write(f"\r{' ' * (len(self._text) + _ECHO)}\r")
            self._stream.flush()


class _Watched:
    """A stream whose first output takes the note away.

    Args:
        stream: Where the output goes.
        note: The note.
    """

    def __init__(self, stream: TextIO, note: _Note) -> None:
        self._stream = stream
        self._note = note

    def write(self, text: str) -> int:
        if text:
            self._note.take_away()
        return self._stream.write(text)

    def writelines(self, lines: list[str]) -> None:
        self._note.take_away()
        self._stream.writelines(lines)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
