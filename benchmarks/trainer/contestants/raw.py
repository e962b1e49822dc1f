"""A hand-written PyTorch loop: the baseline."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch
from jobs import DEVICE

if TYPE_CHECKING:
    from jobs import Job

LABEL, ORDER = "raw PyTorch loop", 0


def train(job: Job) -> None:
    model = job.model.to(DEVICE)
    optimizer = job.optimizer()
    parameters = list(model.parameters())
    model.train()
    if job.accum == 1 and not job.clip and not job.bf16:
        for inputs, targets in job.batches():
            job.loss_fn(model(inputs), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
        return
    for index, (inputs, targets) in enumerate(job.batches()):
        with torch.autocast(DEVICE, torch.bfloat16) if job.bf16 else contextlib.nullcontext():
            loss = job.loss_fn(model(inputs), targets)
        if job.accum > 1:
            loss = loss / job.accum
        loss.backward()
        if (index + 1) % job.accum == 0 or index == job.steps - 1:
            if job.clip:
                torch.nn.utils.clip_grad_norm_(parameters, job.clip)
            optimizer.step()
            optimizer.zero_grad()
