"""A small network for images. It is yours: change it, or write another one and name it in model.ref."""

import torch
from torch import nn

SMALL = 7
"""Pixels of a side from which on an image is not halved any more."""


class Network(nn.Module):
    """Convolutions that halve the image until it is small, and one linear layer.

    Args:
        channels: Channels of an image: 1 where it is grey, 3 where it has colours.
        height: Its height in pixels.
        width: Its width in pixels.
        outputs: How many classes.
        features: Features of the first convolution; each further one has twice as many, up to 8 times.
        dropout: Share of the features that is hidden at random in training, against learning by heart.
    """

    def __init__(
        self, channels: int, height: int, width: int, outputs: int, *, features: int = 16, dropout: float = 0.2
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        found = features
        while not layers or max(height, width) > SMALL:
            layers += [nn.Conv2d(channels, found, kernel_size=3, padding=1), nn.ReLU()]
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
            height, width = (height + 1) // 2, (width + 1) // 2
            channels, found = found, min(2 * found, 8 * features)
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels * height * width, outputs)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return scores of the classes for images of shape (images, channels, height, width), from 0 to 1."""
        scores: torch.Tensor = self.layers(images)
        return scores
