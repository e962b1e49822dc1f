"""Colours, unless they are not wanted: https://no-color.org."""

from __future__ import annotations

import os

_COLOURS = frozenset({"red", "green", "yellow", "cyan", "blue", "magenta"})


def shade(style: str) -> str:
    """Return a style, without its colour where `NO_COLOR` is set.

    textual turns colours into greys there, and some of them would hardly differ from what is behind.
    """
    if "NO_COLOR" not in os.environ:
        return style
    return " ".join(word for word in style.split() if word not in _COLOURS)
