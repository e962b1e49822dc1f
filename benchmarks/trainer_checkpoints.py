"""How long a training waits for a checkpoint, beside other ways to save the same state.

    python benchmarks/trainer_checkpoints.py [ROUNDS] [FOLDER]

The state is a model of 25 linear layers (100 MB) and its AdamW state (200 MB). The contestants save in turn, so that
a busy machine slows all of them; the first round is warm-up. "waits" is the time until training can go on, "done"
the time until the checkpoint is complete: for ours hashed, on the disk and verifiable, for the others in the system's
cache. "steps" are a small network's training steps per second while the rest is written. The exit status is 1 if
`save_later` blocks for more than 1.3 times as long as copying the state into memory that is kept.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed.checkpoint as dcp
from accelerate import Accelerator
from safetensors.torch import save_file

from kladml.training.checkpointing.store import Checkpoint, CheckpointStore, optimizer_content

if TYPE_CHECKING:
    from collections.abc import Callable

BUDGET = 1.3
OURS, MEMCPY = "kladml save_later", "copy into kept memory"


class Contestants:
    """The ways to save, each a function of a path that returns what waits for the checkpoint's end, if anything."""

    def __init__(self, root: Path) -> None:
        self.accelerator = Accelerator(cpu=True)
        module = torch.nn.Sequential(*[torch.nn.Linear(1000, 1000, bias=False) for _ in range(25)])
        self.module, self.optimizer = self.accelerator.prepare(module, torch.optim.AdamW(module.parameters(), lr=1e-4))
        self.module(torch.randn(1, 1000)).sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.kept: dict[str, torch.Tensor] = {}
        self.store = CheckpointStore(root / "kladml", keep_last=1)
        self.steps = 0

    def all(self) -> dict[str, Callable[[Path], Callable[[], Any] | None]]:
        return {
            "torch.save": lambda path: torch.save(self.everything(), path),
            "safetensors save_file": lambda path: save_file(self.tensors(), path),
            "accelerate save_state": lambda path: self.accelerator.save_state(str(path)) and None,
            "torch dcp.save": lambda path: dcp.save(self.everything(), checkpoint_id=path) and None,
            "torch dcp.async_save": lambda path: dcp.async_save(self.everything(), checkpoint_id=path).result,
            "kladml save": self.save,
            OURS: self.save_later,
            MEMCPY: self.copy,
        }

    def everything(self) -> dict[str, Any]:
        return {"model": self.module.state_dict(), "optimizer": self.optimizer.optimizer.state_dict()}

    def checkpoint(self) -> Checkpoint:
        tensors, rest = optimizer_content(self.optimizer.optimizer.state_dict())
        return Checkpoint(self.module.state_dict(), tensors, {"optimizer": rest, "step": self.steps})

    def tensors(self) -> dict[str, torch.Tensor]:
        found = self.checkpoint()
        return {
            f"{part}.{name}": tensor for part in ("model", "optimizer") for name, tensor in getattr(found, part).items()
        }

    def save(self, _: Path) -> None:
        self.steps += 1
        self.store.save(self.checkpoint(), self.steps)

    def save_later(self, _: Path) -> Callable[[], Any]:
        self.steps += 1
        self.store.save_later(self.checkpoint(), self.steps)
        return self.store.wait

    def copy(self, _: Path) -> None:
        for name, tensor in self.tensors().items():
            if name in self.kept:
                self.kept[name].copy_(tensor)
            else:
                self.kept[name] = tensor.clone()


class SmallTraining:
    """A training of a small network, which a thread beside it disturbs."""

    def __init__(self) -> None:
        self.module = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh(), torch.nn.Linear(64, 1))
        self.optimizer = torch.optim.SGD(self.module.parameters(), lr=1e-3)
        self.inputs = torch.randn(32, 64)

    def steps_per_second(self, done: Callable[[], bool]) -> float:
        steps, begin = 0, time.perf_counter()
        while not done():
            self.optimizer.zero_grad()
            self.module(self.inputs).square().mean().backward()
            self.optimizer.step()
            steps += 1
        return steps / (time.perf_counter() - begin)


def timed(
    save: Callable[[Path], Callable[[], Any] | None], path: Path, training: SmallTraining
) -> tuple[float, float, float, float]:
    """Return seconds until training can go on, and until the checkpoint is complete, CPU seconds, steps per second."""
    begin, cpu = time.perf_counter(), time.process_time()
    wait = save(path)
    blocked = time.perf_counter() - begin
    if wait is not None:
        wait()
    done, used = time.perf_counter() - begin, time.process_time() - cpu
    if wait is None:
        return blocked, done, used, 0.0
    waiter = threading.Thread(target=save(path))
    waiter.start()
    return blocked, done, used, training.steps_per_second(lambda: not waiter.is_alive())


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as folder:
        contestants, training, path = Contestants(Path(folder)), SmallTraining(), Path(folder, "other")
        times: dict[str, list[tuple[float, ...]]] = {name: [] for name in contestants.all()}
        alone = []
        for number in range(rounds + 1):
            end = time.perf_counter() + 0.5
            alone.append(training.steps_per_second(lambda end=end: time.perf_counter() > end))
            for name, save in contestants.all().items():
                result = timed(save, path, training)
                times[name] += [result] if number else []
                if path.is_dir():
                    shutil.rmtree(path)
                path.unlink(missing_ok=True)
        if contestants.store.failures:
            raise contestants.store.failures[0]
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in times.items()}
    print(f"| 300 MB, medians of {rounds} | waits s | least | waits / copy | done s | CPU s | steps |")
    print("|---|---|---|---|---|---|---|")
    for name, (blocked, done, cpu, steps) in medians.items():
        least, ratio = min(row[0] for row in times[name]), blocked / medians[MEMCPY][0]
        beside = f"{steps:.0f}" if steps else ""
        print(f"| {name} | {blocked:.3f} | {least:.3f} | {ratio:.2f} | {done:.2f} | {cpu:.2f} | {beside} |")
    print(f"| no checkpoint | | | | | | {statistics.median(alone[1:]):.0f} |")
    return int(medians[OURS][0] > BUDGET * medians[MEMCPY][0])


if __name__ == "__main__":
    sys.exit(main())
