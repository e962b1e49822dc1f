"""What ends a training: numbers that are none, and what this machine or this version cannot do."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from kladml.config import TrainingConfig
from kladml.config.schema import CheckpointConfig, EarlyStoppingConfig, OptimizerConfig
from kladml.errors import NonFiniteError, TrainingError, WrongTypeError
from kladml.training import UniversalTrainer


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("clipping", [None, 1.0])
def test_a_loss_that_is_no_number_raises_before_the_update(
    trainer, net, regression, recorder, weights, same, value, clipping
):
    inputs, targets = regression(24)  # 3 batches of 8
    targets[17] = value
    chosen = trainer(shuffle=False, gradient_clipping=clipping, log_every=1, callbacks=[recorder])
    module, reference = net(), net()

    with pytest.raises(
        NonFiniteError, match=r"the loss became (nan|inf) in optimizer step 3, and the weights were left"
    ):
        chosen.fit(module, (inputs, targets), loss="mse")
    trainer(shuffle=False, gradient_clipping=clipping, max_steps=2).fit(reference, (inputs, targets), loss="mse")

    assert same(weights(module), weights(reference))
    assert [call[1] for call in recorder.named("step")] == [1, 2]
    assert not recorder.named("fit_ended")


class BadGradient(torch.autograd.Function):
    """The identity, with a gradient that is no number."""

    @staticmethod
    def forward(_, tensor):
        return tensor.clone()

    @staticmethod
    def backward(_, gradient):
        return gradient * math.nan


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("clipping", [None, 1.0])
def test_a_gradient_that_is_no_number_raises_before_the_update(
    trainer, net, regression, weights, same, optimizer, accumulation, clipping
):
    class Sick(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def training_step(self, batch, batch_idx):
            inputs, targets = batch
            output = self.net(inputs)
            if batch_idx == 4:  # of 0 to 5
                output = BadGradient.apply(output)
            return nn.functional.mse_loss(output, targets)

    settings = {
        "batch_size": 4,
        "optimizer": optimizer,
        "gradient_accumulation_steps": accumulation,
        "gradient_clipping": clipping,
    }
    step = 4 // accumulation + 1
    module, reference = Sick(), Sick()

    what = "the gradient norm became nan" if clipping else "a gradient became NaN or infinite"
    with pytest.raises(NonFiniteError, match=f"{what} in optimizer step {step}, and the weights were left"):
        trainer(**settings).fit(module, regression(23))
    trainer(max_steps=step - 1, **settings).fit(reference, regression(23))

    assert same(weights(module), weights(reference))
    assert all(parameter.grad is None for parameter in module.parameters())


def test_gradients_of_an_earlier_training_are_not_used(trainer, net, regression, weights, same):
    module, reference = net(), net()
    module(torch.ones(1, 3)).sum().backward()

    trainer().fit(module, regression(), loss="mse")
    trainer().fit(reference, regression(), loss="mse")

    assert same(weights(module), weights(reference))


def test_a_validation_loss_that_is_no_number_does_not_end_training(trainer, net, regression):
    inputs, targets = regression(5)
    result = trainer().fit(net(), regression(), (inputs, targets * math.nan), loss="mse")

    assert result.epochs == 3
    assert math.isnan(result.metrics["val_loss"])
    assert result.best_epoch is None


def test_half_precision_on_the_cpu_is_refused(trainer, net, regression):
    with pytest.raises(TrainingError, match=r"fp16, which needs a GPU.*choose bf16 or no"):
        trainer(mixed_precision="fp16").fit(net(), regression(), loss="mse")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"distributed": True}, r"asks for several processes, and this is a single one.*--num-processes N'"),
        ({"distributed": True, "num_processes": 3}, r"asks for 3 processes.*torchrun --nproc-per-node 3 script\.py"),
        ({"num_processes": 2}, r"num_processes is 2, and training\.distributed is false.*set"),
    ],
)
def test_one_process_where_several_are_asked_for_is_refused(trainer, net, regression, weights, same, changes, said):
    module, reference = net(), net()
    with pytest.raises(TrainingError, match=said):
        trainer(**changes).fit(module, regression(), loss="mse")

    assert same(weights(module), weights(reference))


@pytest.mark.parametrize("changes", [{"distributed": True, "num_processes": 1}, {"num_processes": 1}])
def test_one_process_may_be_asked_for(trainer, net, regression, changes):
    assert trainer(**changes).fit(net(), regression(), loss="mse").epochs == 3


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(trainer, net, regression, device):
    if getattr(torch, "cuda" if device == "cuda" else "mps").is_available():
        pytest.skip(f"{device} is there")
    with pytest.raises(TrainingError, match=f"training.device is {device}, which this machine"):
        trainer(device=device).fit(net(), regression(), loss="mse")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (TrainingConfig(max_epochs=0), "training.max_epochs must be at least 1, not 0"),
        (TrainingConfig(batch_size=-1), "training.batch_size"),
        (TrainingConfig(gradient_accumulation_steps=0), "training.gradient_accumulation_steps"),
        (TrainingConfig(gradient_clipping=-1.0), "training.gradient_clipping"),
        (TrainingConfig(mixed_precision="fp8"), "training.mixed_precision must be one of no, fp16, bf16, not 'fp8'"),
        (TrainingConfig(device="gpu"), "training.device"),
        (TrainingConfig(early_stopping=EarlyStoppingConfig(patience=0)), "training.early_stopping.patience"),
        (TrainingConfig(early_stopping=EarlyStoppingConfig(mode="best")), "training.early_stopping.mode"),
        (TrainingConfig(checkpoint=CheckpointConfig(keep_last=0)), "training.checkpoint.keep_last"),
        (TrainingConfig(optimizer=OptimizerConfig(lr=math.nan)), "training.optimizer.lr"),
    ],
)
def test_a_configuration_made_in_python_has_the_same_bounds_as_a_file(config, said):
    with pytest.raises(WrongTypeError, match=said):
        UniversalTrainer(config)
