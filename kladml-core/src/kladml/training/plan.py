"""The step plan: what happens after each backward pass, decided once before the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from kladml.errors import NonFiniteError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from accelerate import Accelerator


class StepPlan:
    """Accumulates gradients over windows of batches, weighted by samples, and takes optimizer steps.

    A window's gradient is the mean over its samples, however its batches are cut: each batch's loss (a mean)
    is divided by `nominal / size`, which is exactly the number of accumulation steps for full batches, and a
    window that held fewer samples than the nominal number is corrected once, before clipping.

    Args:
        accelerator: The accelerator that prepared the optimizer.
        optimizer: The prepared optimizer.
        parameters: The parameters whose gradients are used.
        accumulation: Batches per window.
        clipping: Largest norm of all gradients together; None or 0 for no clipping.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        optimizer: Any,
        parameters: Iterable[torch.nn.Parameter],
        *,
        accumulation: int,
        clipping: float | None,
    ) -> None:
        self.accelerator = accelerator
        self.optimizer = optimizer
        self.parameters = list(parameters)
        self.accumulation = accumulation
        self.clipping = clipping or None
        self.steps = 0
        self._batches = 0
        self._samples = 0
        self._nominal = 0

    def accumulate(self, loss: torch.Tensor, size: int) -> bool:
        """Add a batch's gradient to the window; return whether an optimizer step was due and was taken.

        Args:
            loss: Mean loss over the batch.
            size: Samples in the batch.

        Raises:
            NonFiniteError: The loss, or the norm of the window's gradient, is NaN or infinite; the weights
                are as they were.
        """
        if not torch.isfinite(loss):
            self._raise_non_finite("the loss", loss.item())
        if self._batches == 0:
            self._nominal = size * self.accumulation
        self.accelerator.backward(loss / (self._nominal / size))
        self._batches += 1
        self._samples += size
        return self._batches == self.accumulation and self.step()

    def step(self) -> bool:
        """Close the window; return False when it is empty or the scaler skipped the step."""
        if self._batches == 0:
            return False
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        self.accelerator.unscale_gradients(self.optimizer)
        if gradients and self._samples != self._nominal:
            torch._foreach_mul_(gradients, self._nominal / self._samples)
        self._batches = self._samples = 0
        norm = torch.nn.utils.get_total_norm([g.coalesce().values() if g.is_sparse else g for g in gradients])
        if self.accelerator.scaler is None and not torch.isfinite(norm):
            self.optimizer.zero_grad()
            self._raise_non_finite("the gradient norm", norm.item())
        if self.clipping:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.clipping, norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.optimizer.step_was_skipped:
            return False
        self.steps += 1
        return True

    def _raise_non_finite(self, what: str, value: float) -> None:
        problem = f"{what} became {value} in optimizer step {self.steps + 1}, and the weights were left as they were"
        raise NonFiniteError(
            problem, next_step="lower the learning rate, set training.gradient_clipping, or check the data for NaN"
        )
