"""The loop of Accelerate's documentation: prepare, accumulate, backward."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs import DEVICE

import contestants

if TYPE_CHECKING:
    from accelerate import Accelerator
    from jobs import Job

LABEL, ORDER = "Accelerate (documented loop)", 1


def missing() -> str | None:
    return contestants.is_installed("accelerate")


def make_accelerator(job: Job) -> Accelerator:
    from accelerate import Accelerator

    precision = "bf16" if job.bf16 else "no"
    return Accelerator(cpu=DEVICE == "cpu", gradient_accumulation_steps=job.accum, mixed_precision=precision)


def train(job: Job) -> None:
    accelerator = make_accelerator(job)
    prepared: Any = accelerator.prepare(job.model, job.optimizer(), job.loader)
    model, optimizer, loader = prepared
    model.train()
    for inputs, targets in loader:
        with accelerator.accumulate(model):
            loss = job.loss_fn(model(inputs), targets)
            accelerator.backward(loss)
            if job.clip and accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), job.clip)
            optimizer.step()
            optimizer.zero_grad()
