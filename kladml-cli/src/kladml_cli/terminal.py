"""Output that fits where it goes: colours on a terminal, plain text elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
from math import isfinite
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

_KILO = 1000


def wants_colour(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal whose user has not asked for no colours (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def printable(text: str, kept: str = "") -> str:
    """Return text without what would command a terminal or begin a line: names and values may be anybody's.

    Args:
        text: The text.
        kept: What stays nevertheless.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() or character in kept else " " for character in text)


def styled(text: str, stream: TextIO, **style: Any) -> str:
    """Return printable text, with click's style where the stream wants colour."""
    text = printable(text)
    return click.style(text, **style) if style and wants_colour(stream) else text


def echo(text: str = "", **style: Any) -> None:
    """Print one line on standard output, with click's style where that wants colour.

    Args:
        text: The line; what is not printable in it becomes spaces.
        style: What `click.style` takes.
    """
    click.echo(styled(text, sys.stdout, **style))


def width() -> int:
    """Return how many columns the terminal has; 80 where there is none."""
    return shutil.get_terminal_size((80, 24)).columns


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[Mapping[str, Any]] | None = None
) -> None:
    """Print aligned columns on standard output; the last column is as long as it is.

    Args:
        header: Titles of the columns, shown on a terminal only, so that a pipe gets nothing but rows.
        rows: The cells.
        styles: For each row, a style of click's.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    titles = [header] if sys.stdout.isatty() else []
    sizes = [max((len(row[column]) for row in (*titles, *rows)), default=0) for column in range(len(header))]
    all_styles = [*({"bold": True} for _ in titles), *(styles or [{}] * len(rows))]
    for row, style in zip((*titles, *rows), all_styles, strict=True):
        echo("  ".join(f"{cell:<{size}}" for cell, size in zip(row, sizes, strict=True)).rstrip(), **style)


def size(count: int) -> str:
    """Return bytes as people read them, in powers of 1000 as disks are sold."""
    number, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < _KILO:
            break
        number, unit = number / _KILO, larger
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output."""
    import json

    click.echo(json.dumps(jsonable(value), indent=2, ensure_ascii=False))


def jsonable(value: Any) -> Any:
    """Return data as JSON knows it: numbers that are none become null, and text stands for other objects."""
    if isinstance(value, dict):
        return {str(key): jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(inner) for inner in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
