"""What a model may use while it is trained in a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kladml.config.schema import TrainingConfig

if TYPE_CHECKING:
    from pathlib import Path

    from kladml.training import TrainerCallback, UniversalTrainer
    from kladml.training.checkpointing.mirror import CheckpointMirror

LogMetrics = Callable[[Mapping[str, float], int | None], None]


def _discard(metrics: Mapping[str, float], step: int | None) -> None:
    """Take note of nothing: outside a run there is no tracker."""
    del metrics, step


@dataclass(frozen=True)
class RunContext:
    """The run that a model is trained in; outside a run, one that records nothing.

    Attributes:
        training: The run's training configuration.
        checkpoint_dir: Where the run keeps checkpoints, or None to keep none.
        callbacks: What connects a `UniversalTrainer` with the run's tracker, publisher and hooks.
        log_metrics: Records metrics by name at a step, on every selected tracker.
        resume: The checkpoint that the run goes on from, or None; a model of your own that trains with
            `run.trainer()` passes it on: `fit(..., resume=self.run.resume)`.
        allow_world_change: Whether the run may go on with another number of processes.
        finish: Whether the run goes on although its training had reached its end, because what came after that
            failed; `fit(..., finish=self.run.finish)` then gives the result without a further step.
        mirror: What uploads checkpoints beside the training, or None.
        identity: What every checkpoint says of the run, JSON-able.
    """

    training: TrainingConfig = field(default_factory=TrainingConfig)
    checkpoint_dir: Path | None = None
    callbacks: tuple[TrainerCallback, ...] = ()
    log_metrics: LogMetrics = _discard
    resume: Path | None = None
    allow_world_change: bool = False
    finish: bool = False
    mirror: CheckpointMirror | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)

    def log_metric(self, key: str, value: float, step: int | None = None) -> None:
        """Record one metric at a step."""
        self.log_metrics({key: value}, step)

    def trainer(self) -> UniversalTrainer:
        """Return a `UniversalTrainer` with the run's configuration, checkpoints and callbacks."""
        from kladml.training import UniversalTrainer

        return UniversalTrainer(
            self.training,
            checkpoint_dir=self.checkpoint_dir,
            callbacks=self.callbacks,
            mirror=self.mirror,
            identity=self.identity,
        )
