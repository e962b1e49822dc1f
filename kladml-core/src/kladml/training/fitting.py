"""One fit: the objects that a training loop works with, and the loop's pieces."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import send_to_device

from kladml.errors import DataError, NonFiniteError
from kladml.training.accelerator import make_accelerator
from kladml.training.data_parallel import refuse_left_out
from kladml.training.evaluation import evaluate, keeps_validation_tensors, number
from kladml.training.interruption import SIGNALS, Interruption
from kladml.training.launching.heartbeat import Phase, open_heartbeat
from kladml.training.means import RunningMeans
from kladml.training.memory import out_of_memory, with_smaller_batches
from kladml.training.objective import StepModule
from kladml.training.optimizers import build_optimization
from kladml.training.plan import StepPlan
from kladml.training.ranks import peers_watched
from kladml.training.rng import restore_rng, rng_state
from kladml.training.strategy import make_strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import nn

    from kladml.config.schema import TrainingConfig
    from kladml.training.data.batches import BatchSource
    from kladml.training.objective import Loss
    from kladml.training.ranks import Ranks


class Fitting:
    """A module, its loss, its optimizer and its step plan, prepared by Accelerate for one fit.

    Args:
        module: The user's module, which is trained in place.
        loss: Loss of a module without `training_step`.
        config: How to train.
        ranks: This process among those that train together.

    Attributes:
        position: Batches of the current epoch that were trained on so far, by all processes together.
        means: Means over the current epoch so far.
        interruption: The signal that asked for the end, if one did.
        stop_signal: The same as all processes know it: set on each of them at the same batch.
        save_due: Whether the main process's clock says that a checkpoint is due; known to all at the same batch.
    """

    def __init__(self, module: nn.Module, loss: Loss | None, config: TrainingConfig, ranks: Ranks) -> None:
        self.module = module
        self.config = config
        self.ranks = ranks
        self.position = 0
        self.means = RunningMeans()
        self.interruption = Interruption()
        self.stop_signal = 0
        self.wants_save = False
        self.save_due = False
        self._modes = [(part, part.training) for part in module.modules()]
        self._frozen = [part for part, training in self._modes if not training] if module.training else []
        self.accelerator = make_accelerator(config)
        step_module = StepModule(module, loss)
        if config.compile:
            step_module.compile()
        self.strategy = make_strategy(step_module, config, ranks, self.accelerator)
        self.optimization = build_optimization(module, config)
        self.optimization.optimizer.zero_grad()  # of whatever the module went through before
        self.heartbeat = open_heartbeat()
        self.step_module, optimizer = self.strategy.prepare(step_module, self.optimization.optimizer)
        parameters = [p for group in self.optimization.optimizer.param_groups for p in group["params"]]
        self.plan = StepPlan(
            self.accelerator,
            self.strategy,
            self.step_module,
            optimizer,
            parameters,
            accumulation=config.gradient_accumulation_steps,
            clipping=config.gradient_clipping,
        )
        self._count = 0
        self._reads_at_once = self.accelerator.device.type == "cpu"
        self._steps_before = 0
        # Nothing hooks into a module of ours, and a call around its forward takes as long as a small layer.
        direct = ranks.world == 1 and not config.compile
        self._forward: Callable[..., Any] = self.step_module.forward if direct else self.step_module

    @property
    def lr(self) -> float:
        """Learning rate of the first parameter group."""
        return float(self.optimization.optimizer.param_groups[0]["lr"])

    @property
    def is_done(self) -> bool:
        """Whether `max_steps` is reached."""
        return self.config.max_steps is not None and self.plan.steps >= self.config.max_steps

    def begin_epoch(self) -> None:
        """Forget the means and the position of the epoch before."""
        self.means = RunningMeans()
        self.position = 0

    def resumed(self, steps: int) -> None:
        """Take note of how many steps were taken before this fit."""
        self.plan.steps = self._steps_before = steps

    def train_epoch(self, source: BatchSource, epoch: int) -> Iterator[bool]:
        """Train an epoch from `position` on, pausing after every batch; tell whether it ended an optimizer step.

        The loop in the caller decides what happens between batches: logging, saving, stopping.
        """
        self.train_mode()
        world, total = self.ranks.world, source.batches_per_epoch()
        index, found = self.position // world, False
        train = self._train_alone if world == 1 else self._train_together
        device = self.accelerator.device
        on_cpu = device.type == "cpu"
        beat = self.heartbeat.beat
        beat(self._count, Phase.FETCHING)
        for content, size, is_last in source.epoch(epoch, self.position):
            found = True
            beat(self._count, Phase.COMPUTING)
            batch = content if on_cpu else send_to_device(content, device, non_blocking=True)
            try:
                stepped = train(batch, index, size, is_last=is_last)
            except (RuntimeError, MemoryError) as error:
                if out_of_memory(error):
                    raise with_smaller_batches(self.config, size, error) from error
                if "Inference tensors" in str(error):
                    raise keeps_validation_tensors(error) from error
                raise
            index += 1
            self.position += world
            if total is not None and self.position > total:
                self.position = total
            yield stepped
            self._count += 1
            beat(self._count, Phase.FETCHING)
        if not (found or self.position):
            problem = "the data loader gave no batch"
            raise DataError(problem, next_step="check that it is not used up and that drop_last leaves a batch")
        if self.plan.step():  # what a stream of unknown length left in its last window
            self.optimization.end_of_step()
            yield True

    def _train_alone(self, batch: Any, index: int, size: float, *, is_last: bool) -> bool:
        """Train on a batch in the only process; return whether it ended an optimizer step."""
        plan = self.plan
        closes = plan.closes_window(is_last=is_last)
        loss, metrics = self._forward(batch, index, "train")
        if "num_items" in metrics:
            size = number(metrics.pop("num_items"))
        value, is_finite = self._read(loss)
        if not is_finite:
            raise self._not_finite(value)
        plan.backward(loss, size, size)
        self._take_note(metrics, value, size)
        self.stop_signal = self.interruption.signal_number
        if not (closes and plan.step()):
            return False
        self.optimization.end_of_step()
        return True

    def _train_together(self, batch: Any, index: int, size: float, *, is_last: bool) -> bool:
        """Train on a batch while the other processes train on theirs."""
        plan = self.plan
        closes = plan.closes_window(is_last=is_last)
        with plan.context(closes=closes):
            with peers_watched():
                loss, metrics = self.step_module(batch, index, "train")
            if "num_items" in metrics:
                size = number(metrics.pop("num_items")) if size else 0
            value, is_finite = self._read(loss)
            total, is_finite = self._agree(size, is_finite=is_finite)
            if not is_finite:
                raise self._not_finite(value)
            self.heartbeat.beat(self._count, Phase.BACKWARD)
            with peers_watched():
                plan.backward(loss, size, total)
            if closes and plan.steps == self._steps_before and not self.config.find_unused_parameters:
                refuse_left_out(self.module)
        self._take_note(metrics, value, size)
        with peers_watched():
            stepped = closes and plan.step()
        if stepped:
            self.optimization.end_of_step()
        return stepped

    def _read(self, loss: torch.Tensor) -> tuple[Any, bool]:
        """Return the loss, as a number where reading it is cheap, and whether it is known not to be finite."""
        if self._reads_at_once:
            value: float = loss.item()
            return value, math.isfinite(value)
        return loss.detach(), self.plan.judges_later or bool(torch.isfinite(loss))

    def _take_note(self, metrics: dict[str, Any], value: Any, size: float) -> None:
        if metrics and self._reads_at_once:
            metrics = {name: number(metric) for name, metric in metrics.items()}
        metrics["loss"] = value
        self.means.add(metrics, size)

    def _agree(self, size: float, *, is_finite: bool) -> tuple[float, bool]:
        """Tell the other processes of this batch; return the samples of all, and whether all losses are finite."""
        self.heartbeat.beat(self._count, Phase.EXCHANGING)
        asked = [float(self.interruption.signal_number == each) for each in SIGNALS]
        total, bad, due, *seen = self.ranks.add([size, float(not is_finite), float(self.wants_save), *asked])
        self.save_due = due > 0
        self.stop_signal = next((each for each, times in zip(SIGNALS, seen, strict=True) if times), 0)
        return total, not bad

    def _not_finite(self, value: Any) -> NonFiniteError:
        number = float(value)
        where = "the loss" if not math.isfinite(number) else "the loss of another process"
        return self.plan.non_finite(where, str(number) if not math.isfinite(number) else "NaN or infinite")

    def check_finite(self) -> None:
        """Say what a device has found out about losses and gradients in the meantime.

        Raises:
            NonFiniteError: One of them was NaN or infinite; the weights are those before that step.
        """
        bad = self.plan.finite.first_bad_step()
        if bad is not None:
            raise self.plan.non_finite("a loss or gradient", "NaN or infinite", self._steps_before + bad)

    def train_mode(self) -> None:
        """Put the module into training mode, but for the parts that the user froze in evaluation mode."""
        self.module.train()
        for part in self._frozen:
            part.training = False

    def validate(self, source: BatchSource, batches: int | None = None) -> dict[str, float]:
        """Return the means over validation data; the module is in training mode again afterwards, if it was.

        Args:
            source: The data.
            batches: How many batches of each process are looked at; all by default.
        """
        with self.strategy.validating():
            return evaluate(
                self.step_module,
                source,
                self.ranks,
                self.accelerator.device,
                self.module,
                inference=self.config.inference_mode and self.strategy.infers,
                batches=batches,
                beat=lambda: self.heartbeat.beat(self._count, Phase.VALIDATING),
            )

    def first_validation_metrics(self, source: BatchSource) -> dict[str, float]:
        """Return the metrics of the first validation batch; the random state stays as it was."""
        before = rng_state(self.accelerator.device)
        try:
            return self.validate(source, batches=1)
        finally:
            restore_rng(before, self.accelerator.device)

    def saving(self) -> None:
        """Note that a checkpoint is being taken."""
        self.heartbeat.beat(self._count, Phase.SAVING)

    def close(self) -> None:
        """Let go of the prepared objects; each part of the user's module is in the mode that it was in before."""
        self.heartbeat.beat(self._count, Phase.ENDED)
        for part, training in self._modes:
            part.training = training
        if self.accelerator.device.type != "cpu":  # it collects garbage, which takes longer than a small training
            self.accelerator.free_memory()


def uncompiled(module: nn.Module) -> nn.Module:
    """Return the module inside one that `torch.compile` wrapped, whose state has clean keys."""
    original: nn.Module = getattr(module, "_orig_mod", module)
    return original
