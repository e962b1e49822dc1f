"""Folders of images: the folder that an image lies in is its label."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def label_of(name: str) -> str | None:
    """Return the label of an image: the name of its folder, or None for one that lies in no folder."""
    parent = PurePosixPath(name).parent.name
    return parent or None


def count_labels(names: Iterable[str]) -> dict[str, int]:
    """Return how many images each label has."""
    counts = Counter(label for name in names if (label := label_of(name)) is not None)
    return {label: counts[label] for label in sorted(counts)}
