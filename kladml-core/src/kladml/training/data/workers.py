"""Loading workers: the processes that fetch batches, and what is said and done when one of them dies or hangs."""

from __future__ import annotations

import signal
from contextlib import suppress
from multiprocessing import util
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, IterableDataset, Sampler

from kladml.errors import DataError
from kladml.training.interruption import SIGNALS
from kladml.training.seeding import derived_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torch.utils.data import Dataset

_DIED, _HANGS = "DataLoader worker (pid", "DataLoader timed out"  # how torch's complaints begin
_PATIENCE = 1.0  # seconds for the end of a process that was killed; one in a system call may take for ever


class WatchedLoader:
    """A `DataLoader` whose workers obey the trainer alone, and are named when they die or hang.

    They leave the signals that stop a training to the trainer: it saves a checkpoint after the batch that they still
    have to bring, and ends them itself.

    Args:
        loader: The loader, which stays as it is.
        name: What errors call the data.
        timeout: Seconds after which a worker that gives nothing counts as hanging, where the loader does not say.
    """

    def __init__(self, loader: DataLoader[Any], name: str, timeout: float) -> None:
        self.loader, self.name, self.timeout = loader, name, loader.timeout or timeout
        self._workers: Sequence[Any] = ()

    def start(self) -> Any:
        """Return an iterator of the loader."""
        loader = self.loader
        before = loader.worker_init_fn, loader.timeout
        if loader.num_workers:
            loader.worker_init_fn, loader.timeout = _WorkerStart(before[0]), self.timeout
        try:
            iterator = iter(loader)
        finally:
            loader.worker_init_fn, loader.timeout = before
        workers = getattr(iterator, "_workers", ())
        if workers is not self._workers:
            self._workers = workers
            # The interpreter's end would ask them to end with SIGTERM, and wait until they did.
            util.Finalize(iterator, _end, args=(workers,), exitpriority=10)
        return iterator

    def batches(self, iterator: Iterator[Any]) -> Iterator[Any]:
        """Yield what an iterator of the loader gives.

        Raises:
            DataError: A worker died, or gave nothing for too long.
        """
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                return
            except KeyboardInterrupt:
                _end(self._workers)
                raise
            except (RuntimeError, OSError, EOFError) as error:
                named = self._hanging(iterator) if str(error).startswith(_HANGS) else self.error(error)
                if named is None:
                    raise
                _end(self._workers)
                raise named from error
            yield batch

    def error(self, error: Exception) -> DataError | None:
        """Return an error that names the worker which died, or None if none did.

        Args:
            error: What was raised: by torch, perhaps from a signal handler in the midst of something else, or by a
                connection whose other end is gone.
        """
        if not (str(error).startswith(_DIED) or isinstance(error, OSError | EOFError)):
            return None
        _await_the_dying(self._workers)
        ended = [(number, worker) for number, worker in enumerate(self._workers) if worker.exitcode is not None]
        dead = [(number, worker) for number, worker in ended if worker.exitcode] or ended
        if not dead:
            return None
        which = " and ".join(f"{number} (pid {worker.pid}, {_end_of(worker.exitcode)})" for number, worker in dead)
        problem = f"loading worker {which} of {self.name} died"
        return DataError(problem, next_step="look for too little memory, or set training.num_workers to 0")

    def _hanging(self, iterator: Any) -> DataError:
        awaited = getattr(iterator, "_task_info", {}).get(getattr(iterator, "_rcvd_idx", None), (None,))[0]
        which = "" if awaited is None else f" {awaited} (pid {self._workers[awaited].pid})"
        problem = f"loading worker{which} of {self.name} gave no batch for {self.timeout:g} s"
        return DataError(problem, next_step="look at what the data set waits for, or raise training.timeout")


class WorkerPool:
    """Fetches batches in worker processes, in order.

    Args:
        dataset: Gives whole batches, by key or one after another.
        options: What `DataLoader` is to be called with besides, such as `num_workers` and `timeout`.
        name: What errors call the data.
        seed: The training's seed.
    """

    def __init__(self, dataset: Dataset[Any], options: dict[str, Any], name: str, seed: int) -> None:
        self.seed = seed
        self._keys = None if isinstance(dataset, IterableDataset) else _Keys()
        # A generator of its own, or each iterator would draw from everybody's.
        self._generator = torch.Generator()
        loader: DataLoader[Any] = DataLoader(
            dataset, batch_size=None, sampler=self._keys, collate_fn=_as_it_is, generator=self._generator, **options
        )
        self._loader = WatchedLoader(loader, name, loader.timeout)
        self.error = self._loader.error

    def batches(self, epoch: int, keys: Sequence[Any] = ()) -> Iterator[Any]:
        """Yield the batches of an epoch.

        Args:
            epoch: Number of the epoch, from 1.
            keys: What to ask the data set for; nothing where it gives its batches one after another.

        Raises:
            DataError: A worker died, or gave nothing for too long.
        """
        if self._keys is not None:
            if not keys:
                return
            self._keys.keys = keys
        self._generator.manual_seed(derived_seed("workers", self.seed, epoch))
        yield from self._loader.batches(self._loader.start())


class _WorkerStart:
    """What a worker does first.

    Batch systems and terminals send signals to every process of a job. Torch would let the worker die of SIGTERM, and
    the batch that the training is to save after would never come.
    """

    def __init__(self, users: Callable[[int], None] | None) -> None:
        self.users = users

    def __call__(self, number: int) -> None:
        """Leave the signals alone, and do what the user wants done."""
        for each in SIGNALS:
            signal.signal(each, _leave_alone)
        if self.users is not None:
            self.users(number)


class _Keys(Sampler[Any]):
    def __init__(self) -> None:
        self.keys: Sequence[Any] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)


def _leave_alone(number: int, frame: Any) -> None:
    """Do nothing; what a data set starts does not inherit that, as it would inherit SIG_IGN."""


def _await_the_dying(workers: Sequence[Any]) -> None:
    """Wait until a worker that is about to end is dead, and its exit status known."""
    with suppress(RuntimeError):  # torch's complaint of its death, which a signal handler raises here
        wait([worker.sentinel for worker in workers], _PATIENCE)
    for worker in workers:
        with suppress(RuntimeError):
            if wait([worker.sentinel], 0):
                worker.join(_PATIENCE)


def _end(workers: Iterable[Any]) -> None:
    """Kill workers that nobody will ask again."""
    for worker in workers:
        with suppress(RuntimeError):
            worker.kill()
            worker.join(_PATIENCE)


def _end_of(exit_code: int) -> str:
    return f"killed by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"exit status {exit_code}"


def _as_it_is(batch: Any) -> Any:
    return batch
