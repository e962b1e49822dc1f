"""`kladml compare`: what differs between runs, and whether one became worse."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from kladml_cli.completion.attach import completes
from kladml_cli.options import global_options
from kladml_cli.run_place_options import run_place_options
from kladml_cli.settings_options import json_option
from kladml_cli.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kladml.history.comparison import Change, Comparison, Difference
    from kladml_cli.run_place import RunPlace

EPILOG = """\
Examples:

\b
  kladml compare @1 @2
  kladml compare @-2 @-1 --plot val_loss
  kladml compare digits@best digits@-1 --json
  kladml compare @best @-1 --fail-if 'val_acc drop > 0.01'
  kladml compare @1 @2 --fail-if 'loss rise > 5%' --fail-if 'f1 drop > 0'

The first run is what the others are compared with. A change is that of the
best value, or of the last where nothing tells which is best. The exit status
is 9 if a condition of --fail-if is true of a run.
"""

_NAMES = {"config": "configuration"}
_LONGEST_CELL = 24


@click.command(epilog=EPILOG)
@click.argument("runs", metavar="RUN RUN...", nargs=-1, required=True, shell_complete=completes("runs"))
@click.option("--fail-if", "fail_if", metavar="CONDITION", multiple=True, help="End with exit status 9 if this is so.")
@click.option(
    "--plot",
    "plots",
    metavar="METRIC",
    multiple=True,
    help="Plot this metric; may be repeated.",
    shell_complete=completes("metrics"),
)
@click.option("--all", "with_all", is_flag=True, help="Show all packages that differ.")
@json_option
@run_place_options
@global_options()
def compare(
    *,
    place: RunPlace,
    runs: tuple[str, ...],
    fail_if: tuple[str, ...],
    plots: tuple[str, ...],
    with_all: bool,
    as_json: bool,
) -> None:
    """Show what differs between runs, and their best values.

    A RUN is an address, such as @3, @-1 (the newest), @best, digits@3 or project/family/experiment@3.
    """
    from kladml.errors import DifferenceError
    from kladml.history.comparison import FailCondition
    from kladml.history.comparison import compare as compare_pages
    from kladml_cli.terminal import print_json

    if len(runs) < 2:  # noqa: PLR2004 - one alone differs from nothing
        message = "two or more runs are needed to compare them"
        raise click.UsageError(message)
    conditions = [FailCondition.parse(text) for text in fail_if]
    with place.open() as opened:
        references = opened.references
        found = [references.find(text) for text in runs]
        comparison = compare_pages([opened.page(run) for run in found])
    _check_plots(comparison, plots)
    changes = [change for condition in conditions for change in condition.changes(comparison)]
    if as_json:
        print_json({**comparison.as_dict(), "failed": [change.text for change in changes]})
    else:
        _print(comparison, plots, with_all=with_all)
    if changes:
        raise DifferenceError(_problem(changes), next_step="--fail-if asked for an error")


def _check_plots(comparison: Comparison, names: Sequence[str]) -> None:
    from kladml.errors import QueryError

    for name in names:
        if name not in comparison.metrics:
            problem = f"none of the runs has a metric '{name}'"
            raise QueryError(problem, next_step=f"they have: {', '.join(sorted(comparison.metrics)) or 'none'}")


def _problem(changes: Sequence[Change]) -> str:
    return "; ".join(change.text for change in changes)


def _print(comparison: Comparison, plots: Sequence[str], *, with_all: bool) -> None:
    from kladml_cli.plots import MARKS
    from kladml_cli.run_rows import short

    labels = [short(page.run.address) for page in comparison.pages]
    for index, page in enumerate(comparison.pages):
        started = page.run.started_at.astimezone()
        echo(f"{MARKS[index % len(MARKS)]} {labels[index]}  {page.run.status}  {started:%Y-%m-%d %H:%M}")
    columns = [f"@{page.run.address.label}" for page in comparison.pages]
    if len({page.run.address.experiment for page in comparison.pages}) > 1:
        columns = labels
    _print_differences(comparison, columns, with_all=with_all)
    _print_metrics(comparison, columns)
    _print_plots(comparison, plots)


def _print_differences(comparison: Comparison, columns: list[str], *, with_all: bool) -> None:
    from kladml.history.packages import own_distributions
    from kladml_cli.comparison_grid import print_grid

    own = own_distributions(comparison.pages)
    if not comparison.differences:
        echo()
        echo("no difference in configuration, code, data, plugins or environment")
        return
    for what in dict.fromkeys(one.what for one in comparison.differences):
        chosen = [one for one in comparison.differences if one.what == what]
        shown = chosen if with_all else [one for one in chosen if one.is_telling(own)]
        left = len(chosen) - len(shown)
        rows = [(one.name, [_cell(one, value) for value in one.values]) for one in shown]
        print_grid(_NAMES.get(what, what), columns, rows)
        if left:
            echo(f"  {left} package{'s' if left > 1 else ''}, on which numbers seldom depend; see --all")


def _print_metrics(comparison: Comparison, columns: list[str]) -> None:
    from kladml_cli.comparison_grid import print_grid
    from kladml_cli.run_rows import telling_text

    rows = []
    for name in comparison.metrics:
        cells = []
        for page in comparison.pages:
            series = page.metrics.get(name)
            cells.append(telling_text(series))
        known = [page.metrics[name] for page in comparison.pages if name in page.metrics]
        is_last = any(series.has_history for series in known) and all(series.best is None for series in known)
        rows.append((f"{name} (last)" if is_last else name, cells))
    if not rows:
        return
    all_known = [series for page in comparison.pages for series in page.metrics.values()]
    if not any(series.has_history for series in all_known):
        title = "final value of each metric"
    elif all(series.has_history for series in all_known):
        title = "best value of each metric, and its step"
    else:
        title = "best value of each metric, and its step; the final value where no step is"
    print_grid(title, columns, rows)


def _print_plots(comparison: Comparison, names: Sequence[str]) -> None:
    """Print the plots that were asked for; on a terminal also that of the metric that tells most."""
    from kladml.history.series import Series
    from kladml_cli.plots import COLOURS, MARKS, plot
    from kladml_cli.terminal import wants_colour, width

    if not names and sys.stdout.isatty():
        names = sorted((name for name in comparison.metrics if _is_curve(comparison, name)), key=_how_telling)[:1]
    for name in names:
        curves = [page.metrics.get(name) or Series(name) for page in comparison.pages]
        lines = plot(curves, width())
        if wants_colour(sys.stdout):
            for index in range(len(curves)):
                mark = MARKS[index % len(MARKS)]
                colour = COLOURS[index % len(COLOURS)]
                lines = [line.replace(mark, click.style(mark, fg=colour)) for line in lines]
        echo()
        echo(name, bold=True)
        for line in lines or ["  only final values are known"]:
            click.echo(line)


def _is_curve(comparison: Comparison, name: str) -> bool:
    return any(len(page.metrics[name].values) > 1 for page in comparison.pages if name in page.metrics)


def _how_telling(name: str) -> tuple[bool, bool]:
    return not name.startswith("val_"), "loss" not in name


def _cell(one: Difference, value: Any) -> str:
    from kladml.runner.fingerprints import is_fingerprint

    if value is None:
        return "-"
    text = str(value)
    if one.what == "code" or (one.what == "data" and is_fingerprint(text)):  # the beginning tells hashes apart
        dirty = "+dirty" if text.endswith("+dirty") else ""
        return text if len(text) <= _LONGEST_CELL else f"{text[:16]}…{dirty}"
    return text
