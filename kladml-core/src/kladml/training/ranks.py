"""The processes of one training, and the few things that they tell one another besides gradients."""

from __future__ import annotations

import atexit
import json
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from kladml.errors import PeerLostError, TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from kladml.config.schema import TrainingConfig


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together.

    What they exchange is JSON, numbers and bytes on the CPU, never pickled objects. Each method but the
    properties is collective: all ranks call it in the same order.

    Attributes:
        rank: Number of this process, from 0.
        world: How many processes there are.
        group: Process group for CPU tensors; None is torch's default one.
    """

    rank: int = 0
    world: int = 1
    group: Any = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that talks to trackers, publishers, storages and people."""
        return self.rank == 0

    def broadcast(self, value: Any) -> Any:
        """Return the main process's value, which is JSON-able, on every rank."""
        if self.world == 1:
            return value
        data = json.dumps(value).encode() if self.is_main else b""
        return json.loads(self._broadcast_bytes(data))

    def gather(self, data: bytes) -> list[bytes]:
        """Return every rank's data by rank, on every rank."""
        if self.world == 1:
            return [data]
        sizes = self.add([len(data) if rank == self.rank else 0 for rank in range(self.world)])
        most = int(max(sizes))
        padded = torch.zeros(most, dtype=torch.uint8)
        if data:
            padded[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        parts = [torch.empty(most, dtype=torch.uint8) for _ in range(self.world)]
        self._call(lambda: dist.all_gather(parts, padded, group=self.group))
        return [part.numpy()[: int(size)].tobytes() for part, size in zip(parts, sizes, strict=True)]

    def add(self, numbers: Sequence[float]) -> list[float]:
        """Return the sums of the ranks' numbers, elementwise, in 64 bits."""
        if self.world == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64)
        self._call(lambda: dist.all_reduce(total, group=self.group))
        values: list[float] = total.tolist()
        return values

    def agree(self, facts: Mapping[str, Any]) -> None:
        """Check that JSON-able facts are the same for all processes.

        Raises:
            TrainingError: One differs; raised on all of them, it names rank, fact and both values.
        """
        if self.world == 1:
            return
        first, *others = (json.loads(data) for data in self.gather(json.dumps(facts, default=str).encode()))
        for rank, theirs in enumerate(others, start=1):
            for name in first:
                if theirs.get(name) != first[name]:
                    problem = f"rank {rank} has {theirs.get(name)!r} as {name}, and rank 0 has {first[name]!r}"
                    hint = "give every process the same configuration and data: the trainer shares out the batches"
                    raise TrainingError(problem, next_step=hint)

    def share(self, tensors: Iterable[torch.Tensor]) -> None:
        """Overwrite tensors with the main process's, in place."""
        if self.world > 1:
            for tensor in tensors:
                group = self.group if tensor.device.type == "cpu" else None
                self._call(lambda tensor=tensor, group=group: dist.broadcast(tensor.data, src=0, group=group))  # type: ignore[misc]

    def _broadcast_bytes(self, data: bytes) -> bytes:
        size = int(self.add([len(data)])[0])  # all but the main process have none
        content = torch.zeros(size, dtype=torch.uint8)
        if self.is_main and size:
            content[:] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        self._call(lambda: dist.broadcast(content, src=0, group=self.group))
        return content.numpy().tobytes()

    @staticmethod
    def _call(collective: Callable[[], Any]) -> None:
        with peers_watched():
            collective()


class peers_watched:  # noqa: N801 - used as a function
    """Turn the error of a collective whose other side is gone, or silent, into `PeerLostError`."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Translate."""
        if isinstance(error, RuntimeError) and is_peer_lost(error):
            problem = "another process of the training ended or no longer answers"
            raise PeerLostError(problem, next_step="see that process's error") from error


_SUPERVISED_SECONDS = 1800.0

_PEER_LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Connection refused",
    "Broken pipe",
    "Timed out waiting",
    "Socket Timeout",
    "failed to connect",
    "connectFullMesh failed",
    "gloo/transport",
)


def is_peer_lost(error: BaseException) -> bool:
    """Tell whether an error of torch means that another process is gone or silent."""
    if isinstance(error, dist.DistError):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    # An error of the user's own code may say the same, but is not raised inside torch.
    in_torch = trace is not None and str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0] == "torch"
    return in_torch and any(text in str(error) for text in _PEER_LOST)


def started_ranks() -> int:
    """Return how many processes the launcher that started this one says there are; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join(config: TrainingConfig) -> Ranks:
    """Join the other processes that a launcher started beside this one, through Accelerate; one process if none did.

    A process that has joined stays so until `leave`, which its end calls; joining again returns the same ranks.

    Args:
        config: How many processes are wanted, on which device, and how long they wait for one another.

    Raises:
        TrainingError: There are not as many processes as the configuration asks for.
        PeerLostError: The others did not come, or went.
    """
    world, wanted = started_ranks(), config.num_processes
    if world == 1:
        if config.distributed and wanted != 1:
            asked = "several processes" if wanted is None else f"{wanted} processes"
            problem = f"training.distributed asks for {asked}, and this is a single one that no launcher started"
            count = wanted or "N"
            raise TrainingError(
                problem,
                next_step=f"use 'kladml train --distributed --num-processes {count}', "
                f"or start your script with 'torchrun --nproc-per-node {count} script.py'",
            )
        if (wanted or 1) > 1:
            problem = f"training.num_processes is {wanted}, and training.distributed is false"
            raise TrainingError(problem, next_step="set training.distributed to true, or num_processes to 1")
        return Ranks()
    if wanted is not None and wanted != world:
        problem = f"training.num_processes is {wanted}, and the launcher started {world} processes"
        raise TrainingError(problem, next_step="make both the same")
    if not dist.is_initialized():
        from accelerate.state import PartialState

        from kladml.training.accelerator import check_device, fresh_state

        on_cpu = check_device(config) == "cpu"
        with fresh_state(), peers_watched():
            PartialState(cpu=on_cpu, timeout=_patience(config))
        # Threads of gloo that still hold tensors abort an interpreter which ends (pytorch/pytorch#179291).
        atexit.register(leave)
    joined = dist.get_world_size()
    if joined != world:
        problem = f"{joined} processes joined the training where the launcher started {world}"
        raise TrainingError(problem, next_step="see that every process reaches the same training")
    return Ranks(dist.get_rank(), world, _cpu_group(_patience(config)))


def leave() -> None:
    """Leave the other processes, at the end of the program; nothing happens where there are none."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _patience(config: TrainingConfig) -> timedelta:
    """Return how long collectives wait: longer than a supervisor, which knows who is late and says so first."""
    supervised = "KLADML_RANK_REPORTS" in os.environ
    return timedelta(seconds=max(config.timeout, _SUPERVISED_SECONDS) if supervised else config.timeout)


def _cpu_group(timeout: timedelta) -> Any:
    """Return a group for CPU tensors: None, the default one, where it can carry them."""
    if "gloo" in dist.get_backend():
        return None
    return dist.new_group(backend="gloo", timeout=timeout)
