"""`UniversalTrainer` of the older KladML on PyPI, 0.13.1, without callbacks.

Its import name is ours. So it is installed into a folder of its own, named by the environment variable
OLDER_KLADML, and takes the place of our package in this process while it trains. It cannot switch clipping off (0.0
would clip to a norm of 0), so every job runs with clipping.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

import torch
from jobs import DEVICE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from jobs import Batch, Job

LABEL, ORDER = "older KladML 0.13.1", 6

_loaded: dict[str, ModuleType] = {}


def missing() -> str | None:
    if DEVICE != "cpu":
        return "it is timed on the CPU alone"
    return None if os.environ.get("OLDER_KLADML") else "the variable OLDER_KLADML names no folder with kladml 0.13.1"


@contextlib.contextmanager
def _older_package() -> Iterator[None]:
    """Let `kladml` mean the older package meanwhile."""
    ours = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "kladml"}
    for name in ours:
        del sys.modules[name]
    sys.modules.update(_loaded)
    folder = os.environ["OLDER_KLADML"]
    sys.path.insert(0, folder)
    try:
        import kladml.training.trainer  # noqa: F401 - with all that it needs from the folder

        # Accelerate looks through all of sys.path in every step, which is not to be longer than for others.
        sys.path.remove(folder)
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
        for name in [name for name in sys.modules if name.split(".")[0] == "kladml"]:
            _loaded[name] = sys.modules.pop(name)
        sys.modules.update(ours)


def train(job: Job) -> None:
    with _older_package():
        from loguru import logger

        from kladml.training.trainer import UniversalTrainer

        class Module(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = job.model

            def forward(self, inputs: torch.Tensor) -> Any:
                return self.model(inputs)

            def training_step(self, batch: Batch, _: int) -> torch.Tensor:
                inputs, targets = batch
                return job.loss_fn(self(inputs), targets)

            def configure_optimizers(self) -> torch.optim.Optimizer:
                return job.optimizer()

        logger.remove()
        config: Any = {
            "max_epochs": 1,
            "accelerator": "cpu",
            "gradient_accumulation_steps": job.accum,
            "mixed_precision": "bf16" if job.bf16 else "no",
            "gradient_clipping": job.clip or 1.0,
        }
        UniversalTrainer(config=config).fit(Module(), job.loader)
