"""Images in files as a data set, decoded when they are fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset

from kladml.datasets.images import GREY_MODES
from kladml.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class ImageFiles(Dataset[Any]):
    """Images of one size as tensors of channels, height and width with values from 0 to 1, each with its label.

    All have the channels of the first one: one where that is grey, else three.

    Args:
        files: Name and path of each image.
        labels: The number of each one's label; None for images without.

    Raises:
        DataError: pillow is not installed, or the first image cannot be read.
    """

    def __init__(self, files: Sequence[tuple[str, Path]], labels: Sequence[int] | None = None) -> None:
        try:
            import PIL.Image  # noqa: F401 - said before the training
        except ImportError as error:
            problem = "images need pillow, which is not installed"
            raise DataError(problem, next_step="pip install 'kladml-core[data]'") from error
        self.files, self.labels = list(files), None if labels is None else list(labels)
        self._mode: str | None = None
        first = self._decoded(0)
        self._mode, self._shape = ("L" if len(first) == 1 else "RGB"), first.shape

    def __len__(self) -> int:
        """Return how many images there are."""
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        """Return an image, with its label if there is one.

        Raises:
            DataError: It cannot be read, or has another size than the first one.
        """
        image = self._decoded(index)
        if image.shape != self._shape:
            problem = f"{self.files[index][0]} is {_size(image)}, and {self.files[0][0]} {_size_of(self._shape)}"
            raise DataError(problem, next_step="give all images one size, or resize them in a function: data.py:load")
        return image if self.labels is None else (image, self.labels[index])

    def _decoded(self, index: int) -> torch.Tensor:
        from PIL import Image

        name, path = self.files[index]
        try:
            with Image.open(path) as image:
                grey = self._mode == "L" or (self._mode is None and image.mode in GREY_MODES)
                pixels = np.asarray(image.convert("L" if grey else "RGB"), dtype=np.float32) / 255
        except (OSError, ValueError, SyntaxError) as error:
            problem = f"the image {name} cannot be read: {error}"
            raise DataError(problem, next_step="replace it, and add the data again") from error
        return torch.from_numpy(pixels[None] if grey else pixels.transpose(2, 0, 1).copy())


def _size(image: torch.Tensor) -> str:
    return _size_of(image.shape)


def _size_of(shape: Sequence[int]) -> str:
    return f"{shape[2]}x{shape[1]} pixels"
