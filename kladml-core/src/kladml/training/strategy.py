"""What each process of a training holds of the model, and all that follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    import torch
    from accelerate import Accelerator
    from torch import nn

    from kladml.config.schema import TrainingConfig
    from kladml.errors import TrainingError
    from kladml.training.finite import Check
    from kladml.training.objective import StepModule
    from kladml.training.ranks import Ranks


class Strategy(Protocol):
    """A way to train one model in several processes, or in a single one.

    But for `local`, `gradients`, `finite_check` and `explain`, all processes call each method.

    Attributes:
        infers: Whether validation may run in torch's inference mode.
    """

    infers: bool

    def prepare(self, step_module: StepModule, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
        """Let Accelerate prepare a module, and the optimizer that was built from its parameters.

        Raises:
            ModelContractError: The optimizer does not fit.
        """

    def context(self, module: Any, *, opens: bool, closes: bool) -> AbstractContextManager[Any]:
        """Return what a batch's forward and backward pass run in.

        Args:
            module: The prepared module.
            opens: Whether the batch is the first of its accumulation window.
            closes: Whether it is the last.
        """

    def gradients(self, parameters: Sequence[nn.Parameter]) -> list[torch.Tensor]:
        """Return what this process holds of the gradients that there are."""

    def local(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return what this process holds of a tensor, in the same memory."""

    def clip(self, parameters: Sequence[nn.Parameter], gradients: list[torch.Tensor], largest: float) -> torch.Tensor:
        """Scale gradients so that the norm of all of them together is at most `largest`; return that norm."""

    def finite_check(
        self, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], device: torch.device, *, scaled: bool
    ) -> Check:
        """Return what looks at gradients before they are used.

        Args:
            optimizer: The optimizer.
            parameters: The parameters.
            device: Where they are.
            scaled: Whether a scaler of losses has a flag of its own.
        """

    def prove(self, optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter]) -> None:
        """Check after the first step that all processes train the same model.

        Raises:
            TrainingError: One does not.
        """

    def validating(self) -> AbstractContextManager[Any]:
        """Return what a validation runs in."""

    def weights(self, module: nn.Module) -> dict[str, Any]:
        """Return a module's whole state dict; the main process's is complete."""

    def whole(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return whole tensors; the main process's are complete."""

    def load(self, module: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
        """Load a whole state dict into a module.

        Raises:
            RuntimeError: It is another module's.
        """

    def optimizer_state(self, state: dict[str, Any], parameters: Sequence[nn.Parameter]) -> dict[str, Any]:
        """Return what this process holds of an optimizer's whole state dict."""

    def note_used(self, parameters: Iterable[nn.Parameter]) -> None:
        """Take note that parameters were used earlier in an accumulation window that goes on."""

    def join(self) -> None:
        """Leave every process with the whole module, as the user gave it."""

    def explain(self, error: BaseException) -> TrainingError | None:
        """Return an error that says what the strategy has to do with another one, or None."""


def make_strategy(step_module: StepModule, config: TrainingConfig, ranks: Ranks, accelerator: Accelerator) -> Strategy:
    """Return the configured strategy for a module, of which an optimizer is built afterwards.

    Raises:
        TrainingError: There are too few processes, or the device cannot do it.
        ModelContractError: The module cannot be shared out.
    """
    if config.strategy == "fsdp":
        from kladml.training.sharding import Sharding  # takes a second to import, and few need it

        return Sharding(step_module, config, ranks, accelerator)
    from kladml.training.data_parallel import DataParallel

    return DataParallel(ranks, accelerator)
