"""What to do when a batch does not fit into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from kladml.errors import TrainingError

if TYPE_CHECKING:
    from kladml.config.schema import TrainingConfig


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory ran out, on a device or on the host."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def with_smaller_batches(config: TrainingConfig, samples: int, error: BaseException) -> TrainingError:
    """Return an error that suggests smaller batches with the same effective size.

    Args:
        config: How the training accumulates.
        samples: Samples in the batch that did not fit; 0 where that is unknown.
        error: What torch said.
    """
    size, steps = samples or config.batch_size, config.gradient_accumulation_steps
    problem = f"memory ran out with a batch of {size} samples: {str(error).splitlines()[0]}"
    if size == 1:
        return TrainingError(problem, next_step="use mixed precision or a smaller model")
    divisor = next((number for number in (2, 3, 5, 7) if size % number == 0), size)
    own = "training.batch_size" if size <= config.batch_size else "the batch size of your loader"
    return TrainingError(
        problem,
        next_step=f"set {own} to {size // divisor} and training.gradient_accumulation_steps to {steps * divisor}, "
        f"which keeps the effective size of {size * steps}",
    )
