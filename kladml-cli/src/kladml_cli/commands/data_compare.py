"""`kladml data diff` and `verify`: what changed in data sets, and whether they are as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kladml_cli.completion.attach import completes
from kladml_cli.options import global_options
from kladml_cli.settings_options import json_option, workspace_option
from kladml_cli.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kladml.datasets import Manifest
    from kladml.datasets.difference import Difference

DIFF_EPILOG = """\
Examples:

\b
  kladml data diff digits@1 digits@2
  kladml data diff digits@1
  kladml data diff digits@1 digits@2 --rows 50 --json
"""

VERIFY_EPILOG = """\
Examples:

\b
  kladml data verify
  kladml data verify digits@1 photos

The exit status is 6 if a file is damaged.
"""

_RED, _GREEN, _YELLOW = {"fg": "red"}, {"fg": "green"}, {"fg": "yellow"}
_MOST_FILES = 10


@click.command(epilog=DIFF_EPILOG)
@click.argument("before", metavar="BEFORE", shell_complete=completes("versions"))
@click.argument("after", metavar="[AFTER]", required=False, shell_complete=completes("versions"))
@click.option("--rows", metavar="N", type=click.IntRange(min=0), default=5, show_default=True, help="Show N rows.")
@workspace_option
@json_option
@global_options()
def diff(*, before: str, after: str | None, rows: int, workspace: Path | None, as_json: bool) -> None:
    """Say which files, columns, labels and rows changed from BEFORE to AFTER, such as from digits@1 to digits@2.

    Without AFTER, BEFORE is compared with the latest version. Rows are compared by their content, in the columns that
    both versions have: one that only moved has not changed.
    """
    from kladml.datasets import DatasetReference, DatasetStore
    from kladml.datasets.difference import as_dict, compare
    from kladml.workspace import Workspace
    from kladml_cli.progress import bar
    from kladml_cli.terminal import print_json

    store = DatasetStore(Workspace.find(workspace).state)
    old = store.get(before)
    new = store.get(after if after is not None else DatasetReference(old.name))
    found = compare(store, old, new, shown=rows, progress=bar)
    if as_json:
        print_json(as_dict(found))
    elif found.same:
        echo(f"{found.before} and {found.after} have the same files")
    else:
        _print_difference(found)


@click.command(epilog=VERIFY_EPILOG)
@click.argument("references", metavar="[NAME[@N]]...", nargs=-1, shell_complete=completes("versions"))
@workspace_option
@json_option
@global_options()
def verify(*, references: tuple[str, ...], workspace: Path | None, as_json: bool) -> None:
    """Read every file of versions and compare it with its digest; all versions of all data sets by default."""
    from kladml.datasets import DatasetStore
    from kladml.errors import DataError
    from kladml.workspace import Workspace
    from kladml_cli.hints import hint
    from kladml_cli.progress import bar
    from kladml_cli.terminal import print_json, print_table, size

    store = DatasetStore(Workspace.find(workspace).state)
    versions = list(_chosen(store, references))
    faults = {manifest.reference: store.verify(manifest, bar) for manifest in versions}
    rows: list[dict[str, Any]] = [
        {
            "reference": str(manifest.reference),
            "files": len(manifest.files),
            "size": manifest.size,
            "valid": not faults[manifest.reference],
            "damaged": [{"file": entry.name, "problem": what} for entry, what in faults[manifest.reference]],
        }
        for manifest in versions
    ]
    damaged = [row for row in rows if not row["valid"]]
    if as_json:
        print_json(rows)
    elif not rows:
        hint("no data sets yet; 'kladml data add NAME PATH' adds one")
    else:
        cells = [
            (
                row["reference"],
                f"{row['files']} file{'s' if row['files'] > 1 else ''}",
                size(row["size"]),
                "whole" if row["valid"] else "damaged",
            )
            for row in rows
        ]
        print_table(("VERSION", "FILES", "SIZE", "STATE"), cells, [{} if row["valid"] else _RED for row in rows])
        for row in damaged:
            for fault in row["damaged"]:
                echo(f"{row['reference']}: {fault['file']} {fault['problem']}")
    if damaged:
        names = ", ".join(row["reference"] for row in damaged)
        is_are = "is" if len(damaged) == 1 else "are"
        problem = f"{len(damaged)} of {len(rows)} version{'' if len(rows) == 1 else 's'} {is_are} damaged: {names}"
        raise DataError(problem, next_step="restore with 'kladml data pull', or add the same data again")


def _chosen(store: Any, references: Sequence[str]) -> Iterator[Manifest]:
    from kladml.datasets import DatasetReference

    for text in references or store.names():
        reference = DatasetReference.parse(text)
        if reference.version is None and "@" not in text:
            store.get(reference)  # says which there are
            yield from store.versions(reference.name)
        else:
            yield store.get(reference)


def _print_difference(found: Difference) -> None:
    echo(f"{found.before} -> {found.after}")
    _print_files(found)
    _print_section(
        "columns",
        [
            (f"+ {name}", new or "", _GREEN) if old is None else (f"- {name}", old, _RED) if new is None
            else (f"~ {name}", f"{old} -> {new}", _YELLOW)
            for name, (old, new) in found.columns.items()
        ],
    )  # fmt: skip
    _print_section(
        "labels", [(f"~ {label}", f"{old:,} -> {new:,}", _YELLOW) for label, (old, new) in found.labels.items()]
    )
    _print_rows(found)


def _print_files(found: Difference) -> None:
    files = found.files
    rows: list[tuple[str, str, dict[str, str]]] = [
        *((f"+ {name}", "", _GREEN) for name in files.added),
        *((f"- {name}", "", _RED) for name in files.removed),
        *((f"~ {name}", "", _YELLOW) for name in files.changed),
        *((f"~ {old}", f"-> {new}", _YELLOW) for old, new in files.moved),
    ]
    _print_section("files", rows[:_MOST_FILES])
    if len(rows) > _MOST_FILES:
        echo(f"  ... and {len(rows) - _MOST_FILES:,} more; see --json")


def _print_rows(found: Difference) -> None:
    old, new = found.rows
    rows = found.row_difference
    if found.nothing_in_common:
        echo(f"rows     {_number(old)} -> {_number(new)}: no column in common, so that rows are not compared")
        return
    if rows is None:
        if old != new:
            echo(f"rows     {_number(old)} -> {_number(new)}")
        return
    parts = [f"{count:,} {what}" for count, what in ((rows.changed, "changed"), (rows.added, "added")) if count]
    parts += [f"{rows.removed:,} removed"] if rows.removed else []
    text = ", ".join(parts) or ("the same in another order" if rows.only_order else "the same")
    echo(f"rows     {_number(old)} -> {_number(new)}: {text}")
    for change in rows.examples:
        row = change.row_after if change.row_before is None else change.row_before
        values = change.values.items()
        if change.row_before is None:
            _line("+", row, ", ".join(f"{name} {now}" for name, (_, now) in values), _GREEN)
        elif change.row_after is None:
            _line("-", row, ", ".join(f"{name} {was}" for name, (was, _) in values), _RED)
        else:
            # Arrays of one type and shape differ in what they hold, which is too much for a line.
            parts = [name if was == now else f"{name} {was} -> {now}" for name, (was, now) in values]
            _line("~", row, ", ".join(parts), _YELLOW)
    rest = rows.changed + rows.added + rows.removed - len(rows.examples)
    if rest:
        echo(f"  ... and {rest:,} more; see --rows")


def _line(mark: str, row: int | None, text: str, style: dict[str, str]) -> None:
    import sys

    from kladml_cli.terminal import width

    line = f"  {mark} row {row}  {text}"
    if sys.stdout.isatty() and len(line) > width():
        line = f"{line[: width() - 1]}…"
    echo(line, **style)


def _print_section(title: str, rows: Sequence[tuple[str, str, dict[str, str]]]) -> None:

    if rows:
        echo(title)
    size = max((len(name) for name, _, _ in rows), default=0)
    for name, text, style in rows:
        echo(f"  {name:<{size}}  {text}".rstrip(), **style)


def _number(rows: int | None) -> str:
    return "?" if rows is None else f"{rows:,}"
