"""`kladml runs show`: everything that is known of a run."""

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
    from collections.abc import Iterable, Sequence

    from kladml.history.pages import RunPage
    from kladml_cli.run_place import OpenPlace, RunPlace

EPILOG = """\
Examples:

\b
  kladml runs show @-1
  kladml runs show digits@3 --plot val_loss
  kladml runs show @best --metric val_accuracy --json
  kladml runs show @3 --diff > code.diff
"""

_MOST_FILES = 10
_INDENT = 2
_HASH = 39


@click.command(name="show", epilog=EPILOG)
@click.argument("run", metavar="RUN", shell_complete=completes("runs"))
@click.option("--all", "with_all", is_flag=True, help="Also parameters at their defaults, all files and packages.")
@click.option(
    "--plot",
    "plots",
    metavar="METRIC",
    multiple=True,
    help="Plot this metric; may be repeated.",
    shell_complete=completes("metrics"),
)
@click.option("--diff", "only_diff", is_flag=True, help="Print how its code differed from its revision, alone.")
@json_option
@run_place_options
@global_options()
def show(*, place: RunPlace, run: str, with_all: bool, plots: tuple[str, ...], only_diff: bool, as_json: bool) -> None:
    """Show a run: metrics, parameters, files, code, data, plugins and environment.

    RUN is an address, such as @3, @-1 (the newest), @best, digits@3 or project/family/experiment@3.
    """
    from kladml_cli.terminal import print_json

    with place.open() as opened:
        found = opened.find(run)
        page = opened.page(found)
        if only_diff:
            _print_diff(page, as_json=as_json)
            return
        _check_metrics(page, plots)
        storage, files = _stored_files(opened, page)
    if as_json:
        print_json({**page.as_dict(), "storage": storage, "artifacts": files})
        return
    _print_head(page)
    _print_metrics(page)
    _print_plots(page, plots)
    _print_params(page, with_all=with_all)
    _print_files(storage, files, with_all=with_all)
    _print_origin(page, with_all=with_all)


def _print_diff(page: RunPage, *, as_json: bool) -> None:
    from kladml_cli.terminal import print_json

    diff = page.code_diff()
    if as_json:
        print_json({"address": page.address, "code_version": page.code_version, "code_diff": diff})
    else:
        click.echo(diff or "", nl=False)


def _check_metrics(page: RunPage, names: Iterable[str]) -> None:
    from kladml.errors import QueryError

    for name in names:
        if name not in page.metrics:
            problem = f"{page.address} has no metric '{name}'"
            raise QueryError(problem, next_step=f"it has: {', '.join(sorted(page.metrics)) or 'none'}")


def _stored_files(opened: OpenPlace, page: RunPage) -> tuple[str | None, list[str]]:
    """Return the storage of a run and the names of its files there; a storage that fails is only reported.

    The files of a run without a storage are in its folder.
    """
    from kladml.errors import BackendError, ConfigError, PluginError
    from kladml.history.copying import Place, files_of
    from kladml.log import get_logger

    name = page.run.backends.get("storage")
    try:
        found = opened.storage_of(page.run)
        return name, files_of(page, None if found is None else Place(name or "", *found))
    except (BackendError, ConfigError, PluginError) as error:
        get_logger(__name__).warning(f"the files of {page.address} cannot be listed: {error}")
        return name, []


def _print_head(page: RunPage) -> None:
    from kladml_backends_console.wording import clock
    from kladml_cli.run_rows import STYLES
    from kladml_cli.terminal import styled

    started = page.run.started_at.astimezone()
    status = styled(page.run.status, sys.stdout, **{"bold": True, **STYLES.get(page.run.status, {})})
    took = f"{'took' if page.run.ended_at is not None else 'for'} {clock(page.seconds)}"
    click.echo(f"{styled(page.address, sys.stdout, bold=True)}  {status}  {started:%Y-%m-%d %H:%M:%S}, {took}")
    if page.error:
        echo(f"  {page.error}", fg="red")
    notes = [f"resumed {page.record.resumed} times"] if page.record.resumed else []
    if not page.has_record:
        known = f"what is known of it is from {page.record_from}" if page.record_from else "only the catalog knows it"
        notes.append(f"its folder {page.folder} is not on this machine: {known}")
    reproduces = page.record.tags.get("kladml.reproduces")
    if reproduces:
        notes.append(f"made to reproduce {reproduces}")
    for note in notes:
        echo(f"  {note}")


def _print_metrics(page: RunPage) -> None:
    from kladml_backends_console.wording import number
    from kladml_cli.plots import sparkline
    from kladml_cli.run_rows import step_text
    from kladml_cli.terminal import width

    if not page.metrics:
        return
    rows = []
    for name, series in page.metrics.items():
        best = series.best
        unknown = ("", "") if series.has_history else ("-", "-")
        cells = unknown if best is None else (number(best[0]), str(best[1]))
        rows.append((name, number(series.last[0]), step_text(series.last[1]), *cells))
    header = ("METRIC", "LAST", "STEP", "BEST", "STEP")
    sizes = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    room = width() - sum(sizes) - _INDENT * (len(header) + 1)
    _heading("metrics")
    lines = [header, *rows] if sys.stdout.isatty() else rows
    curves = ["", *(sparkline(series.values, min(room, 24)) for series in page.metrics.values())] if room > 0 else []
    for index, row in enumerate(lines):
        cells_text = [f"{row[0]:<{sizes[0]}}", *(f"{c:>{s}}" for c, s in zip(row[1:], sizes[1:], strict=True))]
        curve = curves[index] if sys.stdout.isatty() and curves else ""
        echo("  ".join(("", *cells_text, curve)).rstrip())


def _print_plots(page: RunPage, names: Sequence[str]) -> None:
    from kladml_cli.plots import plot
    from kladml_cli.terminal import width

    for name in names:
        _heading(name)
        for line in plot([page.metrics[name]], width()) or ["  only the final value is known"]:
            echo(line)


def _print_params(page: RunPage, *, with_all: bool) -> None:
    from kladml.config import RunConfig, schema_keys

    keys = schema_keys(RunConfig)
    shown = {
        name: value
        for name, value in page.params.items()
        if with_all or name not in keys or value != keys[name].default
    }
    if not page.params:
        return
    _heading("parameters")
    _print_pairs([(name, str(value)) for name, value in shown.items()])
    left = len(page.params) - len(shown)
    if left:
        echo(f"  {left} more at their defaults; see --all")


def _print_files(storage: str | None, files: Sequence[str], *, with_all: bool) -> None:
    if not files:
        return
    _heading("files in its folder" if storage is None else f"files in storage {storage}")
    for name in files if with_all else files[:_MOST_FILES]:
        echo(f"  {name}")
    if len(files) > _MOST_FILES and not with_all:
        echo(f"  {len(files) - _MOST_FILES} more; see --all")


def _print_origin(page: RunPage, *, with_all: bool) -> None:
    environment = dict(page.environment)
    machine = [f"Python {environment.pop('python')}"] if "python" in environment else []
    machine += [str(environment.pop(name)) for name in ("platform", "device") if name in environment]
    if "threads" in environment:
        machine.append(f"{environment['threads']} thread{'s' if environment['threads'] != 1 else ''}")
    if page.distributions and not with_all:
        machine.append(f"{len(page.distributions)} packages")
    _heading("origin")
    changes = page.code_diff()
    lines = [("code", page.code_version)]
    if page.record.untracked:
        lines.append(("", f"Git does not track {', '.join(page.record.untracked)}"))
    if changes is not None:
        lines.append(("", f"{_changed(changes)}; see --diff"))
    lines.append(("data", _fingerprint(page.data_fingerprint, with_all=with_all)))
    if page.val_fingerprint is not None:
        lines.append(("", f"validation: {_fingerprint(page.val_fingerprint, with_all=with_all)}"))
    lines += [("plugins" if place == 0 else "", text) for place, text in enumerate(page.plugins)]
    lines += [("machine" if place == 0 else "", text) for place, text in enumerate(machine)]
    _print_pairs(lines)
    if with_all and page.distributions:
        _heading("packages")
        _print_pairs([*page.distributions.items()])


def _fingerprint(text: str, *, with_all: bool) -> str:
    """Return a fingerprint, shortened unless all is to be shown, or what stands in its place."""
    from kladml.runner.fingerprints import is_fingerprint

    return text if with_all or not is_fingerprint(text) else f"{text[:_HASH]}…"


def _changed(diff: str) -> str:
    """Return how much a diff changes, in words."""
    lines = diff.splitlines()
    files = sum(line.startswith("diff --git ") for line in lines)
    added = sum(line.startswith("+") and not line.startswith("+++") for line in lines)
    removed = sum(line.startswith("-") and not line.startswith("---") for line in lines)
    return f"{files} changed file{'s' if files != 1 else ''}: {added} lines added, {removed} removed"


def _print_pairs(pairs: Sequence[tuple[str, Any]]) -> None:
    size = max((len(name) for name, _ in pairs), default=0)
    for name, value in pairs:
        echo(f"  {name:<{size}}  {value}".rstrip())


def _heading(text: str) -> None:

    echo()
    echo(text, bold=True)
