"""The step plan: what happens with each batch's loss, decided once before the loop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import DistributedType

from kladml.errors import NonFiniteError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from accelerate import Accelerator

    from kladml.training.strategy import Strategy

_LEAST_SCALE = 2.0**-24
"""Loss scale below which fp16 can hold nothing that a larger one could not: its smallest number."""


class StepPlan:
    """Accumulates gradients over windows of batches, weighted by samples, and takes optimizer steps.

    A window's gradient is the mean over the samples that all processes put into it, however they are cut into
    batches: each batch's loss (a mean) is divided by `nominal / samples`, which is exactly the number of
    accumulation steps for full batches, and a window that held another number of samples than the nominal one is
    corrected once, before clipping. Accelerate averages over processes, so that their number enters the same way.

    Args:
        accelerator: The accelerator that prepared the module and the optimizer.
        strategy: What this process holds of the parameters and their gradients.
        module: The prepared module.
        optimizer: The prepared optimizer.
        parameters: The parameters whose gradients are used.
        accumulation: Batches per window and process.
        clipping: Largest norm of all gradients together; None or 0 for no clipping.

    Attributes:
        steps: Optimizer steps taken so far.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        strategy: Strategy,
        module: Any,
        optimizer: Any,
        parameters: Iterable[torch.nn.Parameter],
        *,
        accumulation: int,
        clipping: float | None,
    ) -> None:
        self.accelerator = accelerator
        self.module = module
        self.parameters = list(parameters)
        self.accumulation = accumulation
        self.clipping = clipping or None
        self.steps = 0
        self.world = accelerator.num_processes
        self._prepared = optimizer
        self._inner = optimizer.optimizer
        self._scaled = accelerator.scaler is not None
        # On a TPU, Accelerate's own optimizer reduces gradients over the cores and ends the traced step.
        self._by_accelerate = self._scaled or accelerator.distributed_type == DistributedType.XLA
        self._gradient_state = accelerator.gradient_state
        self._batches = 0
        self._samples = 0.0
        self._nominal = 0.0
        self._losses: list[torch.Tensor] = []
        self._strategy = strategy
        device = accelerator.device
        self.finite = strategy.finite_check(self._inner, self.parameters, device, scaled=self._scaled)
        self.judges_later = self._scaled or self.finite.judges_later

    @property
    def in_window(self) -> bool:
        """Whether gradients are accumulated that no step has used yet."""
        return self._batches > 0

    def closes_window(self, *, is_last: bool) -> bool:
        """Tell whether the next batch is the last one of its window, and let gradients be synchronised if it is."""
        closes = is_last or self._batches + 1 == self.accumulation
        if closes is not self._gradient_state.sync_gradients:
            self._gradient_state._set_sync_gradients(closes)  # noqa: SLF001 - what Accelerate's own loop does
        return closes

    def context(self, *, closes: bool) -> AbstractContextManager[Any]:
        """Return what a batch's forward and backward pass run in."""
        return self._strategy.context(self.module, opens=not self.in_window, closes=closes)

    def backward(self, loss: torch.Tensor, size: float, total: float) -> None:
        """Add a batch's gradient to the window.

        Args:
            loss: Mean loss over the batch.
            size: Samples in the batch of this process.
            total: Samples in the batches of all processes.
        """
        if self._batches == 0:
            self._nominal = total * self.accumulation or 1.0  # a first batch of no tokens counts nothing
        if size * self.world != self._nominal:
            loss = loss / (self._nominal / (size * self.world)) if size else loss * 0.0
        if self._by_accelerate:
            self.accelerator.backward(loss)
        else:
            loss.backward()  # type: ignore[no-untyped-call]
        if self.judges_later:
            self._losses.append(loss.detach().float())
        self._batches += 1
        self._samples += total

    def step(self) -> bool:
        """Close the window; return False when it is empty or the scaler skipped the step.

        Raises:
            NonFiniteError: The norm of the window's gradient is NaN or infinite; the weights are as they were.
        """
        if self._batches == 0:
            return False
        gradients = self._strategy.gradients(self.parameters)
        if self._scaled:
            self.accelerator.unscale_gradients(self._prepared)
        if gradients and self._samples not in (0.0, self._nominal):
            torch._foreach_mul_(gradients, self._nominal / self._samples)
        self._batches, self._samples = 0, 0.0
        norm = self._strategy.clip(self.parameters, gradients, self.clipping) if self.clipping else None
        losses, self._losses = self._losses, []
        if self._scaled:
            if not self._scaled_step(losses):
                return False
        else:
            if not self.finite.gradients(gradients, norm, losses):
                self.zero_grad()
                what = "the gradient norm" if norm is not None else "a gradient"
                raise self.non_finite(what, "NaN or infinite" if norm is None else str(norm.item()))
            (self._prepared if self._by_accelerate else self._inner).step()
            self.zero_grad()
        self.steps += 1
        return True

    def _scaled_step(self, losses: list[torch.Tensor]) -> bool:
        """Take a step of half precision; return False when gradients overflowed and the scale was lowered instead.

        Fused optimizers skip such a step themselves, unseen by Accelerate; that the scale fell is how all show it.

        Raises:
            NonFiniteError: The loss itself is not finite, or no scale is low enough.
        """
        scaler: Any = self.accelerator.scaler
        before = scaler.get_scale()
        self._prepared.step()
        self.zero_grad()
        scale = scaler.get_scale()
        if scale >= before:
            return True
        bad = [value for value in torch.stack(losses).tolist() if not math.isfinite(value)]
        if bad:
            raise self.non_finite("the loss", str(bad[0]))
        if scale < _LEAST_SCALE:
            raise self.non_finite("a gradient", "too large for fp16 at any scale")
        return False

    def zero_grad(self) -> None:
        """Let go of all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def non_finite(self, what: str, value: str, step: int | None = None) -> NonFiniteError:
        """Return the error that says what is not finite, in the next step or a given one."""
        number = self.steps + 1 if step is None else step
        problem = f"{what} became {value} in optimizer step {number}, and the weights were left as they were"
        return NonFiniteError(
            problem, next_step="lower the learning rate, set training.gradient_clipping, or check the data for NaN"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return how far the window is, as JSON-able data."""
        return {"batches": self._batches, "samples": self._samples, "nominal": self._nominal}

    def gradients(self) -> dict[str, torch.Tensor]:
        """Return what this process has accumulated in the window, as `grad.<index of the parameter>`."""
        kept: dict[str, torch.Tensor] = {}
        for index, parameter in enumerate(self.parameters if self.in_window else ()):
            gradient = parameter.grad
            if gradient is None:
                continue
            gradient = self._strategy.local(gradient)
            if gradient.is_sparse:  # not coalesced, which would change the order of later sums
                kept[f"grad.{index}.indices"] = gradient._indices().cpu().contiguous()  # noqa: SLF001
                kept[f"grad.{index}.values"] = gradient._values().cpu().contiguous()  # noqa: SLF001
            else:
                kept[f"grad.{index}"] = gradient.cpu().contiguous()
        return kept

    def load_state_dict(self, state: dict[str, Any], gradients: dict[str, torch.Tensor]) -> None:
        """Go on in a window that `state_dict` and `gradients` described."""
        self._batches, self._samples, self._nominal = state["batches"], state["samples"], state["nominal"]
        for name, gradient in gradients.items():
            _, index, *part = name.split(".")
            parameter = self.parameters[int(index)]
            if not part:
                # In memory as the parameter is: kernels walk both side by side.
                parameter.grad = torch.empty_like(parameter)
                self._strategy.local(parameter.grad).copy_(gradient)
            elif part == ["values"]:
                indices = gradients[f"grad.{index}.indices"]
                sparse = torch.sparse_coo_tensor(indices, gradient, parameter.shape, check_invariants=False)
                parameter.grad = sparse.to(parameter.device)
