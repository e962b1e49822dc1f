"""What each piece of Accelerate and PyTorch costs that a training step passes through.

    python parts.py

CPU microseconds per call, the least and the median of many repetitions.
"""

from __future__ import annotations

from time import process_time_ns
from typing import TYPE_CHECKING, Any

import jobs
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils.imports import is_lomo_available
from accelerate.utils.operations import convert_to_fp32, send_to_device
from measure import without_editable_installs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

torch.set_num_threads(1)

CALLS, REPETITIONS, PASSES = 100, 25, 9


def time_call(label: str, call: Callable[[], object]) -> None:
    """Print what a call costs."""
    call()
    times = []
    for _ in range(REPETITIONS):
        begin = process_time_ns()
        for _ in range(CALLS):
            call()
        times.append((process_time_ns() - begin) / CALLS / 1e3)
    _print(label, times)


def time_batch(label: str, batches: Callable[[], Iterable[object]]) -> None:
    """Print what a batch of a pass over a loader costs."""
    times = []
    for _ in range(PASSES):
        begin, count = process_time_ns(), 0
        for _ in batches():
            count += 1
        times.append((process_time_ns() - begin) / count / 1e3)
    _print(label, times)


def _print(label: str, times: list[float]) -> None:
    times.sort()
    print(f"| {label} | {times[0]:.1f} | {times[len(times) // 2]:.1f} |", flush=True)


def time_step(accelerator: Accelerator) -> None:
    job = jobs.make("tiny-pre", 0.02)
    prepared: Any = accelerator.prepare(job.model, job.optimizer(), job.loader)
    model, optimizer, loader = prepared
    inputs, targets = next(iter(job.loader))
    parameters = list(model.parameters())
    time_call("forward and loss", lambda: job.loss_fn(model(inputs), targets))
    time_call("forward, loss and backward", lambda: job.loss_fn(model(inputs), targets).backward())
    time_call("SGD.step", optimizer.optimizer.step)
    time_call("AcceleratedOptimizer.step", optimizer.step)
    time_call("- is_lomo_available, called twice in it", is_lomo_available)
    time_call("Optimizer.zero_grad", optimizer.optimizer.zero_grad)
    time_call("AcceleratedOptimizer.zero_grad", optimizer.zero_grad)
    time_call("parameter.grad = None for each", lambda: _drop_gradients(parameters))
    time_call("with accelerator.accumulate(model)", lambda: _accumulate(accelerator, model))
    state, iterator = accelerator.gradient_state, iter(loader)
    next(iterator)
    time_call("- the same within a prepared loader", lambda: _accumulate(accelerator, model))
    time_call("- GradientState.end_of_dataloader", lambda: state.end_of_dataloader)
    del iterator
    leaf = torch.tensor(1.0, requires_grad=True)
    time_call("(leaf * 1).backward()", lambda: torch.autograd.backward(leaf * 1))
    time_call("accelerator.backward(leaf * 1)", lambda: accelerator.backward(leaf * 1))
    job.loss_fn(model(inputs), targets).backward()
    time_call("clip_grad_norm_", lambda: torch.nn.utils.clip_grad_norm_(parameters, 1.0))
    time_call("accelerator.clip_grad_norm_", lambda: accelerator.clip_grad_norm_(model.parameters(), 1.0))
    loss, total = torch.tensor(1.0), torch.tensor(0.0)
    time_call("send_to_device(batch, cpu)", lambda: send_to_device((inputs, targets), accelerator.device))
    time_call("convert_to_fp32", lambda: convert_to_fp32(inputs))
    time_call("accelerator.gather(loss).mean().item()", lambda: accelerator.gather(loss).mean().item())
    time_call("loss.item()", loss.item)
    time_call("total.add_(loss)", lambda: total.add_(loss))


def time_loaders(accelerator: Accelerator) -> None:
    collated, shuffled = jobs.make("tiny-pre", 0.02).loader, jobs.make("tiny-dl", 0.02).loader
    assert isinstance(shuffled, torch.utils.data.DataLoader)
    for label, loader in (("collated batches", collated), ("a shuffled TensorDataset", shuffled)):
        prepared: Any = accelerator.prepare(loader)
        time_batch(f"DataLoader over {label}, a batch", lambda loader=loader: loader)  # type: ignore[misc]
        time_batch("- prepared by Accelerate", lambda prepared=prepared: prepared)  # type: ignore[misc]
    time_batch("- its order, by index_select", lambda: _by_index(shuffled))
    time_batch("- one permutation, split, by index_select", lambda: _by_permutation(shuffled))


def time_optimizers() -> None:
    for kind, options in (
        (torch.optim.AdamW, {}),
        (torch.optim.AdamW, {"foreach": True}),
        (torch.optim.AdamW, {"fused": True}),
        (torch.optim.SGD, {}),
        (torch.optim.SGD, {"foreach": True}),
        (torch.optim.SGD, {"fused": True}),
    ):
        model = jobs.make("tiny-pre", steps=40).model
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer: Any = kind(model.parameters(), lr=1e-4, **options)
        time_call(f"{kind.__name__}({options or ''}).step, 4 parameters", optimizer.step)


def time_autocast() -> None:
    inputs = torch.randn(jobs.TINY_BATCH, jobs.TINY_FEATURES)
    model = jobs.make("tiny-pre", steps=40).model
    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001 - what its own tests do
    GradientState._reset_state()  # noqa: SLF001
    prepared: Any = Accelerator(cpu=True, mixed_precision="bf16").prepare(jobs.make("tiny-pre", steps=40).model)
    time_call("bf16: autocast and forward", lambda: _autocast(model, inputs))
    time_call("bf16: forward as Accelerate prepares it", lambda: prepared(inputs))


def _drop_gradients(parameters: list[torch.nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None


def _accumulate(accelerator: Accelerator, model: torch.nn.Module) -> None:
    with accelerator.accumulate(model):
        pass


def _autocast(model: torch.nn.Module, inputs: torch.Tensor) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        model(inputs)


def _by_index(loader: Any) -> Iterator[jobs.Batch]:
    for indices in loader.batch_sampler:
        index = torch.tensor(indices)
        yield tuple(tensor.index_select(0, index) for tensor in loader.dataset.tensors)


def _by_permutation(loader: Any) -> Iterator[jobs.Batch]:
    for index in torch.randperm(len(loader.dataset)).split(loader.batch_size):
        yield tuple(tensor.index_select(0, index) for tensor in loader.dataset.tensors)


def main() -> None:
    print("| piece | µs, least | µs, median |\n| --- | ---: | ---: |")
    with without_editable_installs():
        accelerator = Accelerator(cpu=True)
        time_step(accelerator)
        time_loaders(accelerator)
        time_optimizers()
        time_autocast()


if __name__ == "__main__":
    main()
