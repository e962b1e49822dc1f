"""Means of a module's metrics over data that it is not trained on."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import send_to_device

from kladml.errors import DataError, TrainingError
from kladml.training.means import RunningMeans
from kladml.training.ranks import peers_watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    from kladml.training.data.batches import BatchSource
    from kladml.training.ranks import Ranks


def evaluate(
    step_module: nn.Module,
    source: BatchSource,
    ranks: Ranks,
    device: torch.device,
    mode_of: nn.Module,
    *,
    inference: bool,
    batches: int | None = None,
    beat: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Return sample-weighted means of the metrics over the data of all processes, computed without gradients.

    Args:
        step_module: Computes a step.
        source: The data.
        ranks: This process among those that take part.
        device: Where the module is.
        mode_of: The module to put into evaluation mode meanwhile.
        inference: Whether torch's inference mode is on; else gradients are merely not recorded.
        batches: How many batches of each process are looked at; all by default.
        beat: Called before each batch.

    Raises:
        DataError: There is no batch.
    """
    means, seen = RunningMeans(), 0
    without_gradients = torch.inference_mode if inference else torch.no_grad
    with evaluation_mode(mode_of), without_gradients():
        for index, (content, samples, _) in enumerate(source.epoch(1)):
            seen += 1
            beat()
            with peers_watched():
                loss, metrics = step_module(send_to_device(content, device), index, "val")
            size = number(metrics.pop("num_items")) if "num_items" in metrics and samples else samples
            metrics["loss"] = loss.detach()
            means.add(metrics, size)
            if seen == batches:
                break
    found = means.read(ranks)
    if not found:
        problem = "the data loader gave no batch"
        raise DataError(problem, next_step="check that it is not used up and that drop_last leaves a batch")
    return found


@contextlib.contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode meanwhile; every part of it is then as it was before."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def number(value: Any) -> float:
    """Return a number or a tensor of one element as a number."""
    return float(value.item() if isinstance(value, torch.Tensor) else value)


def keeps_validation_tensors(error: BaseException) -> TrainingError:
    """Return an error for a module that uses in training what it computed in inference mode."""
    problem = f"the module uses a tensor in training that it made and kept in validation: {error}"
    return TrainingError(problem, next_step="set training.inference_mode to false, or do not keep it")
