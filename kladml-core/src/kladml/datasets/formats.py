"""Which kind of data the files of a version are, by the endings of their names."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FORMATS = ("csv", "parquet", "arrow", "npz", "npy", "safetensors", "images", "files")
"""`files` is everything else: it is kept and compared by file, and a function of the user's reads it."""

TABLES = ("csv", "parquet", "arrow")
ARRAYS = ("npz", "npy", "safetensors")

_BY_ENDING = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".npz": "npz",
    ".npy": "npy",
    ".safetensors": "safetensors",
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"), "images"),
}
_BESIDE = frozenset((".md", ".txt", ".rst", ".json", ".yaml", ".yml", ".toml", ""))
"""Endings of what may lie beside data: a description, a licence."""


class DataFile(NamedTuple):
    """A file of a version, and where its content is.

    Attributes:
        name: Its name in the version.
        path: Where it can be read.
    """

    name: str
    path: Path


def format_of(name: str) -> str:
    """Return the format of one file."""
    return _BY_ENDING.get(PurePosixPath(name).suffix.lower(), "files")


def data_files(files: Iterable[DataFile]) -> tuple[str, list[DataFile]]:
    """Return the common format of files and those that hold the data; `files` and all where they have none in common.

    Text and other small files may lie beside the data.
    """
    everything = list(files)
    found = [file for file in everything if PurePosixPath(file.name).suffix.lower() not in _BESIDE]
    kinds = {format_of(file.name) for file in found}
    if len(kinds) != 1 or "files" in kinds:
        return "files", everything
    return kinds.pop(), found
