"""DDP: each process holds the whole model, and what processes have to have in common besides gradients."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch

from kladml.errors import TrainingError
from kladml.training.finite import FiniteCheck, LazyFiniteCheck
from kladml.training.ranks import peers_watched

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from accelerate import Accelerator
    from torch import nn

    from kladml.training.finite import Check
    from kladml.training.objective import StepModule
    from kladml.training.ranks import Ranks


class DataParallel:
    """The `Strategy` in which each process, or the only one, holds the whole model.

    Args:
        ranks: The processes.
        accelerator: Prepares what is trained, and wraps it where there are several processes.
    """

    infers = True

    def __init__(self, ranks: Ranks, accelerator: Accelerator) -> None:
        self._ranks = ranks
        self._accelerator = accelerator
        self._no_context: AbstractContextManager[Any] = nullcontext()

    def prepare(self, step_module: StepModule, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
        """Let Accelerate prepare a module and its optimizer."""
        prepared, prepared_optimizer = self._accelerator.prepare(step_module, optimizer)
        if self._ranks.world > 1:
            order_buckets(prepared)
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = None
        return prepared, prepared_optimizer

    def context(self, module: Any, *, opens: bool, closes: bool) -> AbstractContextManager[Any]:
        """Return what a batch runs in: inside of a window, gradients are not synchronised."""
        del opens
        if closes or self._ranks.world == 1:
            return self._no_context
        without_sync: AbstractContextManager[Any] = self._accelerator.no_sync(module)
        return without_sync

    def gradients(self, parameters: Sequence[nn.Parameter]) -> list[torch.Tensor]:
        """Return the gradients that there are."""
        return [parameter.grad for parameter in parameters if parameter.grad is not None]

    def local(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the tensor."""
        return tensor

    def clip(self, parameters: Sequence[nn.Parameter], gradients: list[torch.Tensor], largest: float) -> torch.Tensor:
        """Scale gradients so that their norm is at most `largest`; return their norm."""
        norm = torch.nn.utils.get_total_norm([g.coalesce().values() if g.is_sparse else g for g in gradients])
        torch.nn.utils.clip_grads_with_norm_(parameters, largest, norm)
        return norm

    def finite_check(
        self, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], device: torch.device, *, scaled: bool
    ) -> Check:
        """Return a check that never waits for the device where the optimizer allows that, else one that does."""
        lazy = None if scaled else LazyFiniteCheck.where_possible(optimizer, parameters, device)
        return lazy or FiniteCheck(parameters)

    def prove(self, optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter]) -> None:
        """Check that all processes have the same weights."""
        del optimizer
        prove_same_weights(self._ranks, parameters)

    def validating(self) -> AbstractContextManager[Any]:
        """Return what a validation runs in: nothing."""
        return self._no_context

    def weights(self, module: nn.Module) -> dict[str, Any]:
        """Return the module's state dict."""
        return dict(module.state_dict())

    def whole(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the tensors."""
        return tensors

    def load(self, module: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
        """Load a state dict into the module."""
        module.load_state_dict(weights)

    def optimizer_state(self, state: dict[str, Any], parameters: Sequence[nn.Parameter]) -> dict[str, Any]:
        """Return the state."""
        del parameters
        return state

    def note_used(self, parameters: Iterable[nn.Parameter]) -> None:
        """Let the wrapper know of parameters that were used earlier in the window.

        Otherwise one that looks for unused parameters would not synchronise those that only earlier batches used.
        """
        if self._ranks.world > 1:
            torch.stack([parameter.sum() * 0.0 for parameter in parameters]).sum().backward()  # type: ignore[no-untyped-call]

    def join(self) -> None:
        """Do nothing: the module is whole."""

    def explain(self, error: BaseException) -> TrainingError | None:
        """Return None: torch's own error says it."""
        del error
        return None


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
