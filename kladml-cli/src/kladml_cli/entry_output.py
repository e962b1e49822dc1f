"""How projects, families and experiments are printed, and what happened to them."""

from __future__ import annotations

import sys
from itertools import groupby
from typing import TYPE_CHECKING

from kladml_cli.hints import hint
from kladml_cli.terminal import echo, print_table, printable, width

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from kladml.interfaces import CatalogEntry, Removal, RunAddress
    from kladml.workspace import Workspace

_COUNTS = {
    "project": ("families", "experiments", "runs"),
    "family": ("experiments", "runs"),
    "experiment": ("runs",),
}
_LEAST_DESCRIPTION = 12


def as_dict(entry: CatalogEntry) -> dict[str, object]:
    """Return an entry as JSON has it."""
    return {
        "address": str(entry.address),
        "level": entry.address.level,
        "description": entry.description,
        "created_at": entry.created_at.isoformat(),
        **{name: getattr(entry, name) for name in _COUNTS[entry.address.level]},
        "last_run_at": entry.last_run_at.isoformat() if entry.last_run_at is not None else None,
    }


def print_entries(level: str, entries: Sequence[CatalogEntry]) -> None:
    """Print entries of one level as a table whose descriptions are cut to the width of a terminal."""
    counts = _COUNTS[level]
    header = (level.upper(), *(name.upper() for name in counts), "LAST RUN", "DESCRIPTION")
    rows = [
        (str(entry.address), *(str(getattr(entry, name)) for name in counts), _minute(entry.last_run_at))
        for entry in entries
    ]
    columns = zip(header[:-1], *rows, strict=True)
    room = max(width() - sum(max(map(len, column)) + 2 for column in columns), _LEAST_DESCRIPTION)
    print_table(
        header,
        [(*row, _line(entry.description, room)) for row, entry in zip(rows, entries, strict=True)],
    )


def print_entry(entry: CatalogEntry) -> None:
    """Print everything about one entry."""
    echo(f"{entry.address.level} {entry.address}")
    facts = [("created", _minute(entry.created_at))]
    facts += [(name, str(getattr(entry, name))) for name in _COUNTS[entry.address.level]]
    if entry.last_run_at is not None:
        facts.append(("last run", _minute(entry.last_run_at)))
    for name, value in facts:
        echo(f"  {name:<11}  {value}")
    if entry.description:
        echo()
        for line in entry.description.splitlines():
            echo(f"  {line}".rstrip())


def print_changes(verb: str, changed: Sequence[tuple[str, str]]) -> None:
    """Print what happened to what, such as `made  project  CustomerChurn`."""
    size = max(len(what) for what, _ in changed)
    for what, address in changed:
        echo(f"{verb}  {what:<{size}}  {address}")


def removal_rows(removal: Removal) -> list[tuple[str, str]]:
    """Return what leaves the catalog: each entry, and the runs of each experiment in one line."""
    rows = [(each.level, str(each)) for each in (removal.address, *removal.below)]
    runs = sorted(removal.runs, key=lambda run: str(run.experiment))
    for experiment, group in groupby(runs, key=lambda run: run.experiment):
        inside = [*group]
        what = "1 run" if len(inside) == 1 else f"{len(inside)} runs"
        rows.append((what, f"{experiment}@{_ranges(inside)}"))
    return rows


def print_removal(verb: str, removal: Removal, workspace: Workspace, stored: Sequence[str] = ()) -> None:
    """Print what leaves the catalog, and on standard error what does not, with the places of stored files."""
    print_changes(verb, removal_rows(removal))
    if removal.runs:
        folder = workspace.state / "runs" / str(removal.address)
        where = f", {folder.relative_to(workspace.root)}" if folder.is_dir() else ""
        hint(
            f"Only the catalog forgets them. What stays: folders of runs{where};\n"
            f"stored files{', ' if stored else ''}{', '.join(stored)}; and what trackers recorded."
        )


def _ranges(runs: Iterable[RunAddress]) -> str:
    """Return numbers of runs, such as `1-3,7`."""
    spans: list[list[int]] = []
    for number in sorted(int(run.label) for run in runs if run.label.isdecimal()):
        if spans and number == spans[-1][-1] + 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    labels = ["-".join(map(str, span)) for span in spans]
    return ",".join([*labels, *(run.label for run in runs if not run.label.isdecimal())])


def _minute(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _line(description: str, room: int) -> str:
    """Return the first line of a description, on a terminal cut to the room that there is."""
    first = printable(description.strip().partition("\n")[0])
    if not sys.stdout.isatty() or len(first) <= room:
        return first
    return f"{first[: room - 1].rstrip()}…"
