"""What changed between two versions: files, columns, rows and labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kladml.datasets.arrays import open_arrays
from kladml.datasets.formats import ARRAYS, TABLES, data_files
from kladml.datasets.progress import silent
from kladml.datasets.row_difference import RowChange, RowDifference, compare_arrays, compare_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kladml.datasets.formats import DataFile
    from kladml.datasets.manifest import FileEntry, Manifest
    from kladml.datasets.progress import Progress
    from kladml.datasets.schema import Schema
    from kladml.datasets.store import DatasetStore

__all__ = ["Difference", "RowChange", "RowDifference", "compare"]


@dataclass(frozen=True, slots=True)
class FileDifference:
    """Files that differ between two versions, by name.

    Attributes:
        added: Only in the second one.
        removed: Only in the first one.
        changed: In both, with other content.
        moved: Content that has another name in the second one: names before and after.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    moved: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed between two versions.

    Attributes:
        before: The first one, such as `digits@1`.
        after: The second one.
        same: Whether both have the same files.
        files: The files that differ.
        columns: Columns that differ: name, and type before and after, None where there is none. Arrays have the shape
            of a row; where those of a version have different lengths, that of the whole array.
        labels: Labels whose numbers differ: numbers before and after.
        rows: How many rows they have; None where that is not known.
        row_difference: Which rows differ; None where the formats have none, or are not to be compared.
        nothing_in_common: Whether rows are not compared because the versions have no column in common.
    """

    before: str
    after: str
    same: bool
    files: FileDifference = field(default_factory=FileDifference)
    columns: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    labels: dict[str, tuple[int, int]] = field(default_factory=dict)
    rows: tuple[int | None, int | None] = (None, None)
    row_difference: RowDifference | None = None
    nothing_in_common: bool = False


def compare(
    store: DatasetStore, before: Manifest, after: Manifest, *, shown: int, progress: Progress = silent
) -> Difference:
    """Return what changed between two versions, also of different data sets.

    Args:
        store: Where they are.
        before: The first one.
        after: The second one.
        shown: How many rows at most to give with their values.
        progress: Shows the progress.

    Raises:
        DataError: A file is damaged.
    """
    files = _compare_files(before.files, after.files)
    rows, nothing_in_common = None, False
    same = before.files == after.files
    if not same:
        for manifest in (before, after):
            store.seals(manifest).require(manifest, manifest.files)
        nothing_in_common = _have_nothing_in_common(before.schema, after.schema)
        rows = None if nothing_in_common else _compare_rows(store, before, after, shown, progress)
    return Difference(
        str(before.reference),
        str(after.reference),
        same,
        files,
        _compare_columns(store, before, after, as_rows=rows is not None),
        _compare_labels(before.schema, after.schema),
        (before.schema.rows, after.schema.rows),
        rows,
        nothing_in_common,
    )


def _have_nothing_in_common(before: Schema, after: Schema) -> bool:
    """Tell whether both versions have columns, and none of them in both: without any, all rows would be the same."""
    old, new = ({column.name for column in schema.columns} for schema in (before, after))
    return bool(old and new) and not old & new


def _compare_files(before: tuple[FileEntry, ...], after: tuple[FileEntry, ...]) -> FileDifference:
    old, new = ({file.name: file.digest for file in files} for files in (before, after))
    added = [name for name in new if name not in old]
    removed = [name for name in old if name not in new]
    places = {old[name]: name for name in reversed(removed)}
    moved = []
    for name in list(added):
        origin = places.pop(new[name], None)
        if origin is not None:
            moved.append((origin, name))
            added.remove(name)
            removed.remove(origin)
    changed = [name for name in new if name in old and old[name] != new[name]]
    return FileDifference(tuple(added), tuple(removed), tuple(changed), tuple(moved))


def _compare_columns(
    store: DatasetStore, before: Manifest, after: Manifest, *, as_rows: bool
) -> dict[str, tuple[str | None, str | None]]:
    versions = (before, after)
    old, new = ({column.name: str(column) for column in each.schema.columns} for each in versions)
    if not as_rows and before.files != after.files and all(each.schema.format in ARRAYS for each in versions):
        old, new = (_whole_shapes(store.files_of(each.files)) for each in versions)
    return {name: (old.get(name), new.get(name)) for name in old | new if old.get(name) != new.get(name)}


def _whole_shapes(files: Sequence[DataFile]) -> dict[str, str]:
    arrays = open_arrays(data_files(files)[1])
    return {name: f"{array.dtype.name}{[*array.shape] or ''}" for name, array in arrays.items()}


def _compare_labels(before: Schema, after: Schema) -> dict[str, tuple[int, int]]:
    old, new = before.labels, after.labels
    return {label: (old.get(label, 0), new.get(label, 0)) for label in old | new if old.get(label) != new.get(label)}


def _compare_rows(
    store: DatasetStore, before: Manifest, after: Manifest, shown: int, progress: Progress
) -> RowDifference | None:
    (kind, old), (other, new) = (data_files(store.files_of(manifest.files)) for manifest in (before, after))
    if kind in TABLES and other in TABLES:
        return compare_tables(old, new, shown, progress, (before.schema.types, after.schema.types))
    if kind in ARRAYS and other in ARRAYS:
        return compare_arrays(old, new, shown, progress)
    return None


def as_dict(difference: Difference) -> dict[str, Any]:
    """Return a difference as plain data."""
    rows = difference.row_difference
    why_not = {"not_compared": "no column in common"} if difference.nothing_in_common else {}
    return {
        "before": difference.before,
        "after": difference.after,
        "same": difference.same,
        "files": {
            "added": [*difference.files.added],
            "removed": [*difference.files.removed],
            "changed": [*difference.files.changed],
            "moved": [[*names] for names in difference.files.moved],
        },
        "columns": {name: {"before": old, "after": new} for name, (old, new) in difference.columns.items()},
        "labels": {label: {"before": old, "after": new} for label, (old, new) in difference.labels.items()},
        "rows": {"before": difference.rows[0], "after": difference.rows[1]}
        | (
            why_not
            if rows is None
            else {
                "added": rows.added,
                "removed": rows.removed,
                "changed": rows.changed,
                "only_order": rows.only_order,
                "examples": [
                    {
                        "row_before": change.row_before,
                        "row_after": change.row_after,
                        "values": {name: {"before": old, "after": new} for name, (old, new) in change.values.items()},
                    }
                    for change in rows.examples
                ],
            }
        ),
    }
