"""How numbers, times and places read on a console."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_MINUTE = 60
_HOUR = 3600
_UNINTERESTING = frozenset({"lr"})


def number(value: float) -> str:
    """Return a number with about five significant digits, so that columns of metrics line up."""
    size = abs(value)
    if not math.isfinite(value) or (size and not 1e-3 <= size < 1e5):  # noqa: PLR2004 - beyond that, exponents
        return f"{value:.3g}"
    decimals = 4 - min(3, max(0, len(str(int(size))) - 1))
    return f"{value:.{decimals}f}"


def duration(seconds: float) -> str:
    """Return a time span as people say it: `4.1 s`, `2 min 05 s`, `1 h 02 min`."""
    if seconds < _MINUTE:
        return f"{max(0.0, seconds):.1f} s"
    if seconds < _HOUR:
        return f"{int(seconds // _MINUTE)} min {int(seconds % _MINUTE):02} s"
    return f"{int(seconds // _HOUR)} h {int(seconds % _HOUR // _MINUTE):02} min"


def clock(seconds: float) -> str:
    """Return a time span as a clock shows it, `0:12` or `1:02:05`, for text that changes in place."""
    minutes, rest = divmod(round(max(0.0, seconds)), _MINUTE)
    hours, minutes = divmod(minutes, _MINUTE)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def ranked(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics that are numbers, the most telling first: of the end, losses, validation, others."""
    numbers = {
        name: float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name not in _UNINTERESTING
    }
    return dict(sorted(numbers.items(), key=lambda item: _rank(item[0])))


def _rank(name: str) -> int:
    if name.startswith("eval_"):
        return 0
    if name in ("loss", "val_loss"):
        return 1
    return 2 if name.startswith("val_") else 3


def place(artifacts: Mapping[str, str]) -> str | None:
    """Return where a run's files are: their common folder, or None when they have none.

    Args:
        artifacts: URIs by the files' names in the run.

    Returns:
        A path for files of this machine, relative where that is shorter; otherwise the start of the URIs.
    """
    folders = {uri.removesuffix(f"/{name}") if uri.endswith(f"/{name}") else None for name, uri in artifacts.items()}
    folder = folders.pop() if len(folders) == 1 else None
    if folder is None or not folder.startswith("file:"):
        return folder
    from urllib.request import url2pathname  # not above: it loads an HTTP client

    path = Path(url2pathname(urlsplit(folder).path))
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def first_names(artifacts: Mapping[str, str]) -> list[str]:
    """Return the files and, with a slash, the folders that a run's files begin with."""
    parts = (name.partition("/") for name in artifacts)
    return sorted({f"{first}{slash}" for first, slash, _ in parts})
