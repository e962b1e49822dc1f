"""What happens in a run, told to its trackers, publishers and lifecycle hooks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from kladml.training.callbacks import TrainerCallback

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kladml.plugins import LifecycleHooks, RunInfo
    from kladml.runner.fanout import FanOut
    from kladml.training.callbacks import FitInfo


class RunEvents(TrainerCallback):
    """Connects a training with the run's trackers, publishers and hooks.

    Args:
        run: The run.
        trackers: The trackers.
        publishers: The publishers.
        hooks: The lifecycle hooks.
        selected: The selected backends, as people read them.
    """

    def __init__(
        self, run: RunInfo, trackers: FanOut, publishers: FanOut, hooks: LifecycleHooks, selected: list[str]
    ) -> None:
        self.run = run
        self._trackers = trackers
        self._publishers = publishers
        self._hooks = hooks
        self._selected = selected
        self._announced = False
        self._recorded: dict[str, float] = {}
        self._of_epochs: set[str] = set()
        self._began = time.monotonic()

    def run_started(self) -> None:
        """Tell the hooks that the run starts; publishers hear of it when the training's length is known."""
        self._hooks.run_started(self.run)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None) -> None:
        """Record metrics that a model logs itself."""
        numbers = {str(name): float(value) for name, value in metrics.items()}
        self._recorded |= numbers
        self._trackers.call("log_metrics", numbers, step)

    def log_final_metrics(self, metrics: Mapping[str, float]) -> None:
        """Record metrics that a model returns, but for those of epochs and those recorded last with that value."""
        others = {name: value for name, value in metrics.items() if name not in self._of_epochs}
        new = {name: value for name, value in others.items() if self._recorded.get(name) != value}
        if new:
            self.log_metrics(new, None)

    def on_fit_started(self, info: FitInfo) -> None:
        """Publish `run_started`."""
        self._announce(max_epochs=info.max_epochs, steps_per_epoch=info.steps_per_epoch)

    def on_step(self, epoch: int, step: int, loss: float, lr: float) -> None:
        """Record `loss_step` and `lr_step`, series of their own beside those of the epochs, and publish `step`."""
        self._trackers.call("log_metrics", {"loss_step": loss, "lr_step": lr}, step)
        self._publish("step", epoch=epoch, step=step, loss=loss, lr=lr)

    def on_epoch_ended(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        """Record, publish and call hooks, in this order, so that what a hook reads is there."""
        self._of_epochs.update(metrics)
        self.log_metrics(metrics, epoch)
        self._trackers.call("flush")
        self._publish("epoch_ended", epoch=epoch, step=step, metrics=dict(metrics))
        self._hooks.epoch_ended(self.run, epoch, metrics)

    def on_validated(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics with the ending `_step` at the step, and publish `validated`."""
        self._trackers.call("log_metrics", {f"{name}_step": value for name, value in metrics.items()}, step)
        self._publish("validated", epoch=epoch, step=step, metrics=dict(metrics))

    def on_checkpoint_saved(self, path: Path, step: int, *, is_best: bool) -> None:
        """Publish `checkpoint_saved` and call hooks."""
        self._publish("checkpoint_saved", step=step, path=str(path), is_best=is_best)
        self._hooks.checkpoint_saved(self.run, path, step, is_best=is_best)

    def state_dict(self) -> dict[str, Any]:
        """Return which metrics epochs have, so that a run that goes on does not record them as final ones."""
        return {"of_epochs": sorted(self._of_epochs)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._of_epochs.update(state["of_epochs"])

    def run_ended(
        self, status: str, metrics: Mapping[str, float], artifacts: Mapping[str, str], how_to_view: list[str]
    ) -> None:
        """End the run on the trackers, publish `run_ended` and call hooks."""
        self._trackers.call("flush", always=True)
        self._trackers.call("end_run", status, always=True)
        self._announce(max_epochs=None, steps_per_epoch=None)
        self._publish(
            "run_ended",
            always=True,
            status=status,
            metrics=dict(metrics),
            artifacts=dict(artifacts),
            how_to_view=how_to_view,
            seconds=time.monotonic() - self._began,
        )
        self._publishers.call("flush", always=True)
        self._hooks.run_ended(self.run, status, metrics)

    def _announce(self, *, max_epochs: int | None, steps_per_epoch: int | None) -> None:
        if not self._announced:
            self._announced = True
            self._publish(
                "run_started",
                address=self.run.address,
                run_id=self.run.run_id,
                max_epochs=max_epochs,
                steps_per_epoch=steps_per_epoch,
                selected=self._selected,
            )

    def _publish(self, event: str, *, always: bool = False, **fields: Any) -> None:
        message = {"event": event, "time": time.time(), **fields}
        self._publishers.call("publish", f"kladml:{self.run.address}", message, always=always)
