"""Telling how several processes that trained together ended: one of them says why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kladml.training.launching.rank_report import EndKind
from kladml_cli.endings import Ending
from kladml_cli.exits import say
from kladml_cli.statuses import CLOSED_PIPE
from kladml_cli.user_traceback import user_stack

if TYPE_CHECKING:
    from kladml.training.launching.launch import LaunchResult
    from kladml.training.launching.rank_folder import RankFolder
    from kladml.training.launching.supervision import Stall


def is_failure(result: LaunchResult) -> bool:
    """Tell whether processes failed, and did not only stop because they were asked to."""
    return result.cause is not None and result.cause.kind != EndKind.STOPPED


def tell(result: LaunchResult, world: int, outcome: str) -> None:
    """Say how the processes ended, in the words of the one that tells the cause; nothing if all went well.

    Args:
        result: How they ended.
        world: How many processes there are, on all machines.
        outcome: What became of the run, as a clause; empty if it had not begun.
    """
    cause = result.cause
    if cause is None:
        if result.cut_short_by:
            say(Ending(result.exit_code, "Interrupted", outcome or "the run had not begun"))
        return
    if cause.exit_code == CLOSED_PIPE:  # nobody reads on
        return
    *lines, last = cause.text.splitlines(keepends=True)
    label, _, message = last.partition(": ")
    clause = f" ({outcome})" if message and outcome else outcome
    heading = f"rank {cause.rank} of {world} failed:\n" if is_failure(result) and not _all_alike(result) else ""
    stacks = "" if result.stall is None else _stacks(result.stall)
    say(Ending(result.exit_code, label, f"{message}{clause}", "".join((heading, stacks, *lines))))


def tell_of_output(folder: RankFolder) -> bool:
    """Say where the output of the other processes is; return whether there is any."""
    found = any(path.stat().st_size for kind in ("out", "err") for path in folder.path.glob(f"rank-*.{kind}"))
    if found:
        click.echo(f"The output of all ranks but the first is in {folder.path}", err=True)
    return found


def _all_alike(result: LaunchResult) -> bool:
    """Tell whether every process says the same of itself, as when all miss the same file."""
    return len(result.reports) > 1 and len({(report.kind, report.text) for report in result.reports.values()}) == 1


def _stacks(stall: Stall) -> str:
    """Return where the processes were that made no progress, and the processes that they forked."""
    parts = []
    for rank, stacks in stall.stacks.items():
        for index, stack in enumerate(stacks):
            whose = f"a process that rank {rank} started" if index else f"rank {rank}"
            parts.append(f"Stack of {whose} (most recent call last):\n{user_stack(stack)}")
    return "".join(parts)
