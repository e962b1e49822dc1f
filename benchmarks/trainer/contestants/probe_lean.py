"""A probe, no product: Accelerate's state and `prepare`, with the step decided once, before the loop.

It knows the plain case alone (one process, no scaler, an optimizer of torch) and shows what is within reach there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

import contestants
from contestants.accelerate_loop import make_accelerator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from accelerate.state import GradientState
    from jobs import Batch, Job

LABEL, ORDER = "probe: lean step on Accelerate", 2


def missing() -> str | None:
    return contestants.is_installed("accelerate")


def train(job: Job, loader_plan: Callable[[Job, Any], Iterable[Batch]] | None = None) -> None:
    from accelerate.utils import DistributedType

    accelerator = make_accelerator(job)
    prepared: Any = accelerator.prepare(job.model, job.optimizer(), job.loader)
    model, optimizer, loader = prepared
    if loader_plan is not None:
        loader = loader_plan(job, loader)
    model.train()
    is_plain = (
        accelerator.distributed_type == DistributedType.NO
        and accelerator.scaler is None
        and type(optimizer.optimizer).__module__.startswith("torch.optim")
    )
    assert is_plain, "the probe knows the plain case alone"
    inner = optimizer.optimizer
    if job.accum == 1:
        accelerator.gradient_state._set_sync_gradients(True)  # noqa: FBT003, SLF001 - constant for the whole run
        _every_batch(job, model, inner, loader)
    else:
        _windows(job, model, inner, loader, accelerator.gradient_state)


def _every_batch(job: Job, model: Any, optimizer: Any, loader: Iterable[Batch]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    loss_fn, clip, step, clip_norm = job.loss_fn, job.clip, optimizer.step, torch.nn.utils.clip_grad_norm_
    for inputs, targets in loader:
        loss_fn(model(inputs), targets).backward()
        if clip:
            clip_norm(parameters, clip)
        step()
        for parameter in parameters:
            parameter.grad = None


def _windows(job: Job, model: Any, optimizer: Any, loader: Iterable[Batch], state: GradientState) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    loss_fn, accum, clip, last = job.loss_fn, job.accum, job.clip, job.steps - 1
    in_window = 0
    for index, (inputs, targets) in enumerate(loader):
        in_window += 1
        is_due = in_window == accum or index == last
        if is_due != state.sync_gradients:
            state._set_sync_gradients(is_due)  # noqa: SLF001 - what Accelerate's own `accumulate` does
        (loss_fn(model(inputs), targets) / accum).backward()
        if is_due:
            in_window = 0
            if clip:
                torch.nn.utils.clip_grad_norm_(parameters, clip)
            optimizer.step()
            for parameter in parameters:
                parameter.grad = None
