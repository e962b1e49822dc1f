"""Keeping NaN and infinity out of the weights, at once where reading a value is cheap and on the device where not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kladml.training.ranks import Ranks

_FUSED_ON = ("cuda",)
"""Devices where reading a value waits for the queue of kernels, and whose fused optimizers take a flag instead."""


class Check(Protocol):
    """Something that keeps values which are not finite out of the weights.

    Attributes:
        judges_later: Whether it says later what it found, of losses as well.
    """

    judges_later: bool

    def gradients(self, gradients: list[torch.Tensor], norm: torch.Tensor | None, losses: list[torch.Tensor]) -> bool:
        """Tell whether gradients are finite, as far as that is said at once.

        Args:
            gradients: The gradients.
            norm: Their norm, if somebody computed it already.
            losses: The window's losses, as far as nobody has judged them.
        """

    def first_bad_step(self) -> int | None:
        """Return which of the steps since the beginning was not finite, from 1; None if none was, or it was said."""


class FiniteCheck:
    """Looks at each gradient before it is used.

    Args:
        parameters: The parameters.
    """

    judges_later = False

    def __init__(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        kinds = {(parameter.dtype, parameter.device) for parameter in parameters}
        self._alike = len(kinds) == 1 and next(iter(kinds))[1].type == "cpu"
        self._found = torch.zeros(1, dtype=torch.float32)
        self._found_value = self._found.numpy()  # shares the memory: reading it calls no operator
        self._one = torch.ones(1, dtype=torch.float32)

    def gradients(self, gradients: list[torch.Tensor], norm: torch.Tensor | None, losses: list[torch.Tensor]) -> bool:
        """Tell whether all gradients are finite."""
        del losses
        if norm is not None:
            return bool(torch.isfinite(norm)) if norm.device.type != "cpu" else math.isfinite(norm.item())
        if self._alike:
            try:
                torch._amp_foreach_non_finite_check_and_unscale_(gradients, self._found, self._one)
            except NotImplementedError:  # sparse ones
                self._alike = False
            else:
                return not self._found_value[0] or self._reset()
        dense = [gradient.coalesce().values() if gradient.is_sparse else gradient for gradient in gradients]
        return bool(torch.isfinite(torch.nn.utils.get_total_norm(dense)))

    def _reset(self) -> bool:
        self._found.zero_()
        return False

    def first_bad_step(self) -> int | None:
        """Return None: what is not finite was said at once."""
        return None


class ShardedFiniteCheck:
    """Looks at each process's part of the gradients before it is used, and tells the others.

    Args:
        parameters: The parameters.
        ranks: The processes.
    """

    judges_later = False

    def __init__(self, parameters: Iterable[torch.nn.Parameter], ranks: Ranks) -> None:
        self._own, self._ranks = FiniteCheck(parameters), ranks

    def gradients(self, gradients: list[torch.Tensor], norm: torch.Tensor | None, losses: list[torch.Tensor]) -> bool:
        """Tell whether all parts of all gradients are finite; `norm` is that of the whole, if somebody computed it."""
        is_finite = not gradients or self._own.gradients(gradients, norm, losses)
        return is_finite if norm is not None else self._ranks.add([float(not is_finite)]) == [0.0]

    def first_bad_step(self) -> int | None:
        """Return None: what is not finite was said at once."""
        return None


class LazyFiniteCheck:
    """Keeps a flag on the device, which fused optimizers obey: once it is set, they leave the weights alone.

    Nothing waits for the device until the flag is read, and steps after a bad one change nothing, so that the
    weights are those before it whenever the flag is read.

    Args:
        optimizer: A fused optimizer.
        device: Where the flag is.
    """

    judges_later = True

    def __init__(self, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        self._found = torch.zeros((), dtype=torch.float32, device=device)  # of the shape that optimizers expect
        self._one = torch.ones((), dtype=torch.float32, device=device)
        self._good = torch.zeros((), dtype=torch.float64, device=device)
        fused: Any = optimizer
        fused.grad_scale, fused.found_inf = None, self._found

    @classmethod
    def where_possible(
        cls, optimizer: torch.optim.Optimizer, parameters: list[torch.nn.Parameter], device: torch.device
    ) -> LazyFiniteCheck | None:
        """Return a check for an optimizer, or None where it cannot obey a flag or reading one costs nothing."""
        is_fused = all(group.get("fused") for group in optimizer.param_groups)
        takes_flag = is_fused and getattr(optimizer, "_step_supports_amp_scaling", False)
        alike = len({(parameter.dtype, parameter.device) for parameter in parameters}) == 1
        return cls(optimizer, device) if device.type in _FUSED_ON and takes_flag and alike else None

    def gradients(self, gradients: list[torch.Tensor], norm: torch.Tensor | None, losses: list[torch.Tensor]) -> bool:
        """Set the flag if a gradient or a loss of the window is not finite; always return True."""
        judged = losses if norm is None else [*losses, norm]
        torch._amp_foreach_non_finite_check_and_unscale_(gradients, self._found, self._one)
        torch._amp_foreach_non_finite_check_and_unscale_(judged, self._found, self._one)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(self._found, op=torch.distributed.ReduceOp.MAX)
        self._good += 1 - self._found
        return True

    def first_bad_step(self) -> int | None:
        """Return which of the steps since the beginning was not finite, from 1, or None; this waits for the device."""
        found, good = torch.stack((self._found.double(), self._good)).tolist()
        return int(good) + 1 if found else None
