"""The jobs that every contestant trains, named `<size>-<data>[-accum][-clip][-bf16]`, such as `tiny-pre-accum-clip`.

size    `tiny`: a perceptron of 1,089 parameters, batches of 32 x 32, SGD;
        `mid`: a convolutional network of 55 thousand parameters, batches of 64 x 1 x 28 x 28, AdamW
data    `dl`: a `DataLoader` with shuffling over a `TensorDataset`; `pre`: a `DataLoader` over collated batches;
        `list`: a plain iterable of collated batches
accum   an optimizer step every 4 batches
clip    gradients clipped to a norm of 1
bf16    autocast to bfloat16

A contestant trains `job.model` for exactly one pass over `job.loader`. The time is taken inside the model's own
`forward`, so it is the same for every framework and covers all that happens between two forwards: data, transfer,
backward, clipping, optimizer, hooks, logging.

All of it is on the CPU, or on the device that the environment variable BENCH_DEVICE names: `cuda`. The batches of
`job.loader` are on the CPU in any case.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from time import perf_counter_ns, process_time_ns
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

Batch = tuple[torch.Tensor, torch.Tensor]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

DEVICE = os.environ.get("BENCH_DEVICE", "cpu")
if DEVICE != "cpu" and not (DEVICE == "cuda" and torch.cuda.is_available()):
    sys.exit(f"BENCH_DEVICE is {DEVICE}: it has to be cpu, or cuda where torch finds a CUDA device")

ACCUMULATION = 4
TINY_BATCH, TINY_FEATURES = 32, 32
MID_BATCH = 64
# As many different batches as stay in the caches.
DIFFERENT_BATCHES = 512


class ClockedModel(nn.Module):
    """A network that notes the time at every `block`-th forward, and that brings its optimizer.

    Args:
        net: The network.
        block: Forwards between two marks.
        optimizer: Class of the optimizer.
        lr: Learning rate.

    Attributes:
        n: Forwards so far.
        marks: Wall and CPU time in nanoseconds at each mark.
        optimizer_options: Further arguments of the optimizer.
    """

    def __init__(self, net: nn.Module, block: int, optimizer: type[torch.optim.Optimizer], lr: float) -> None:
        super().__init__()
        self.net, self.block = net, block
        self.n = 0
        self.marks: list[tuple[int, int]] = []
        self.optimizer_class = optimizer
        self.optimizer_options: dict[str, Any] = {"lr": lr}

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        n = self.n
        if n % self.block == 0:
            if inputs.is_cuda:  # which works on behind the host's back
                torch.cuda.synchronize()
            self.marks.append((perf_counter_ns(), process_time_ns()))
        self.n = n + 1
        return self.net(inputs)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer_class(self.parameters(), **self.optimizer_options)


class Batches:
    """Collated batches as a plain iterable, without a `DataLoader`."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)


class BatchDataset(Dataset[Batch]):
    """Collated batches for a `DataLoader` with `batch_size=None`."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        return self.batches[index]


@dataclass
class Job:
    """What a contestant has to do."""

    name: str
    model: ClockedModel
    loader: Iterable[Batch]
    loss_fn: Loss
    steps: int
    accum: int = 1
    clip: float = 0.0
    bf16: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

    def batches(self) -> Iterable[Batch]:
        """Return what `loader` gives, where the job is trained: on a CPU the loader itself."""
        if DEVICE == "cpu":
            return self.loader
        there = {"device": DEVICE, "non_blocking": True}
        return ((inputs.to(**there), targets.to(**there)) for inputs, targets in self.loader)

    def optimizer(self) -> torch.optim.Optimizer:
        return self.model.configure_optimizers()

    def fuse_optimizer(self) -> None:
        """Choose the optimizer's fused kernel: the same algorithm in one call."""
        self.model.optimizer_options["fused"] = True


def device_name() -> str:
    """Return the name of the device that jobs are trained on."""
    return "CPU" if DEVICE == "cpu" else torch.cuda.get_device_name()


def make(name: str, scale: float = 1.0, *, steps: int | None = None) -> Job:
    """Return a new job, the same weights and data every time.

    Args:
        name: What is trained, see above.
        scale: Share of the full number of batches, which is 20,000 for tiny jobs and 150, at least 30, for mid ones.
        steps: The number of batches itself.
    """
    size, data, *options = name.split("-")
    job = _tiny(data, scale, steps) if size == "tiny" else _mid(scale, steps)
    job.name = name
    job.accum = ACCUMULATION if "accum" in options else 1
    job.model.block += -job.model.block % job.accum  # whole windows, so that blocks are alike
    job.clip = 1.0 if "clip" in options else 0.0
    job.bf16 = "bf16" in options
    return job


def _tiny(data: str, scale: float, steps: int | None) -> Job:
    steps = steps or int(20000 * scale)
    torch.manual_seed(0)
    samples = DIFFERENT_BATCHES * TINY_BATCH
    inputs, targets = torch.randn(samples, TINY_FEATURES), torch.randn(samples, 1)
    loader: Iterable[Batch]
    if data == "dl":
        repeats = -(-steps // DIFFERENT_BATCHES)
        kept = steps * TINY_BATCH
        dataset = TensorDataset(inputs.repeat(repeats, 1)[:kept], targets.repeat(repeats, 1)[:kept])
        loader = DataLoader(dataset, batch_size=TINY_BATCH, shuffle=True)
    else:
        different = list(zip(inputs.split(TINY_BATCH), targets.split(TINY_BATCH), strict=True))
        batches = [different[index % DIFFERENT_BATCHES] for index in range(steps)]
        loader = Batches(batches) if data == "list" else DataLoader(BatchDataset(batches), batch_size=None)
    net = nn.Sequential(nn.Linear(TINY_FEATURES, 32), nn.ReLU(), nn.Linear(32, 1))
    model = ClockedModel(net, max(1, steps // 40), torch.optim.SGD, lr=1e-3)
    return Job("", model, loader, nn.functional.mse_loss, steps)


def _mid(scale: float, steps: int | None) -> Job:
    steps = steps or max(30, int(150 * scale))
    torch.manual_seed(0)
    inputs, targets = torch.rand(steps * MID_BATCH, 1, 28, 28), torch.randint(0, 10, (steps * MID_BATCH,))
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=MID_BATCH, shuffle=True)
    net = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 7 * 7, 32), nn.ReLU(), nn.Linear(32, 10)),
    )
    model = ClockedModel(net, max(1, steps // 30), torch.optim.AdamW, lr=1e-3)
    return Job("", model, loader, nn.functional.cross_entropy, steps)
