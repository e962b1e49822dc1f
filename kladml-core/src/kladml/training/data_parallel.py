"""What processes that train one model have to have in common, besides gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from kladml.errors import TrainingError
from kladml.training.ranks import peers_watched

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import nn

    from kladml.training.ranks import Ranks


def order_buckets(step_module: nn.Module) -> None:
    """Let a data-parallel wrapper order its buckets before the first step; gradients of 0 are left.

    It does so after the first backward pass, and from three processes on another order of the buckets adds
    gradients in another order. A resumed training would then differ from one that was never interrupted.

    Args:
        step_module: The wrapped `StepModule`.
    """
    with peers_watched():
        loss, _ = step_module(None, 0, "warm")
        loss.backward()


def refuse_left_out(module: nn.Module) -> None:
    """Check that a first step gave every trained parameter a gradient, for which the other processes wait.

    Raises:
        TrainingError: One has none.
    """
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            problem = f"the first step leaves out the parameter {name}, and processes share the gradients of all"
            raise TrainingError(
                problem, next_step="set training.find_unused_parameters to true, or freeze the parameter"
            )


def note_used(parameters: Iterable[nn.Parameter]) -> None:
    """Let a data-parallel wrapper know that parameters were used earlier in the accumulation window.

    Otherwise one that looks for unused parameters would not synchronise those that only earlier batches used.
    """
    torch.stack([parameter.sum() * 0.0 for parameter in parameters]).sum().backward()  # type: ignore[no-untyped-call]


def prove_same_weights(ranks: Ranks, parameters: Iterable[nn.Parameter]) -> None:
    """Check that all processes have the same weights, to the last bit of their sums and squares.

    Raises:
        TrainingError: One has others.
    """
    weights = [torch.view_as_real(p.detach()) if p.is_complex() else p.detach() for p in parameters]
    sums = [each for weight in weights for each in (weight.double().sum(), weight.double().square().sum())]
    digests = ranks.gather(torch.stack(sums).cpu().numpy().tobytes())
    wrong = [rank for rank, found in enumerate(digests) if found != digests[0]]
    if wrong:
        problem = f"after the first step, rank {', '.join(map(str, wrong))} has other weights than rank 0"
        raise TrainingError(
            problem,
            next_step="set training.find_unused_parameters if a step leaves parameters out, and let every gradient "
            "come from the loss that the step returns",
        )


def buffers_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return copies of a module's buffers on the CPU, by name.

    Inside an accumulation window each process has its own, as they are synchronised with the gradients.
    """
    return {name: buffer.detach().to("cpu", copy=True).contiguous() for name, buffer in module.named_buffers()}


def put_back_buffers(module: nn.Module, wrapper: Any, kept: Mapping[str, torch.Tensor]) -> None:
    """Put back what `buffers_of` returned, and let the wrapper leave it alone in the next step, as it would have."""
    for name, buffer in module.named_buffers():
        buffer.data.copy_(kept[name])
    wrapper.require_forward_param_sync = False
