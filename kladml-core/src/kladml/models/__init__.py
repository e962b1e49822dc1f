"""Models: the contract, and the adapters that make other classes keep it."""

from kladml.models.base import BaseModel
from kladml.models.context import RunContext
from kladml.models.contract import build_model, call_evaluate, call_train, check_model_class, is_torch_module
from kladml.models.tasks import MLTask

__all__ = [
    "BaseModel",
    "MLTask",
    "RunContext",
    "build_model",
    "call_evaluate",
    "call_train",
    "check_model_class",
    "is_torch_module",
]
