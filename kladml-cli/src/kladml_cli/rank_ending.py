"""How one of several processes that train together ends: its supervisor is told, and tells it."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from kladml.errors import PeerLostError, StopRun
from kladml.training.launching.rank_folder import RankFolder, own_rank
from kladml.training.launching.rank_report import EndKind, RankReport
from kladml_cli.endings import RunFailed
from kladml_cli.statuses import TERMINATED, USER_SIGNAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kladml_cli.endings import Ending


def report(error: BaseException, ending: Ending) -> bool:
    """Write how this process ends where its supervisor reads it; return whether that was possible."""
    folder = RankFolder.from_environment()
    if folder is None:
        return False
    cause = error.error if isinstance(error, RunFailed) else error
    text = f"{ending.traceback}{ending.label}: {ending.message}".removesuffix(": ")
    try:
        RankReport(own_rank(), _kind(cause), type(cause).__name__, ending.status, text, time.time()).write(folder)
    except OSError:  # the supervisor is gone, and has taken the folder with it
        return False
    return True


def _kind(error: BaseException) -> EndKind:
    if any(isinstance(link, PeerLostError) or _is_peer_lost(link) for link in _chain(error)):
        return EndKind.PEER_LOST
    by_signal = isinstance(error, SystemExit) and error.code in {TERMINATED, USER_SIGNAL}
    if by_signal or isinstance(error, StopRun | KeyboardInterrupt | click.Abort):
        return EndKind.STOPPED
    return EndKind.FAILED


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that it was raised from: a backend or the user's code may have wrapped the first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_peer_lost(error: BaseException) -> bool:
    """Tell whether the user's own communication of ranks failed because one is gone."""
    if not isinstance(error, RuntimeError) or "torch.distributed" not in sys.modules:
        return False
    from kladml.training.ranks import is_peer_lost

    return is_peer_lost(error)
