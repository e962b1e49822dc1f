"""Loss scaling, as in fp16, with torch's real scaler on the CPU: what a GPU would do with smaller numbers."""

from __future__ import annotations

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import AutocastKwargs
from torch import nn
from torch.nn import functional as F

from kladml.config.schema import SchedulerConfig
from kladml.errors import NonFiniteError
from kladml.training import fitting


@pytest.fixture
def scaled(monkeypatch):
    """Give the trainer an accelerator that scales losses; return a function that sets the first scale."""

    def use(init_scale):
        def make(config):
            accelerator = Accelerator(cpu=True, kwargs_handlers=[AutocastKwargs(enabled=False)])
            accelerator.native_amp = True
            accelerator.state._mixed_precision = "fp16"
            accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=init_scale, growth_interval=10**6)
            return accelerator

        monkeypatch.setattr(fitting, "make_accelerator", make)

    return use


@pytest.mark.parametrize("clipping", [None, 0.1])
@pytest.mark.parametrize("accumulation", [1, 3])
def test_scaling_by_a_power_of_two_changes_no_bit(trainer, net, regression, scaled, same, clipping, accumulation):
    settings = {"gradient_clipping": clipping, "gradient_accumulation_steps": accumulation, "batch_size": 4}
    module, reference = net(), net()
    expected = trainer(**settings).fit(reference, regression(23), loss="mse")

    scaled(2.0**10)
    result = trainer(**settings).fit(module, regression(23), loss="mse")

    assert same(module.state_dict(), reference.state_dict())
    assert result.history == expected.history
    assert result.steps == expected.steps


class Steep(torch.autograd.Function):
    @staticmethod
    def forward(_, tensor):
        return torch.zeros_like(tensor)

    @staticmethod
    def backward(_, gradient):
        return gradient * 2.5e38


class Overflowing(nn.Module):
    """Its gradient overflows where the scale is above one."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 1))

    def training_step(self, batch):
        return F.mse_loss(batch[0] @ self.weight, batch[1]).detach() + Steep.apply(self.weight.sum())


def test_a_step_that_the_scaler_skips_is_none(trainer, regression, scaled, recorder, weights, same, tmp_path):
    """The scale halves from 8, so that the first three of nine steps, which are an epoch, are skipped."""
    scaled(8.0)
    module, before = Overflowing(), weights(Overflowing())
    schedule = SchedulerConfig(name="ExponentialLR", interval="step", args={"gamma": 0.5})
    settings = {"lr": 1e-38, "log_every": 1, "scheduler": schedule, "max_epochs": 3}
    result = trainer(callbacks=[recorder], checkpoint_dir=tmp_path, **settings).fit(module, regression(23))

    assert result.steps == 6
    assert [step for _, step, *_ in recorder.named("step")] == [1, 2, 3, 4, 5, 6]
    assert result.metrics["lr"] == pytest.approx(1e-38 * 0.5**6)
    assert set(result.history[0]) == {"loss", "lr"}, "the epoch without a step has a loss as well"
    assert not same(weights(module), before)


def test_max_steps_counts_the_steps_that_were_taken(trainer, regression, scaled):
    scaled(8.0)

    assert trainer(lr=1e-38, max_steps=2).fit(Overflowing(), regression(23)).steps == 2


class Sick(nn.Module):
    """Its loss or its gradient is no number in the fifth batch and all after it."""

    def __init__(self, where):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3, 1))
        self.where, self.seen = where, 0

    def training_step(self, batch):
        self.seen += 1
        loss = F.mse_loss(batch[0] @ self.weight, batch[1])
        if self.seen < 5:
            return loss
        return loss * float("nan") if self.where == "loss" else loss + Endless.apply(self.weight.sum())


class Endless(torch.autograd.Function):
    @staticmethod
    def forward(_, tensor):
        return torch.zeros_like(tensor)

    @staticmethod
    def backward(_, gradient):
        return gradient * float("inf")


@pytest.mark.parametrize("reads_at_once", [True, False])
@pytest.mark.parametrize("where", ["loss", "gradient"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_what_no_scale_makes_finite_ends_the_training(
    trainer, regression, scaled, weights, same, monkeypatch, reads_at_once, where, accumulation
):
    """A scaler alone would skip steps for ever."""
    settings = {"batch_size": 4, "max_epochs": 20, "gradient_accumulation_steps": accumulation}
    module, reference = Sick(where), Sick(where)
    scaled(8.0)
    trainer(**settings, max_steps=4 // accumulation).fit(reference, regression(24))
    built = fitting.Fitting.__init__

    def build(self, *arguments, **options):
        built(self, *arguments, **options)
        self._reads_at_once = reads_at_once

    monkeypatch.setattr(fitting.Fitting, "__init__", build)
    what = "the loss became nan" if where == "loss" else "a gradient became too large for fp16 at any scale"

    with pytest.raises(NonFiniteError, match=rf"{what} in optimizer step {4 // accumulation + 1}, and the weights"):
        trainer(**settings).fit(module, regression(24))

    assert same(weights(module), weights(reference))
