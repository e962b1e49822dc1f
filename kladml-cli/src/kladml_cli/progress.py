"""How far something is that takes a while."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import TYPE_CHECKING

import click

from kladml_cli.hints import is_quiet
from kladml_cli.terminal import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click._termui_impl import ProgressBar

_PATIENCE = 0.4
"""Seconds before a bar appears."""


@contextmanager
def bar(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal once something takes a while, and nothing elsewhere or where `--quiet` was given.

    Args:
        label: What is done.
        total: How much there is to do; the function that is given is told how much of it was done.
    """
    if not sys.stderr.isatty() or is_quiet():
        yield lambda _: None
        return
    begun, done = monotonic(), 0
    shown: ProgressBar[int] | None = None
    least = max(total // 200, 1)  # redrawing costs more than reading a small file
    with ExitStack() as stack:

        def tell(count: int) -> None:
            nonlocal done, shown
            done += count
            if shown is not None:
                shown.update(count)
            elif monotonic() - begun > _PATIENCE:
                text, length = printable(label), max(total, 1)
                fresh = click.progressbar(length=length, label=text, file=sys.stderr, update_min_steps=least)
                shown = stack.enter_context(fresh)
                shown.update(done)

        yield tell
