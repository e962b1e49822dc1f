"""Work on many files at once, whose progress is shown and which ends when it is interrupted."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], object]]]
"""Shows progress: given a label and the bytes of all, it gives what is told each number of bytes."""

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST_THREADS = 4


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
    stop, mutex = threading.Event(), threading.Lock()

    def guarded(count: int) -> None:
        if stop.is_set():
            raise _Stopped
        with mutex:
            tell(count)

    threads = ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1, max(len(items), 1)), "kladml-data")
    try:
        return list(threads.map(lambda item: work(item, guarded), items))
    finally:
        stop.set()
        threads.shutdown(cancel_futures=True)


class _Stopped(Exception):  # noqa: N818 - no error, and nobody sees it
    """Ends the work of one thread because that of another failed."""
