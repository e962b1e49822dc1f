"""Batches: what a process gets of an epoch, from whatever holds the data, and from any position on."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from kladml.training.data.arrays import samples_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kladml.errors import DataError
    from kladml.training.data.fetching import BatchFetch, StreamFetch
    from kladml.training.data.orders import Order
    from kladml.training.data.workers import WorkerPool


class Batch(NamedTuple):
    """A batch of this process.

    Attributes:
        content: What the model gets.
        samples: How many samples count; 0 for a repetition that only keeps this process in step with the others.
        is_last: Whether no other follows in the epoch, as far as that is known.
    """

    content: Any
    samples: int
    is_last: bool


@dataclass(frozen=True, slots=True)
class Share:
    """Which batches are this process's: of each round of `world` batches, number `rank`."""

    rank: int = 0
    world: int = 1

    def of(self, batches: int) -> Iterator[tuple[int, bool, bool]]:
        """Yield, round by round, this process's batch: its number, whether it counts, whether the round is the last.

        In the last round there may be none left, and then the last batch is repeated without counting.
        """
        if self.world == 1:
            for number in range(batches):
                yield number, True, number == batches - 1
            return
        rounds = math.ceil(batches / self.world)
        for number in range(rounds):
            index = number * self.world + self.rank
            yield min(index, batches - 1), index < batches, number == rounds - 1


class BatchSource(ABC):
    """Yields this process's batches of an epoch, from any position on.

    Positions count the batches of all processes together, so that they mean the same for any number of them.

    Args:
        share: Which batches are this process's.
    """

    def __init__(self, share: Share) -> None:
        self.share = share

    @abstractmethod
    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch.

        Args:
            epoch: Number of the epoch, from 1.
            start: Batches to leave out at the beginning; where possible they are not even fetched.
        """

    @abstractmethod
    def batches_per_epoch(self) -> int | None:
        """Return how many batches an epoch has for all processes together, or None when the data does not tell."""

    def worker_error(self, error: Exception) -> DataError | None:
        """Return an error that names the loading worker of which torch complains, if it is one of these.

        Args:
            error: What was raised, anywhere: torch tells of a dead worker by a signal handler.
        """
        del error
        return None

    def rounds_per_epoch(self) -> int | None:
        """Return how many batches an epoch has for each process, or None."""
        batches = self.batches_per_epoch()
        return None if batches is None else math.ceil(batches / self.share.world)


class ArrayBatches(BatchSource):
    """Batches of tensors in memory, taken by index and not sample by sample.

    Args:
        tensors: The tensors, one row per sample.
        order: Says which rows form which batch.
        share: Which batches are this process's.
        container: What holds a batch's tensors: tuple, list, or None for a single tensor.
        convert: Whether 64 bit floats become torch's default float, batch by batch.
        rows: The rows that the order counts, where these are not all.
    """

    def __init__(
        self,
        tensors: Sequence[torch.Tensor],
        order: Order,
        share: Share,
        *,
        container: type[Any] | None,
        convert: bool = False,
        rows: torch.Tensor | None = None,
    ) -> None:
        super().__init__(share)
        self._convert = convert and any(tensor.dtype == torch.float64 for tensor in tensors)
        self.tensors, self.order, self.container, self._rows = tensors, order, container, rows
        self._on_cpu = all(tensor.device.type == "cpu" for tensor in tensors)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch; those left out are not fetched."""
        batches = self.order.batches(epoch)[start:]
        container, tensors = self.container, self.tensors
        for number, counts, is_last in self.share.of(len(batches)):
            index = torch.as_tensor(batches[number])
            if self._rows is not None:
                index = self._rows[index]
            if self._on_cpu:
                rows = [tensor.index_select(0, index) for tensor in tensors]
            else:
                rows = [tensor.index_select(0, index.to(tensor.device)) for tensor in tensors]
            if self._convert:
                rows = [row.to(torch.get_default_dtype()) if row.dtype == torch.float64 else row for row in rows]
            content = rows if container is list else rows[0] if container is None else container(rows)
            yield Batch(content, len(index) if counts else 0, is_last)

    def batches_per_epoch(self) -> int:
        """Return how many batches an epoch has."""
        return len(self.order)


class DatasetBatches(BatchSource):
    """Batches of a map-style data set, fetched here or in workers.

    Args:
        fetch: Makes the batches.
        order: Says which samples form which batch.
        share: Which batches are this process's.
        workers: Worker processes, or None to fetch in this process.
    """

    def __init__(self, fetch: BatchFetch, order: Order, share: Share, workers: WorkerPool | None) -> None:
        super().__init__(share)
        self.fetch, self.order, self.workers = fetch, order, workers

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch; those left out are not fetched."""
        batches = self.order.batches(epoch)[start:]
        if self.workers is None:
            for number, counts, is_last in self.share.of(len(batches)):
                content = self.fetch[epoch, start + number, batches[number]]
                yield Batch(content, samples_in(content) if counts else 0, is_last)
            return
        share = list(self.share.of(len(batches)))
        keys = [(epoch, start + number, batches[number]) for number, _, _ in share]
        for (_, counts, is_last), content in zip(share, self.workers.batches(epoch, keys), strict=True):
            yield Batch(content, samples_in(content) if counts else 0, is_last)

    def batches_per_epoch(self) -> int:
        """Return how many batches an epoch has."""
        return len(self.order)

    def worker_error(self, error: Exception) -> DataError | None:
        """Return an error that names the loading worker of which torch complains, if it is one of these."""
        return None if self.workers is None else self.workers.error(error)


class ReadyBatches(BatchSource):
    """Batches that lie ready in a list or tuple, in its order."""

    def __init__(self, batches: Sequence[Any], share: Share) -> None:
        super().__init__(share)
        self.batches = batches

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, which is every time the same."""
        del epoch
        for number, counts, is_last in self.share.of(len(self.batches) - start):
            content = self.batches[start + number]
            yield Batch(content, samples_in(content) if counts else 0, is_last)

    def batches_per_epoch(self) -> int:
        """Return how many batches there are."""
        return len(self.batches)


class StreamBatches(BatchSource):
    """Batches of something that can only be iterated, in the order that it gives.

    Every process iterates the whole of it and keeps its own batches.

    Args:
        fetch: Makes the batches.
        share: Which batches are this process's.
        workers: A worker process, or None to fetch in this process.
    """

    def __init__(self, fetch: StreamFetch, share: Share, workers: WorkerPool | None = None) -> None:
        super().__init__(share)
        self.fetch, self.workers = fetch, workers

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch; those left out are fetched and dropped."""
        self.fetch.set_epoch(epoch)
        stream = iter(self.fetch) if self.workers is None else self.workers.batches(epoch)
        for _ in islice(stream, start):
            pass
        if self.share.world == 1:
            for content in stream:
                yield Batch(content, samples_in(content), is_last=False)
            return
        ahead = list(islice(stream, 1))
        while ahead:
            contents = [*ahead, *islice(stream, self.share.world - 1)]
            ahead = list(islice(stream, 1))
            counts = self.share.rank < len(contents)
            mine = contents[self.share.rank if counts else -1]
            yield Batch(mine, samples_in(mine) if counts else 0, is_last=not ahead)

    def batches_per_epoch(self) -> int | None:
        """Return the iterable's length, if it has one."""
        return self.fetch.length()

    def worker_error(self, error: Exception) -> DataError | None:
        """Return an error that names the loading worker of which torch complains, if it is one of these."""
        return self.fetch.worker_error(error) if self.workers is None else self.workers.error(error)
