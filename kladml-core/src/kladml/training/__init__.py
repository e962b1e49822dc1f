"""Training on Hugging Face Accelerate. torch is imported at the first use of the trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kladml.training.callbacks import FitInfo, FitResult, TrainerCallback

if TYPE_CHECKING:
    from kladml.training.data.orders import order_seed
    from kladml.training.trainer import UniversalTrainer

__all__ = ["FitInfo", "FitResult", "TrainerCallback", "UniversalTrainer", "order_seed"]


def __getattr__(name: str) -> Any:
    if name == "UniversalTrainer":
        from kladml.training.trainer import UniversalTrainer

        return UniversalTrainer
    if name == "order_seed":
        from kladml.training.data.orders import order_seed

        return order_seed
    message = f"module 'kladml.training' has no attribute '{name}'"
    raise AttributeError(message)
