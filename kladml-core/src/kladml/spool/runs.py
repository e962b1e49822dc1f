"""Runs at their beginning, and what is left of them at their end."""

from __future__ import annotations

import getpass
import os
import sys
import time
from typing import TYPE_CHECKING

from kladml.errors import TrackerError
from kladml.interfaces import UndeliveredRun
from kladml.spool.events import SpooledRun

if TYPE_CHECKING:
    from datetime import datetime


def new_run(
    run_id: str,
    experiment_name: str,
    run_name: str | None,
    destination: str,
    *,
    goes_on: bool = False,
    remote_id: str | None = None,
) -> SpooledRun:
    """Return a run that begins now, or goes on, in this process.

    Args:
        run_id: Its identifier.
        experiment_name: The experiment that it belongs to; may be empty for one that goes on.
        run_name: Its name for people; made of the other two if None.
        destination: Where it belongs.
        goes_on: Whether it was there before.
        remote_id: What the destination calls it, if that is known.
    """
    name = f"{experiment_name.rpartition('/')[2]}-{run_id[:8]}" if run_name is None else run_name
    source, now = sys.argv[0] or "python", time.time_ns() // 1_000_000
    return SpooledRun(run_id, experiment_name, name, _user(), source, now, destination, goes_on, remote_id)


def undelivered_run(
    run: SpooledRun, events: int, reason: str | None = None, since: datetime | None = None
) -> UndeliveredRun:
    """Return what is left of a run.

    Args:
        run: The run.
        events: How many of its records are not delivered.
        reason: Why, if that is known.
        since: Since when.
    """
    names = (run.run_id, run.experiment_name, run.run_name)
    return UndeliveredRun(*names, events=events, destination=run.destination, reason=reason, since=since)


def belongs_elsewhere(run: SpooledRun, destination: str, owner: str) -> TrackerError:
    """Return the error of a run that was recorded for another destination.

    Args:
        run: The run.
        destination: The one that it met.
        owner: The distribution of the tracker.
    """
    problem = f"run '{run.run_id}' was recorded for {run.destination}, and this tracker is {destination}"
    step = "configure that address, or redirect what waits (kladml sync --redirect)"
    return TrackerError(problem, owner=owner, next_step=step)


def _user() -> str:
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container's user without a name
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"
