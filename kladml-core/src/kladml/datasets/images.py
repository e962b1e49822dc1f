"""Folders of images: the folder that an image lies in is its label."""

from __future__ import annotations

from collections import Counter
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from kladml.datasets.formats import format_of
from kladml.datasets.progress import in_threads
from kladml.errors import DataError
from kladml.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kladml.datasets.formats import DataFile
    from kladml.datasets.progress import Progress

GREY_MODES = ("1", "L", "I", "I;16", "F")
"""Modes of pillow that have one channel of their own."""

_VERIFIED = ("PNG", "WEBP")
"""Formats in which pillow finds what is missing without decoding them, many times as quick as that."""
_ENDS = {"JPEG": b"\xff\xd9", "GIF": b";"}
"""How whole images end, unless something was written behind them."""


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


def check_images(files: Iterable[DataFile], progress: Progress, name: str) -> None:
    """Check that images are whole; only one that may not be is decoded for that. Without pillow a warning says so.

    Args:
        files: Files, of which those that are no images are left out.
        progress: Shows the progress.
        name: What it calls the data.

    Raises:
        DataError: One is damaged, cut off, or no image.
    """
    images = [(file, file.path.stat().st_size) for file in files if format_of(file.name) == "images"]
    if images and find_spec("PIL") is None:
        why = "are not checked, as pillow is not installed"
        get_logger(__name__).warning(f"the images of {name} {why}; pip install 'kladml-core[data]'")
        return

    def check(item: tuple[DataFile, int], tell: Callable[[int], object]) -> None:
        _check_image(item[0])
        tell(item[1])

    with progress(f"checking the images of {name}", sum(size for _, size in images)) as tell:
        in_threads(check, images, tell)


def _check_image(file: DataFile) -> None:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file.path) as image:
            kind = image.format or ""
            image.verify()
        if kind in _VERIFIED:
            return
        with file.path.open("rb") as opened:
            opened.seek(-len(_ENDS.get(kind, b"")), 2)
            if kind in _ENDS and opened.read() == _ENDS[kind]:
                return
        with Image.open(file.path) as image:
            image.load()
    except Image.DecompressionBombError:
        return  # large, and no damage
    except Exception as error:
        why = "it is none" if isinstance(error, UnidentifiedImageError) else error
        problem = f"the image {file.name} cannot be read: {why}"
        raise DataError(problem, next_step="replace it or leave it out, and add the data again") from error


def label_of(name: str) -> str | None:
    """Return the label of an image: the name of its folder, or None for one that lies in no folder."""
    parent = PurePosixPath(name).parent.name
    return parent or None


def count_labels(names: Iterable[str]) -> dict[str, int]:
    """Return how many images each label has."""
    counts = Counter(label for name in names if (label := label_of(name)) is not None)
    return {label: counts[label] for label in sorted(counts)}
