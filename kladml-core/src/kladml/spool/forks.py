"""Processes that are forked from one that records."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any

from kladml.errors import TrackerError

if TYPE_CHECKING:
    from collections.abc import Callable


def call_in_forks(method: Callable[[], Any]) -> None:
    """Have an object's method called first in each process that is forked from this one, while the object lives."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_weak(method))


def call_around_forks(before: Callable[[], Any], after: Callable[[], Any]) -> None:
    """Have an object's methods called in this process before it is forked, and after, while the object lives."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_weak(before), after_in_parent=_weak(after))


def closed(owner: int) -> TrackerError:
    """Return the error for a record that comes too late, or from a forked process.

    Args:
        owner: The process that the run belongs to.
    """
    if os.getpid() != owner:
        problem = f"this process was forked from process {owner}, to which the run belongs"
        step = "record metrics in the main process, not in workers of a data loader"
        return TrackerError(problem, next_step=step)
    problem = "the run's records are closed"
    return TrackerError(problem, next_step="start or resume a run first")


def _weak(method: Callable[[], Any]) -> Callable[[], None]:
    kept = weakref.WeakMethod(method)

    def call() -> None:
        found = kept()
        if found is not None:
            found()

    return call
