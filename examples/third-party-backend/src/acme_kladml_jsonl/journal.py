"""Lifecycle hooks: one line per run in the file that the variable ACME_JOURNAL names; without it, none.

Hooks have no settings block, so the environment configures them. A module implements only the hooks that it
cares about, and each function takes only the arguments that it needs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from kladml.plugins import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kladml.plugins import RunInfo


@hookimpl
def kladml_run_started(run: RunInfo) -> None:
    """Note that a run started, and with which backends."""
    _note(f"{run.address} started with {', '.join(run.backends.values())}")


@hookimpl
def kladml_run_ended(run: RunInfo, status: str, metrics: Mapping[str, float]) -> None:
    """Note how it ended."""
    numbers = " ".join(f"{name}={value:.4g}" for name, value in sorted(metrics.items()))
    _note(f"{run.address} {status} {numbers}".rstrip())


def _note(line: str) -> None:
    file = os.environ.get("ACME_JOURNAL")
    if file:
        with Path(file).open("a", encoding="utf-8") as journal:
            print(line, file=journal)
