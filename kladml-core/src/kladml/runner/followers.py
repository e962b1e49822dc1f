"""The processes of a run besides the main one: they train with it, and register, write and tell nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kladml.interfaces import RunAddress
from kladml.log import bind_to_log
from kladml.models import RunContext
from kladml.runner.result import RunResult
from kladml.runner.steps import train_and_evaluate

if TYPE_CHECKING:
    from kladml.runner.preparation import Prepared
    from kladml.runner.session import RunSession
    from kladml.runner.team import Team


def announce(session: RunSession, context: RunContext, team: Team) -> None:
    """Tell the other processes which run has begun; they wait for it in `follow`."""
    team.tell(
        {
            "address": str(session.address),
            "run_id": session.run_id,
            "checkpoints": str(context.checkpoint_dir),
            "resume": None if context.resume is None else str(context.resume),
            "allow_world_change": context.allow_world_change,
            "finish": context.finish,
            "identity": dict(context.identity),
        }
    )


def follow(prepared: Prepared, team: Team) -> RunResult:
    """Wait until the main process has begun the run, and train with it.

    Returns:
        What the main process returns as well, but for what only it knows: artifacts, hints and warnings.

    Raises:
        PeerLostError: The main process could not begin the run.
    """
    begun = team.tell(None)
    bind_to_log(run=begun["address"])
    context = RunContext(
        prepared.config.run.training,
        checkpoint_dir=Path(begun["checkpoints"]),
        resume=None if begun["resume"] is None else Path(begun["resume"]),
        allow_world_change=begun["allow_world_change"],
        finish=begun["finish"],
        identity=begun["identity"],
    )
    model, metrics = train_and_evaluate(prepared, context)
    return RunResult(begun["run_id"], RunAddress.parse(begun["address"]), "FINISHED", metrics, model=model)
