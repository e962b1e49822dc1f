"""How data sets are shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from kladml.datasets import Manifest, Schema
    from kladml.datasets.catalog_versions import KnownVersion
    from kladml.interfaces import CatalogDataset


def runs_on(state: Path, references: set[str]) -> list[str]:
    """Return the addresses of runs that were trained on one of these versions, or on a part of one."""
    found = []
    for file in sorted((state / "runs").glob("*/*/*/*/run.json")):
        try:
            record = json.loads(file.read_bytes())
            used = str(record["tags"].get("kladml.data", ""))
        except (OSError, ValueError, KeyError, AttributeError):
            continue
        if used.partition("/")[0] in references:
            found.append(str(record.get("address", file.parent.name)))
    return found


def summary(version: KnownVersion) -> dict[str, Any]:
    """Return a version as JSON has it, with where it is."""
    if version.manifest is not None:
        content = summary_of_manifest(version.manifest)
    else:
        entry = version.summary
        content = {
            "reference": entry.reference,
            "name": entry.name,
            "version": entry.number,
            "fingerprint": entry.fingerprint,
            "created_at": entry.created_at.isoformat(timespec="seconds"),
            "size": entry.size,
            "schema": {"format": entry.format, "rows": entry.rows, "target": entry.target},
            "files": entry.files,
        }
    return content | where(version)


def where(version: KnownVersion) -> dict[str, Any]:
    """Return where a version is, as JSON has it."""
    here, in_catalog = version.manifest is not None, version.entry is not None
    return {"here": here, "in_catalog": in_catalog, "storage": version.storage}


def summary_of_manifest(manifest: Manifest) -> dict[str, Any]:
    """Return a version of the workspace as JSON has it."""
    content = manifest.as_dict()
    del content["files"], content["format"], content["removed_at"]
    return {"reference": str(manifest.reference), **content, "files": len(manifest.files)}


def in_short(version: CatalogDataset) -> str:
    """Return format, rows, columns and size in a line."""
    from kladml_cli.terminal import size

    parts = [version.format if version.format != "files" else "files of no known format"]
    if version.rows is not None:
        parts.append(_counted(version.rows, "image" if version.format == "images" else "row"))
    if version.columns:
        what = "column" if version.format in ("csv", "parquet", "arrow") else "array"
        parts.append(_counted(version.columns, what))
    if version.labels:
        parts.append(_counted(version.labels, "label"))
    parts.append(f"{_counted(version.files, 'file')}, {size(version.size)}")
    return ", ".join(parts)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def print_schema(schema: Schema, most: int | None) -> None:
    """Print columns and labels, at most so many of each."""
    from kladml_cli.terminal import echo, print_table

    if schema.columns:
        echo()
        rows = []
        for column in schema.columns[:most]:
            notes = ["target"] if column.name == schema.target else []
            notes += [f"{column.missing:,} missing"] if column.missing else []
            rows.append((column.name, str(column), ", ".join(notes)))
        print_table(("COLUMN", "TYPE", ""), rows)
        _say_rest(len(schema.columns), most, "column")
    if schema.labels:
        echo()
        labels = [(label, f"{count:,}") for label, count in schema.labels.items()]
        print_table(("LABEL", "ROWS"), labels[:most])
        _say_rest(len(labels), most, "label")


def _say_rest(there_are: int, most: int | None, what: str) -> None:
    from kladml_cli.terminal import echo

    if most is not None and there_are > most:
        rest = there_are - most
        echo(f"... and {rest} more {what}{'' if rest == 1 else 's'}; see --all")


def print_files(manifest: Manifest) -> None:
    """Print the files of a version."""
    from kladml_cli.terminal import echo, print_table, size

    echo()
    rows = [(file.name, size(file.size), file.digest[:16]) for file in manifest.files]
    print_table(("FILE", "SIZE", "BLAKE2B"), rows)


def moment(when: datetime) -> str:
    """Return a moment in the reader's zone."""
    return f"{when.astimezone():%Y-%m-%d %H:%M}"
