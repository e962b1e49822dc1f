"""The loop over the epochs of one fit: train, validate, judge, save, tell."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kladml.errors import CheckpointError, TrainingError, TrainingStopped
from kladml.training import state
from kladml.training.audience import Audience
from kladml.training.callbacks import FitInfo, FitResult
from kladml.training.checkpointing import store as checkpoints
from kladml.training.fitting import uncompiled
from kladml.training.interruption import name_of
from kladml.training.judge import Judge
from kladml.training.saving import Saving

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kladml.config.schema import TrainingConfig
    from kladml.training.callbacks import TrainerCallback
    from kladml.training.checkpointing.mirror import CheckpointMirror
    from kladml.training.checkpointing.store import CheckpointStore
    from kladml.training.data.batches import BatchSource
    from kladml.training.fitting import Fitting


class FitLoop:
    """Decides, batch by batch, what is said and saved and when training ends.

    Every process runs the same loop and comes to the same decisions; the main one alone tells callbacks and writes.

    Args:
        config: How to train.
        fitting: The prepared module and optimizer.
        train: Training batches.
        val: Validation batches, or None.
        store: Where checkpoints go, or None to keep none.
        callbacks: What is told of the progress.
        identity: What every checkpoint says of the run that it belongs to.
        mirror: Where checkpoints are uploaded to besides, or None.
    """

    def __init__(
        self,
        config: TrainingConfig,
        fitting: Fitting,
        train: BatchSource,
        val: BatchSource | None,
        *,
        store: CheckpointStore | None,
        callbacks: Sequence[TrainerCallback],
        identity: Mapping[str, Any],
        mirror: CheckpointMirror | None = None,
    ) -> None:
        self.config, self.fitting, self.train, self.val = config, fitting, train, val
        self.ranks = fitting.ranks
        self.saves = store is not None
        self.audience = Audience(callbacks if self.ranks.is_main else ())
        self.saving = Saving(store if self.ranks.is_main else None, mirror, self.audience)
        self.identity = dict(identity)
        self.history: list[dict[str, float]] = []
        self.validation: dict[str, float] = {}
        self.best_metrics: dict[str, float] = {}
        self.first_epoch = 1
        self._ended = self._stopped_early = False
        self._restored: checkpoints.Checkpoint | None = None
        self._saved_at = time.monotonic()
        self._proven = self.ranks.world == 1
        self.judge = Judge(config, validates=val is not None)
        fitting.optimization.check_watched(self.judge.best.metric, self.judge.best.mode)

    def resume(self, path: Path, *, allow_world_change: bool, finish: bool) -> None:
        """Go on from a checkpoint when the loop runs.

        Args:
            path: The checkpoint.
            allow_world_change: Whether another number of processes or another strategy is accepted.
            finish: Whether a training that had ended is completed without a further step, instead of refused.

        Raises:
            CheckpointError: It is damaged, or does not fit this training.
            TrainingError: Its training had ended.
        """
        found = checkpoints.load(path)
        state.restore(self.fitting, found, path, allow_world_change=allow_world_change)
        kept = found.state
        batches = self.train.batches_per_epoch()
        if not kept["epoch_done"] and kept["batches"] != batches:
            problem = f"the checkpoint {path} is of data with {kept['batches']} batches, and this data has {batches}"
            raise CheckpointError(problem, next_step="give the data that it was trained on")
        self.history, self.validation = list(kept["history"]), kept["validation"]
        self.best_metrics = kept["best_metrics"]
        self.judge.load_state_dict(kept["judge"])
        self.first_epoch = kept["epoch"] + 1 if kept["epoch_done"] else kept["epoch"]
        is_over = self.first_epoch > self.config.max_epochs or (kept["ended"] and self.fitting.is_done)
        self._stopped_early = kept["stopped_early"] and self.judge.has_to_stop
        self._ended = is_over or self._stopped_early
        if self._ended and not finish:
            why = "was stopped early" if self._stopped_early else "reached its end"
            problem = f"the training of {path} {why} after epoch {kept['epoch']} and step {kept['step']}"
            hint = "its patience" if self._stopped_early else "training.max_epochs or max_steps"
            raise TrainingError(problem, next_step=f"raise {hint} to go on, or use its weights")
        if kept["ended"] and not (kept["epoch_done"] or self._ended):
            self.history.pop()  # of an epoch that max_steps cut short, and that goes on now
        self.audience.load_state_dicts(kept["callbacks"])
        self.saving.resume(kept["judge"])
        self._restored = found

    def run(self) -> FitResult:
        """Train until the last epoch or step, or until early stopping.

        Raises:
            TrainingStopped: A signal asked for the end; a checkpoint holds the state.
        """
        self.ranks.agree(self._facts())
        self._check_monitored()
        info = self._info()
        self.audience.tell("on_fit_started", info)
        if self._ended:
            return self._result(stopped_early=self._stopped_early)
        stopped_early = False
        with self.fitting.interruption.listening():
            for epoch in range(self.first_epoch, self.config.max_epochs + 1):
                stopped_early = self._epoch(epoch)
                if stopped_early or self.fitting.is_done:
                    break
        return self._result(stopped_early=stopped_early)

    def _facts(self) -> dict[str, Any]:
        """Return what has to be the same for all processes."""
        sizes = {"batches of train_data": self.train.batches_per_epoch()}
        if self.val is not None:
            sizes["batches of val_data"] = self.val.batches_per_epoch()
        keys = {f"training.{name}": value for name, value in asdict(self.config).items()}
        return {**keys, **sizes, "first epoch": self.first_epoch, "position": self.fitting.position}

    def _check_monitored(self) -> None:
        """Find out before an epoch is spent what cannot be: from one validation batch, that a metric is missing."""
        if self.config.checkpoint.restore_best and not self.saves:
            problem = "training.checkpoint.restore_best is set, and no checkpoints are kept"
            raise TrainingError(problem, next_step="enable checkpoints and give the trainer a checkpoint_dir")
        if self.val is not None and not self.judge.watches_validation_metrics:
            return
        produced = {} if self.val is None else self.fitting.first_validation_metrics(self.val)
        self.judge.require_validation_metrics(produced)

    def _epoch(self, epoch: int) -> bool:
        """Train an epoch, or what a checkpoint left of it; return whether training stops early."""
        fitting = self.fitting
        restored, self._restored = self._restored, None
        if restored is not None:
            state.restore_process(fitting, restored)
        if restored is None or restored.state["epoch_done"]:
            fitting.begin_epoch()
        for stepped in () if fitting.is_done else fitting.train_epoch(self.train, epoch):
            if stepped and self._after_step(epoch):
                return True
            if fitting.is_done:
                break
            if fitting.stop_signal:
                self._stop(epoch)
        return self._after_epoch(epoch)

    def _after_step(self, epoch: int) -> bool:
        """Do what is due after an optimizer step; return whether training stops early."""
        fitting, config = self.fitting, self.config
        step = fitting.plan.steps
        if not self._proven:
            self._proven = True
            fitting.strategy.prove(fitting.optimization.optimizer, fitting.plan.parameters)
        if config.log_every and step % config.log_every == 0:
            fitting.check_finite()
            loss = fitting.means.read(self.ranks)["loss"]
            self.audience.tell("on_step", epoch, step, loss, fitting.lr)
        is_best = stops = False
        if config.validate_every_steps and step % config.validate_every_steps == 0 and self.val is not None:
            metrics = self._metrics(validates=True)
            self.audience.tell("on_validated", epoch, step, metrics)
            is_best, stops = self._judge(metrics, epoch)
            if stops:
                self._end_epoch(epoch, metrics)
        saving = config.checkpoint
        is_due = (saving.every_minutes and self._save_is_due()) or (
            saving.every_steps and step % saving.every_steps == 0
        )
        if is_best or stops or is_due:
            self._save(epoch, is_best=is_best, stopped_early=stops)
        if self.saving.begun:
            self.saving.tell()
        return stops

    def _save_is_due(self) -> bool:
        """Tell whether the clock asks for a checkpoint; with several processes, at the batch where all know it."""
        is_due = time.monotonic() - self._saved_at >= self.config.checkpoint.every_minutes * 60
        if self.ranks.world == 1:
            return is_due
        self.fitting.wants_save = is_due and self.ranks.is_main
        return self.fitting.save_due

    def _after_epoch(self, epoch: int) -> bool:
        """Validate, judge, tell and save; return whether training stops early."""
        validates = self.val is not None and not self.config.validate_every_steps
        metrics = self._metrics(validates=validates)
        self.fitting.optimization.end_of_epoch(metrics, self.judge.best.metric)
        can_judge = validates or not self.judge.watches_validation
        is_best, stops = self._judge(metrics, epoch) if can_judge else (False, False)
        self._end_epoch(epoch, metrics)
        is_last = stops or self.fitting.is_done or epoch == self.config.max_epochs
        every = self.config.checkpoint.every_epochs
        if is_best or is_last or (every and epoch % every == 0):
            total = self.train.batches_per_epoch()
            was_cut = self.fitting.is_done and (total is None or self.fitting.position < total)
            self._save(epoch, is_best=is_best, epoch_done=not was_cut, ended=is_last, stopped_early=stops)
        return stops

    def _metrics(self, *, validates: bool) -> dict[str, float]:
        """Return the means of the epoch so far, with those of a validation now or of the last one."""
        self.fitting.check_finite()
        metrics = self.fitting.means.read(self.ranks)
        metrics["lr"] = self.fitting.lr
        if validates and self.val is not None:
            self.validation = {f"val_{name}": value for name, value in self.fitting.validate(self.val).items()}
        return metrics | self.validation

    def _end_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        self.history.append(metrics)
        self.audience.tell("on_epoch_ended", epoch, self.fitting.plan.steps, metrics)

    def _judge(self, metrics: dict[str, float], epoch: int) -> tuple[bool, bool]:
        """Return whether this is the best validation so far, and whether to stop: the main process decides."""
        is_best, stops = self.ranks.broadcast(self.judge.update(metrics, epoch))
        self.best_metrics = metrics if is_best else self.best_metrics
        return is_best, stops

    def _save(
        self,
        epoch: int,
        *,
        is_best: bool = False,
        epoch_done: bool = False,
        ended: bool = False,
        stopped_early: bool = False,
    ) -> None:
        if not self.saves:
            return
        self.fitting.check_finite()
        self.fitting.saving()
        self._saved_at = time.monotonic()
        extra = {
            "epoch_done": epoch_done,
            "ended": ended,
            "stopped_early": stopped_early,
            "judge": self.judge.state_dict(),
            "batches": self.train.batches_per_epoch(),
            "history": self.history,
            "validation": self.validation,
            "best_metrics": self.best_metrics,
            "callbacks": self.audience.state_dicts(),
            "identity": self.identity,
        }
        content = state.capture(self.fitting, epoch, extra)
        self.saving.begin(content, self.fitting.plan.steps, is_best=is_best)

    def _stop(self, epoch: int) -> None:
        """Save, and end the training as a signal asked.

        Raises:
            TrainingStopped: Always.
        """
        signal_number, step = self.fitting.stop_signal, self.fitting.plan.steps
        self._save(epoch)
        self.saving.complete()
        saved = self.ranks.broadcast(None if self.saving.last is None else str(self.saving.last))
        kept = f"the checkpoint {saved} holds its state" if saved else "nothing was saved"
        problem = f"{name_of(signal_number)} stopped the training after step {step} in epoch {epoch}, and {kept}"
        address = self.identity.get("address")
        step_to_take = f"go on with 'kladml train --resume {address}'" if address else "fit again with resume="
        raise TrainingStopped(problem, next_step=step_to_take if saved else None, signal_number=signal_number)

    def _info(self) -> FitInfo:
        rounds, epochs, most = self.train.rounds_per_epoch(), self.config.max_epochs, self.config.max_steps
        steps = None if rounds is None else -(-rounds // self.config.gradient_accumulation_steps)
        if steps and most is not None:
            epochs, steps = min(epochs, -(-most // steps)), min(steps, most)
        return FitInfo(
            max_epochs=epochs,
            steps_per_epoch=steps,
            device=str(self.fitting.accelerator.device),
            mixed_precision=self.config.mixed_precision,
            parameters=sum(p.numel() for p in self.fitting.plan.parameters),
        )

    def _result(self, *, stopped_early: bool) -> FitResult:
        self.saving.complete()
        self.fitting.strategy.join()
        metrics = self.history[-1]
        if self.config.checkpoint.restore_best:
            metrics = self.best_metrics or metrics
            if self.saving.best is not None:
                uncompiled(self.fitting.module).load_state_dict(checkpoints.load(self.saving.best).model)
            module = self.fitting.module
            self.ranks.share([*module.parameters(), *module.buffers()])
        self.ranks.share(self.fitting.module.buffers())  # each process has its own between synchronised steps
        return FitResult(
            metrics=metrics,
            history=self.history,
            epochs=len(self.history),
            steps=self.fitting.plan.steps,
            stopped_early=stopped_early,
            best_epoch=self.judge.best.best_epoch,
            best_checkpoint=self.saving.best,
            last_checkpoint=self.saving.last,
        )
