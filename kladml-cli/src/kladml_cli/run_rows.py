"""Runs as rows of a table or lines of a tree, as wide as the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kladml.history.facts import Facts, Quantity
    from kladml.history.series import Series
    from kladml.interfaces import CatalogRun, RunAddress

HEADER = ("RUN", "STATUS", "STARTED", "TOOK", "METRICS")
STYLES: dict[str, dict[str, Any]] = {
    "FINISHED": {},
    "RUNNING": {"fg": "cyan"},
    "FAILED": {"fg": "red"},
    "KILLED": {"fg": "yellow"},
    "LOST": {"fg": "red"},
}

_GAP = 2
_MOST_METRICS = 3
_LEAST_ADDRESS = 20
_METRIC = 20
_ELLIPSIS = "…"


def short(address: RunAddress) -> str:
    """Return the shortest text that means a run wherever it is used: without the default project and family."""
    experiment = address.experiment
    is_default = experiment.project == experiment.family == "default"
    return f"{experiment.experiment}@{address.label}" if is_default else str(address)


def rows_of(facts: Sequence[Facts], names: Sequence[Quantity]) -> list[tuple[str, ...]]:
    """Return the cells of a table.

    Args:
        facts: The runs.
        names: Metrics and parameters to show; those that tell most by default.
    """
    from kladml_cli.terminal import width

    cells = [(short(one.run.address), *_times(one.run)) for one in facts]
    sizes = [max(len(row[column]) for row in (HEADER, *cells)) for column in range(4)]
    others = sum(sizes[1:]) + 4 * _GAP
    longest = max(width() - others - _METRIC, _LEAST_ADDRESS)
    if sys.stdout.isatty() and sizes[0] > longest:  # a pipe gets whole addresses
        # The end tells one run from another.
        cells = [(row[0] if len(row[0]) <= longest else f"…{row[0][1 - longest :]}", *row[1:]) for row in cells]
        sizes[0] = longest
    room = max(width() - others - sizes[0], 0)
    return [(*row, metrics_of(one, names, room)) for row, one in zip(cells, facts, strict=True)]


def print_tree(facts: Sequence[Facts], names_of_metrics: Sequence[Quantity]) -> None:
    """Print runs below their projects, families and experiments, each in the order of the listing."""
    from kladml_cli.terminal import echo, width

    tree: dict[tuple[str, ...], list[Facts]] = {}
    for one in facts:
        tree.setdefault(one.run.address.experiment.lineage[-1].names, []).append(one)
    above: tuple[str, ...] = ()
    # What stands in one project stands together; the projects are in the order of the listing.
    first = list(dict.fromkeys(names[:depth] for names in tree for depth in (1, 2)))
    for names in sorted(tree, key=lambda names: (first.index(names[:1]), first.index(names[:2]))):
        for depth, name in enumerate(names):
            if names[: depth + 1] != above[: depth + 1]:
                echo(f"{'  ' * depth}{name}", bold=True)
        above = names
        runs = tree[names]
        cells = [(f"@{one.run.address.label}", *_times(one.run)) for one in runs]
        sizes = [max(len(row[column]) for row in cells) for column in range(4)]
        room = max(width() - 6 - sum(sizes) - 4 * _GAP, 0)
        for row, one in zip(cells, runs, strict=True):
            padded = [f"{cell:<{size}}" for cell, size in zip(row, sizes, strict=True)]
            line = "  ".join((*padded, metrics_of(one, names_of_metrics, room))).rstrip()
            echo(f"      {line}", **STYLES.get(one.run.status, {}))


def metrics_of(facts: Facts, names: Sequence[Quantity], room: int) -> str:
    """Return what was asked for of a run in so many columns, or the metric that tells most, as far as it fits."""
    from kladml.history.facts import Quantity
    from kladml_backends_console.wording import number

    telling = names or [Quantity("metrics", name) for name in sorted(facts.run.metrics, key=_how_telling)[:1]]
    text = ""
    for quantity in telling[:_MOST_METRICS]:
        value = quantity.of(facts)
        if value is not None:
            part = f"{quantity.name} {number(value) if isinstance(value, float) else value}"
            longer = f"{text}  {part}" if text else part
            if len(longer) > room and text:
                break
            text = longer
    return _clipped(text, room) if sys.stdout.isatty() else text


def _times(run: CatalogRun) -> tuple[str, str, str]:
    from kladml_backends_console.wording import clock

    started = run.started_at.astimezone()
    took = "" if run.ended_at is None else clock((run.ended_at - run.started_at).total_seconds())
    return run.status, f"{started:%Y-%m-%d %H:%M}", took


def _how_telling(metric: str) -> tuple[int, bool]:
    """Return what sorts metrics: those of the stored model first, then of validation, losses last in each."""
    prefixes = ("eval_", "val_")
    rank = next((place for place, prefix in enumerate(prefixes) if metric.startswith(prefix)), len(prefixes))
    return rank, "loss" in metric


def _clipped(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(room - 1, 0)] + _ELLIPSIS if room else ""


def step_text(step: int | None) -> str:
    """Return a step as people read it."""
    return "-" if step is None else str(step)


def telling_text(series: Series | None) -> str:
    """Return the best or last value of a metric and its step; the final value alone where no more is known."""
    from kladml_backends_console.wording import number

    if series is None:
        return "-"
    value, step = series.telling
    return number(value) if step is None else f"{number(value)} at {step}"
