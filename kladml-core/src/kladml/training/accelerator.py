"""Making an `Accelerator` for one fit, whatever was made in this process before."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import DistributedDataParallelKwargs, is_torch_xla_available

from kladml.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kladml.config.schema import TrainingConfig


def check_device(config: TrainingConfig) -> str:
    """Return `cpu`, `cuda`, `mps` or `tpu` for a configuration, after checking that it can train there.

    Raises:
        TrainingError: The device is not there, or cannot do the precision.
    """
    device = _device(config.device)
    if device == "cpu" and config.mixed_precision == "fp16":
        problem = "training.mixed_precision is fp16, which needs a GPU, and training would run on the CPU"
        raise TrainingError(problem, next_step="choose bf16 or no, or another training.device")
    return device


def make_accelerator(config: TrainingConfig) -> Accelerator:
    """Return an accelerator for the configured device and precision.

    Raises:
        TrainingError: The device is not there, or cannot do the precision.
    """
    device = check_device(config)
    wrapping = DistributedDataParallelKwargs(find_unused_parameters=config.find_unused_parameters)
    return Accelerator(mixed_precision=config.mixed_precision, cpu=device == "cpu", kwargs_handlers=[wrapping])


@contextlib.contextmanager
def fresh_state() -> Iterator[None]:
    """Set Accelerate's state of this process aside meanwhile.

    Accelerate keeps one state per process and refuses another precision than the first one's. So each fit
    starts from none, and an `Accelerator` of the user's own is as good afterwards as it was before.
    """
    shared = [state._shared_state for state in (AcceleratorState, GradientState, PartialState)]  # noqa: SLF001 - no public way
    before = [dict(state) for state in shared]
    for state in shared:
        state.clear()
    try:
        yield
    finally:
        for state, values in zip(shared, before, strict=True):
            state.clear()
            state.update(values)


def _device(wanted: str) -> str:
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "tpu": is_torch_xla_available(check_is_tpu=True),
    }
    if wanted == "auto":
        return next((name for name in ("tpu", "cuda", "mps") if available[name]), "cpu")
    if not available[wanted]:
        problem = f"training.device is {wanted}, which this machine or this build of torch does not have"
        raise TrainingError(problem, next_step="choose auto or cpu")
    if wanted == "mps" and available["cuda"]:
        problem = "training.device is mps, and Accelerate prefers CUDA on this machine"
        raise TrainingError(problem, next_step="choose auto, cuda or cpu")
    return wanted
