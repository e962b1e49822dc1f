"""Where a run stands, as far as its messages have told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass
class RunProgress:
    """The state of a run, built up from its messages, any of which may be missing.

    Attributes:
        address: `project/family/experiment@n`, or empty while unknown.
        max_epochs: Epochs at most, or None while unknown.
        steps_per_epoch: Optimizer steps in an epoch, or None while unknown.
        epoch: The epoch under way, from 1.
        finished_epochs: Epochs that ended.
        step: Optimizer steps so far.
        epoch_step: Optimizer steps in the epoch under way.
        loss: Running mean loss of the epoch, or None.
        metrics: Metrics of the last finished epoch.
        epoch_seconds: How long the last finished epoch took, in seconds.
        now: Time of the last message, in seconds since the epoch of Unix.
    """

    address: str = ""
    max_epochs: int | None = None
    steps_per_epoch: int | None = None
    epoch: int = 1
    finished_epochs: int = 0
    step: int = 0
    epoch_step: int = 0
    loss: float | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    epoch_seconds: float = 0.0
    now: float = 0.0
    _began: float | None = None
    _epoch_began: float = 0.0
    _epoch_first_step: int = 0

    def take(self, channel: str, message: Mapping[str, Any]) -> None:
        """Take over what a message tells; an unknown event tells nothing but the time."""
        self.address = message.get("address") or channel.partition(":")[2]
        self.now = float(message.get("time", self.now))
        if self._began is None:
            self._began = self._epoch_began = self.now
        event = message.get("event")
        if event == "run_started":
            self.max_epochs, self.steps_per_epoch = message.get("max_epochs"), message.get("steps_per_epoch")
        elif event == "step":
            self.epoch, self.step, self.loss = int(message["epoch"]), int(message["step"]), message.get("loss")
            self.epoch_step = self.step - self._epoch_first_step
        elif event == "epoch_ended":
            self._end_epoch(message)

    @property
    def is_last_epoch_over(self) -> bool:
        """Whether no epoch is left."""
        return self.max_epochs is not None and self.finished_epochs >= self.max_epochs

    @property
    def fraction(self) -> float | None:
        """Share of the training that is done, from 0 to 1, or None while its length is unknown."""
        if not self.max_epochs:
            return None
        if self.steps_per_epoch:
            return min(1.0, self.step / (self.max_epochs * self.steps_per_epoch))
        return min(1.0, self.finished_epochs / self.max_epochs)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until all epochs are done at the pace so far, or None while there is no pace."""
        if not self.fraction or self._began is None:
            return None
        return (self.now - self._began) * (1 - self.fraction) / self.fraction

    def _end_epoch(self, message: Mapping[str, Any]) -> None:
        self.finished_epochs, self.step = int(message["epoch"]), int(message["step"])
        self.epoch = self.finished_epochs if self.is_last_epoch_over else self.finished_epochs + 1
        self.metrics = dict(message.get("metrics", {}))
        self.loss = self.metrics.get("loss", self.loss)
        self.epoch_seconds = self.now - self._epoch_began
        self._epoch_began, self._epoch_first_step, self.epoch_step = self.now, self.step, 0
