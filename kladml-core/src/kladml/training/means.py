"""Means per sample that stay on the device until somebody reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping


class RunningMeans:
    """Sample-weighted means of named values; adding to them never waits for the device."""

    def __init__(self) -> None:
        self._sums: dict[str, torch.Tensor] = {}
        self._samples: dict[str, int] = {}

    def add(self, values: Mapping[str, torch.Tensor], size: int) -> None:
        """Add the means over one batch.

        Args:
            values: Scalars, each the mean over the batch.
            size: Samples in the batch.
        """
        for name, value in values.items():
            if name in self._sums:
                self._sums[name].add_(value, alpha=size)
                self._samples[name] += size
            else:
                # Sums over an epoch need the range and precision that 16 bit values lack.
                dtype = torch.float32 if value.device.type == "mps" else torch.float64
                self._sums[name] = value.to(dtype) * size
                self._samples[name] = size

    def read(self) -> dict[str, float]:
        """Return the means as numbers; this is the one place that waits for the device."""
        return {name: (total / self._samples[name]).item() for name, total in self._sums.items()}
