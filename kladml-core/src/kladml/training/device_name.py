"""What a training computes on, as people and comparisons name it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kladml.training.accelerator import check_device

if TYPE_CHECKING:
    from kladml.config.schema import TrainingConfig


def device_name(config: TrainingConfig) -> str:
    """Return the device of a configuration, with the model of a GPU: `cpu`, or `cuda (NVIDIA H100)`.

    Raises:
        TrainingError: The device is not there, or cannot do the precision.
    """
    device = check_device(config)
    return f"cuda ({torch.cuda.get_device_name()})" if device == "cuda" else device


def thread_count() -> int:
    """Return how many threads compute on the CPU: sums are split among them, and so are rounded differently."""
    return torch.get_num_threads()


def is_deterministic() -> bool:
    """Tell whether torch was asked for the same numbers each time, also on a GPU."""
    return torch.are_deterministic_algorithms_enabled()
