"""The raw loop with what KladML means by a job: the reference for its weights.

Two things are seen to that the plain loop leaves to chance: the order of a shuffled `DataLoader` is the one of seed
0 and epoch 1, and the last, short accumulation window is divided by its own batches.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch
from jobs import DEVICE

if TYPE_CHECKING:
    from jobs import Job

LABEL, ORDER = "raw loop, KladML's order", 0.5
HIDDEN = True


def train(job: Job) -> None:
    from kladml.training.data.orders import order_seed

    model = job.model.to(DEVICE)
    optimizer = job.optimizer()
    model.train()
    torch.manual_seed(order_seed(0, 1))
    for index, (inputs, targets) in enumerate(job.batches()):
        begin = index - index % job.accum
        window = min(job.accum, job.steps - begin)
        with torch.autocast(DEVICE, torch.bfloat16) if job.bf16 else contextlib.nullcontext():
            loss = job.loss_fn(model(inputs), targets)
        (loss / window).backward()
        if index + 1 == begin + window:
            if job.clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), job.clip)
            optimizer.step()
            optimizer.zero_grad()
