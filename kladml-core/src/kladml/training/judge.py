"""Judging validations: which is the best so far, and when there has been no better one for too long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kladml.training.monitor import Monitor, resolve_mode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kladml.config.schema import TrainingConfig


class Judge:
    """Watches the metric that makes a checkpoint the best one, and the one that early stopping waits for.

    Args:
        config: What to watch.
        validates: Whether there is validation data, whose loss is watched by default.
    """

    def __init__(self, config: TrainingConfig, *, validates: bool) -> None:
        stopping, saving = config.early_stopping, config.checkpoint
        default = "val_loss" if validates else "loss"
        stop_metric = stopping.monitor or default
        best_metric = saving.monitor or (stop_metric if stopping.enabled else default)
        shared = saving.monitor is None and stopping.enabled
        mode, section = (stopping.mode, "early_stopping") if shared else (saving.mode, "checkpoint")
        self.best = Monitor(best_metric, resolve_mode(mode, best_metric, f"training.{section}.mode"))
        self.patience = stopping.patience
        self.stopping: Monitor | None = None
        if stopping.enabled:
            mode = resolve_mode(stopping.mode, stop_metric, "training.early_stopping.mode")
            self.stopping = Monitor(stop_metric, mode, stopping.min_delta)

    @property
    def watches_validation(self) -> bool:
        """Whether a metric of validation data is watched."""
        return any(monitor.metric.startswith("val_") for monitor in self._monitors())

    @property
    def watches_validation_metrics(self) -> bool:
        """Whether one is watched that not every model has, as it has a loss."""
        return any(m.metric.startswith("val_") and m.metric != "val_loss" for m in self._monitors())

    @property
    def has_to_stop(self) -> bool:
        """Whether early stopping has seen no improvement for too long."""
        return self.stopping is not None and self.stopping.epochs_without_improvement >= self.patience

    def require_validation_metrics(self, produced: Mapping[str, float]) -> None:
        """Check that the watched metrics of validation data are among those of a model, named without prefix.

        Raises:
            MissingMetricError: One is not; names those that are.
        """
        for monitor in self._monitors():
            if monitor.metric.startswith("val_"):
                monitor.require({f"val_{name}": value for name, value in produced.items()})

    def update(self, metrics: Mapping[str, float], epoch: int) -> tuple[bool, bool]:
        """Take note of a validation; return whether it is the best so far, and whether training should stop.

        Raises:
            MissingMetricError: A watched metric is not among those of the validation.
        """
        is_best = self.best.update(metrics, epoch)
        if self.stopping is not None:
            self.stopping.update(metrics, epoch)
        return is_best, self.has_to_stop

    def state_dict(self) -> dict[str, Any]:
        """Return the state as JSON-able data."""
        return {"best": self.best.state_dict(), "stopping": self.stopping.state_dict() if self.stopping else None}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state that `state_dict` returned."""
        self.best.load_state_dict(state["best"])
        if self.stopping is not None and state["stopping"] is not None:
            self.stopping.load_state_dict(state["stopping"])

    def _monitors(self) -> list[Monitor]:
        return [self.best] if self.stopping is None else [self.best, self.stopping]
