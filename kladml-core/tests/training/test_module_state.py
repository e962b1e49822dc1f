"""What training leaves behind in the user's module, and in the process."""

from __future__ import annotations

import random
from functools import partialmethod

import numpy as np
import pytest
import torch
import torch._dynamo.utils
from accelerate import Accelerator
from torch import nn
from torch.nn import functional as F

from kladml.config.schema import CheckpointConfig, EarlyStoppingConfig
from kladml.errors import TrainingError
from kladml.training.accelerator import fresh_state


def belongings(module):
    """Attributes and hooks of a module and all its parts, without the values of its tensors."""
    return [
        (
            type(part),
            sorted(vars(part)),
            len(part._forward_hooks),
            len(part._forward_pre_hooks),
            len(part._backward_hooks),
        )
        for part in module.modules()
    ]


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_the_module_itself_is_not_wrapped(trainer, net, regression, precision):
    module = net()
    before, keys = belongings(module), list(module.state_dict())

    trainer(mixed_precision=precision).fit(module, regression(), regression(5), loss="mse")

    assert belongings(module) == before
    assert list(module.state_dict()) == keys
    assert all("forward" not in vars(part) for part in module.modules())
    assert module(torch.zeros(1, 3)).dtype == torch.float32


def test_it_is_not_wrapped_after_a_failure_either(trainer, net, regression):
    module = net()
    before = belongings(module)
    inputs, targets = regression(5)

    with pytest.raises(RuntimeError):
        trainer(mixed_precision="bf16").fit(module, (inputs[:, :2], targets), loss="mse")
    assert belongings(module) == before


def test_another_precision_in_the_same_process_works(trainer, net, regression, weights, same):
    states = {}
    for precision in ("no", "bf16", "no", "bf16"):
        module = net()
        trainer(mixed_precision=precision).fit(module, regression(), loss="mse")
        states.setdefault(precision, []).append(weights(module))

    assert same(*states["no"])
    assert same(*states["bf16"])
    assert not same(states["no"][0], states["bf16"][0])


def test_an_accelerator_of_the_users_own_is_as_good_as_before(trainer, net, regression):
    with fresh_state():
        own = Accelerator(cpu=True, mixed_precision="no")
        trainer(mixed_precision="bf16").fit(net(), regression(), loss="mse")
        with pytest.raises(ZeroDivisionError):
            trainer(mixed_precision="bf16").fit(net(), regression(), loss=lambda *_: 1 / 0)
        module, optimizer = own.prepare(net(), torch.optim.SGD(net().parameters()))

        assert own.mixed_precision == Accelerator(cpu=True).mixed_precision == "no"
        assert module(torch.zeros(1, 3)).dtype == torch.float32
        assert not optimizer.step_was_skipped


def test_the_same_module_is_trained_on_by_the_next_fit(trainer, net, regression):
    module = net()
    first = trainer().fit(module, regression(), loss="mse")
    second = trainer().fit(module, regression(), loss="mse")

    assert second.history[0]["loss"] < first.history[-1]["loss"]


def test_no_random_state_is_left_to_chance(trainer, net, regression):
    def after():
        trainer(seed=3).fit(net(dropout=0.5), regression(), loss="mse")
        return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002, S311 - what users draw from

    first = after()
    torch.manual_seed(99)
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002

    assert after() == first


class Modes(nn.Module):
    """Notes in which mode its parts are in each step."""

    def __init__(self):
        super().__init__()
        self.norm, self.drop, self.linear = nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 1)
        self.seen = {"train": set(), "val": set()}

    def step(self, batch, stage):
        self.seen[stage].add((self.training, self.norm.training, self.drop.training))
        inputs, targets = batch
        return F.mse_loss(self.linear(self.drop(self.norm(inputs))), targets)

    def training_step(self, batch):
        return self.step(batch, "train")

    def validation_step(self, batch):
        return self.step(batch, "val")

    def modes(self):
        return [part.training for part in self.modules()]


def test_a_frozen_part_stays_in_evaluation_mode(trainer, regression):
    module = Modes()
    module.norm.eval()
    statistics = module.norm.running_mean.clone()

    trainer().fit(module, regression(), regression(5))

    assert module.seen == {"train": {(True, False, True)}, "val": {(False, False, False)}}
    assert torch.equal(module.norm.running_mean, statistics)
    assert module.modes() == [True, False, True, True]


def test_a_module_in_evaluation_mode_is_trained_in_training_mode_and_given_back_as_it_was(trainer, regression):
    module = Modes().eval()

    trainer().fit(module, regression(), regression(5))

    assert module.seen == {"train": {(True, True, True)}, "val": {(False, False, False)}}
    assert module.modes() == [False] * 4


def test_a_module_that_freezes_parts_in_its_own_train_method_is_obeyed(trainer, regression):
    class Freezing(Modes):
        def train(self, mode=True):
            super().train(mode)
            self.norm.eval()
            return self

    module = Freezing()
    trainer().fit(module, regression(), regression(5))

    assert module.seen["train"] == {(True, False, True)}


@pytest.mark.parametrize("call", ["validate", "predict"])
def test_validating_and_predicting_leave_every_mode_as_it_was(trainer, regression, call):
    module = Modes()
    module.drop.eval()
    module.forward = module.linear.forward
    data = regression(5)

    if call == "validate":
        trainer().validate(module, data)
    else:
        trainer().predict(module, data[0])

    assert module.modes() == [True, True, False, True]


class Caching(nn.Module):
    """Keeps a tensor of the first call, as models keep masks or positions."""

    def __init__(self):
        super().__init__()
        self.linear, self.mask = nn.Linear(3, 3), None

    def forward(self, inputs):
        if self.mask is None:
            self.mask = torch.ones(3)
        return self.linear(inputs) * self.mask


WATCHING = EarlyStoppingConfig(enabled=True, monitor="val_accuracy")  # one batch is validated before the first step


def test_what_a_module_caches_while_validated_can_be_used_without_inference_mode(trainer, classification):
    module = Caching()
    trainer(early_stopping=WATCHING, inference_mode=False).fit(
        module, classification(), classification(5), loss="cross_entropy"
    )

    assert module.mask is not None


def test_what_a_module_caches_in_inference_mode_is_said_with_the_way_out(trainer, classification):
    with pytest.raises(TrainingError, match=r"training\.inference_mode"):
        trainer(early_stopping=WATCHING).fit(Caching(), classification(), classification(5), loss="cross_entropy")


def test_what_a_module_caches_while_predicting_can_be_used_in_training(trainer, classification):
    module = Caching()
    trainer().predict(module, torch.ones(2, 3))
    trainer().fit(module, classification(), loss="cross_entropy")

    assert module.mask is not None


@pytest.mark.parametrize("inference_mode", [True, False])
def test_validation_records_no_gradients_and_is_in_inference_mode_if_wanted(trainer, regression, inference_mode):
    class Noting(Modes):
        def step(self, batch, stage):
            noted[stage].add((torch.is_inference_mode_enabled(), torch.is_grad_enabled()))
            return super().step(batch, stage)

    noted = {"train": set(), "val": set()}
    module, chosen = Noting(), trainer(inference_mode=inference_mode, validate_every_steps=1)
    chosen.fit(module, regression(23), regression(11, seed=2))

    assert noted == {"train": {(False, True)}, "val": {(inference_mode, False)}}
    assert module.seen == {"train": {(True, True, True)}, "val": {(False, False, False)}}
    noted["val"].clear()
    chosen.validate(module, regression(5))
    assert noted["val"] == {(inference_mode, False)}


def test_parameters_that_need_no_gradient_stay_as_they_are(trainer, net, regression, weights):
    module = net()
    module[0].requires_grad_(requires_grad=False)
    before = weights(module)

    trainer(optimizer_args={"weight_decay": 0.1}).fit(module, regression(), loss="mse")

    assert torch.equal(module[0].weight, before["0.weight"])
    assert not torch.equal(module[3].weight, before["3.weight"])


def test_compiled_training_gives_the_same_weights_and_clean_keys(trainer, net, regression, tmp_path, monkeypatch):
    # All of torch.compile but its last stage, which calls a C++ compiler for half a minute.
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="eager"))
    compiled = torch._dynamo.utils.counters["stats"]
    before = compiled["unique_graphs"]
    module, reference = net(), net()
    keys = list(module.state_dict())
    settings = {"max_epochs": 2, "checkpoint": CheckpointConfig(restore_best=True)}
    chosen = trainer(compile=True, checkpoint_dir=tmp_path, **settings)

    result = chosen.fit(module, regression(), regression(5), loss="mse")
    trainer(checkpoint_dir=tmp_path / "reference", **settings).fit(reference, regression(), regression(5), loss="mse")

    assert compiled["unique_graphs"] > before
    assert list(module.state_dict()) == keys
    assert module._compiled_call_impl is None
    for name, value in module.state_dict().items():
        assert torch.allclose(value, reference.state_dict()[name], atol=1e-5), name
    fresh = net(seed=5)
    chosen.load_weights(fresh, result.best_checkpoint)
    assert torch.equal(fresh[0].weight, module[0].weight)


def test_a_module_that_was_compiled_before_is_saved_with_clean_keys(trainer, net, regression, tmp_path):
    module = torch.compile(net(), backend="eager")
    assert all(name.startswith("_orig_mod.") for name in module.state_dict())
    chosen = trainer(max_epochs=2, checkpoint_dir=tmp_path, checkpoint=CheckpointConfig(restore_best=True))
    result = chosen.fit(module, regression(), loss="mse")

    for other in (net(seed=5), torch.compile(net(seed=5), backend="eager")):
        chosen.load_weights(other, result.best_checkpoint)
        assert all(map(torch.equal, other.state_dict().values(), module.state_dict().values()))
