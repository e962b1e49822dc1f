"""Numbers of bytes: as people read them, and as a bar that grows."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_KILO = 1000


@contextmanager
def bar(label: str, total: int) -> Iterator[Callable[[int], object]]:
    """Show a bar on a terminal, and nothing elsewhere.

    Args:
        label: What is done.
        total: How much there is to do; the function that is given is told how much of it was done.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    least = max(total // 200, 1)  # redrawing costs more than reading a small file
    with click.progressbar(length=max(total, 1), label=label, file=sys.stderr, update_min_steps=least) as shown:
        yield shown.update


def size_text(size: int) -> str:
    """Return bytes as people read them, in powers of 1000 as disks are sold."""
    number, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < _KILO:
            break
        number, unit = number / _KILO, larger
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
