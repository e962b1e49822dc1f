"""Work on many files at once, whose progress is shown and which ends when it is interrupted."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], object]]]
"""Shows progress: given a label and the bytes of all, it gives what is told each number of bytes."""

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST_THREADS = 4
_LONGEST_WAIT = 5.0
"""Seconds that others are waited for after an interrupt or a failure."""


@contextmanager
def silent(label: str, total: int) -> Iterator[Callable[[int], object]]:
    """Show no progress."""
    del label, total
    yield lambda _: None


def in_threads(
    work: Callable[[Item, Callable[[int], object]], Result], items: Sequence[Item], tell: Callable[[int], object]
) -> list[Result]:
    """Return what a function makes of each item, several at a time.

    Args:
        work: The function; it also gets what it is to tell of its progress, often, as that is where it ends when
            another one failed or the user interrupted it.
        items: The items.
        tell: Is told of the progress of all, by one thread at a time.
    """
    return _Workers(work, items, tell).run(min(_MOST_THREADS, os.cpu_count() or 1, len(items)))


class _Workers(Generic[Item, Result]):
    """Threads that share items out among them."""

    def __init__(
        self,
        work: Callable[[Item, Callable[[int], object]], Result],
        items: Sequence[Item],
        tell: Callable[[int], object],
    ) -> None:
        self._work = work
        self._tell = tell
        self._stop, self._mutex = threading.Event(), threading.Lock()
        self._count = len(items)
        self._waiting = iter(enumerate(items))
        self._results: dict[int, Result] = {}
        self._failures: dict[int, BaseException] = {}
        self._begun = 0
        self._ended: SimpleQueue[None] = SimpleQueue()

    def run(self, count: int) -> list[Result]:
        """Return the results in the order of the items, made by so many threads."""
        ended = 0
        try:
            for _ in range(count):
                # Daemons, because a transfer that hangs tells nothing, and must not keep a process from ending.
                in_context = partial(copy_context().run, self._serve)
                threading.Thread(target=in_context, name="kladml-data", daemon=True).start()
            while ended < count and not self._failures:
                self._ended.get()  # and no join, after whose interrupt Python 3.11 takes a thread for ended
                ended += 1
        finally:
            self._stop.set()
            self._wait_for_others(ended)
        if self._failures:
            raise self._failures[min(self._failures)]
        return [self._results[place] for place in range(self._count)]

    def _wait_for_others(self, ended: int) -> None:
        """Wait for the threads that are at work; one that begins only now finds nothing to do."""
        deadline = monotonic() + _LONGEST_WAIT
        with suppress(Empty):
            while ended < self._begun:
                self._ended.get(timeout=max(0.0, deadline - monotonic()))
                ended += 1

    def _serve(self) -> None:
        with self._mutex:
            self._begun += 1
        try:
            while (following := self._next()) is not None:
                place, item = following
                self._results[place] = self._work(item, self._guarded)
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - raised where the others are waited for
            self._failures[place] = error
            self._stop.set()
        finally:
            self._ended.put(None)

    def _next(self) -> tuple[int, Item] | None:
        with self._mutex:
            return None if self._stop.is_set() else next(self._waiting, None)

    def _guarded(self, count: int) -> None:
        if self._stop.is_set():
            raise _Stopped
        with self._mutex:
            self._tell(count)


class _Stopped(Exception):  # noqa: N818 - no error, and nobody sees it
    """Ends the work of one thread because that of another failed."""
