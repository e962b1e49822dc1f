"""KladML's `UniversalTrainer` with the job's own optimizer: the module brings it, the loss is an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import DEVICE

import contestants

if TYPE_CHECKING:
    from jobs import Job

LABEL, ORDER = "KladML", 7
REFERENCE = "raw_same_order"


def missing() -> str | None:
    return contestants.is_installed("kladml")


def train(job: Job) -> None:
    from kladml.config.schema import TrainingConfig
    from kladml.training import UniversalTrainer

    config = TrainingConfig(
        max_epochs=1,
        device=DEVICE,
        mixed_precision="bf16" if job.bf16 else "no",
        gradient_accumulation_steps=job.accum,
        gradient_clipping=job.clip,
    )
    UniversalTrainer(config).fit(job.model, job.loader, loss=job.loss_fn)
