"""Folders of images: the folder that an image lies in is its label."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from kladml.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kladml.datasets.formats import DataFile

GREY_MODES = ("1", "L", "I", "I;16", "F")
"""Modes of pillow that have one channel of their own."""


def image_shape(file: DataFile) -> tuple[int, int, int]:
    """Return channels, height and width of an image as a training gets it, without decoding it.

    Raises:
        DataError: pillow is not installed, or the image cannot be read.
    """
    try:
        from PIL import Image
    except ImportError as error:
        problem = "images need pillow, which is not installed"
        raise DataError(problem, next_step="pip install 'kladml-core[data]'") from error
    try:
        with Image.open(file.path) as image:
            return (1 if image.mode in GREY_MODES else 3), image.height, image.width
    except (OSError, ValueError, SyntaxError) as error:
        problem = f"the image {file.name} cannot be read: {error}"
        raise DataError(problem, next_step="replace it, and add the data again") from error


def label_of(name: str) -> str | None:
    """Return the label of an image: the name of its folder, or None for one that lies in no folder."""
    parent = PurePosixPath(name).parent.name
    return parent or None


def count_labels(names: Iterable[str]) -> dict[str, int]:
    """Return how many images each label has."""
    counts = Counter(label for name in names if (label := label_of(name)) is not None)
    return {label: counts[label] for label in sorted(counts)}
