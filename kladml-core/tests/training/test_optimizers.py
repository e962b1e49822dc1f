"""Optimizers and schedules: by name from the configuration, or the model's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from kladml.config.schema import EarlyStoppingConfig, OptimizerConfig, SchedulerConfig, TrainingConfig
from kladml.errors import KladMLError, ModelContractError, WrongTypeError
from kladml.training.optimizers import build_optimization


def build(module=None, *, optimizer=None, scheduler=None):
    config = TrainingConfig(
        optimizer=OptimizerConfig(**(optimizer or {})), scheduler=SchedulerConfig(**(scheduler or {}))
    )
    return build_optimization(module if module is not None else nn.Linear(2, 1), config)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adamw", torch.optim.AdamW),
        ("AdamW", torch.optim.AdamW),
        ("SGD", torch.optim.SGD),
        ("rmsprop", torch.optim.RMSprop),
        ("radam", torch.optim.RAdam),
        ("sparseadam", torch.optim.SparseAdam),
    ],
)
def test_an_optimizer_of_torch_is_found_in_any_case(name, kind):
    built = build(optimizer={"name": name, "lr": 0.25})

    assert type(built.optimizer) is kind
    assert built.optimizer.param_groups[0]["lr"] == 0.25
    assert built.scheduler is None


def test_arguments_reach_optimizer_and_schedule():
    built = build(
        optimizer={"name": "sgd", "lr": 0.5, "args": {"momentum": 0.9, "nesterov": True}},
        scheduler={"name": "steplr", "interval": "step", "args": {"step_size": 7, "gamma": 0.3}},
    )

    assert built.optimizer.defaults["momentum"] == 0.9
    assert built.optimizer.defaults["nesterov"] is True
    assert isinstance(built.scheduler, lr_scheduler.StepLR)
    assert (built.scheduler.step_size, built.scheduler.gamma, built.interval) == (7, 0.3, "step")


def test_only_parameters_that_need_gradients_are_optimized():
    module = nn.Linear(2, 1)
    module.bias.requires_grad_(requires_grad=False)

    assert build(module).optimizer.param_groups[0]["params"] == [module.weight]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"optimizer": {"name": "adamv"}}, r"optimizer.name 'adamv' is not in torch.optim; did you mean Adam"),
        ({"optimizer": {"name": "SDG"}}, "did you mean SGD"),
        ({"optimizer": {"name": "xyzzy"}}, "choose one of ASGD, Adadelta"),
        ({"optimizer": {"name": "optimizer"}}, "optimizer.name 'optimizer' is not in torch.optim"),
        ({"optimizer": {"name": "torch"}}, "optimizer.name 'torch' is not in torch.optim"),
        (
            {"optimizer": {"name": "sgd", "args": {"momentun": 1}}},
            "SGD does not take training.*momentun",
        ),
        ({"optimizer": {"name": "adamw", "args": {"betas": [2, 2]}}}, "AdamW does not take training.optimizer.args"),
        ({"optimizer": {"name": "lbfgs"}}, "LBFGS computes the loss several times"),
        ({"scheduler": {"name": "step_lr"}}, "scheduler.name 'step_lr' is not in .*did you mean StepLR"),
        ({"scheduler": {"name": "_LRScheduler"}}, "scheduler.name '_LRScheduler' is not in"),
        ({"scheduler": {"name": "StepLR"}}, "StepLR does not take training.scheduler.args.*step_size"),
        ({"scheduler": {"name": "ReduceLROnPlateau", "interval": "step"}}, "cannot step with the optimizer"),
    ],
)
def test_what_torch_does_not_have_is_refused_with_the_next_step(given, said):
    with pytest.raises(WrongTypeError, match=said):
        build(**given)


def test_a_module_without_parameters_to_train_is_refused():
    with pytest.raises(ModelContractError, match="Tanh has no parameters that could be trained"):
        build(nn.Tanh())
    frozen = nn.Linear(1, 1).requires_grad_(requires_grad=False)
    with pytest.raises(ModelContractError, match="Linear has no parameters that could be trained"):
        build(frozen)


def module_returning(make):
    """Build a module whose configure_optimizers returns what a function of an optimizer and a schedule returns."""

    class Model(nn.Linear):
        def configure_optimizers(self):
            self.optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            return make(self.optimizer, lr_scheduler.StepLR(self.optimizer, 1))

    return Model(2, 1)


@pytest.mark.parametrize(
    ("make", "has_schedule", "interval", "monitor"),
    [
        (lambda o, s: o, False, "epoch", None),
        (lambda o, s: (o, s), True, "epoch", None),
        (lambda o, s: (o, None), False, "epoch", None),
        (lambda o, s: ([o], [s]), True, "epoch", None),
        (lambda o, s: ([o], [{"scheduler": s, "interval": "step"}]), True, "step", None),
        (lambda o, s: {"optimizer": o}, False, "epoch", None),
        (lambda o, s: {"optimizer": o, "lr_scheduler": s}, True, "epoch", None),
        (lambda o, s: {"optimizer": o, "lr_scheduler": s, "interval": "step"}, True, "step", None),
        (lambda o, s: {"optimizer": o, "lr_scheduler": s, "monitor": "val_x"}, True, "epoch", "val_x"),
        (
            lambda o, s: {"optimizer": o, "lr_scheduler": {"scheduler": s, "interval": "step", "monitor": "x"}},
            True,
            "step",
            "x",
        ),
    ],
)
def test_configure_optimizers_may_return(make, has_schedule, interval, monitor):
    module = module_returning(make)
    built = build(module, optimizer={"name": "this is not looked at"})

    assert built.optimizer is module.optimizer
    assert isinstance(built.scheduler, lr_scheduler.StepLR) == has_schedule
    assert (built.interval, built.monitor) == (interval, monitor)


@pytest.mark.parametrize(
    "make",
    [
        lambda o, s: None,
        lambda o, s: s,
        lambda o, s: "sgd",
        lambda o, s: (s, o),
        lambda o, s: (o, "StepLR"),
        lambda o, s: (o, s, s),
        lambda o, s: ([o, o], [s]),
        lambda o, s: {"lr_scheduler": s},
        lambda o, s: {"optimizer": o, "lr_scheduler": s, "interval": "batch"},
        lambda o, s: [],
        lambda o, s: torch.optim.SGD,
    ],
)
def test_configure_optimizers_may_return_nothing_else(make):
    with pytest.raises(ModelContractError, match=r"configure_optimizers of Model returned .*; return an optimizer"):
        build(module_returning(make))


def test_a_models_own_optimizer_is_held_to_the_same_rules():
    class Model(nn.Linear):
        def configure_optimizers(self):
            return torch.optim.LBFGS(self.parameters())

    with pytest.raises(WrongTypeError, match="LBFGS"):
        build(Model(2, 1))


class Plateau(nn.Linear):
    """Its validation metrics are constant, so that a plateau begins at once."""

    def __init__(self, monitor=None, mode="min"):
        super().__init__(3, 1)
        self.monitor, self.mode = monitor, mode

    def training_step(self, batch):
        return self(batch[0]).square().mean()

    def validation_step(self, batch):
        return {"loss": torch.tensor(1.0), "accuracy": 0.5, "depth": -float(self.weight.norm())}

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        plateau = lr_scheduler.ReduceLROnPlateau(optimizer, mode=self.mode, patience=0, factor=0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": self.monitor}}


@pytest.mark.parametrize(("monitor", "halvings"), [("val_loss", 2), ("val_depth", 2), ("loss", 0), (None, 2)])
def test_a_plateau_watches_its_own_metric(trainer, regression, monitor, halvings):
    result = trainer(max_epochs=4).fit(Plateau(monitor), regression(), regression(5))

    assert result.metrics["lr"] == pytest.approx(0.1 * 0.5**halvings)


def test_a_plateau_that_watches_a_missing_metric_is_refused(trainer, regression):
    with pytest.raises(KladMLError, match=r"ReduceLROnPlateau watches 'val_f1', .*monitor one of: .*val_loss"):
        trainer().fit(Plateau("val_f1"), regression(), regression(5))


def test_a_plateau_that_would_take_for_worse_what_is_better_is_refused(trainer, regression):
    stopping = EarlyStoppingConfig(enabled=True, monitor="val_accuracy")
    chosen = trainer(early_stopping=stopping)

    with pytest.raises(WrongTypeError, match=r"mode min, and the best 'val_accuracy' is its maximum.*mode to max"):
        chosen.fit(Plateau(), regression(), regression(5))
    assert chosen.fit(Plateau(mode="max"), regression(), regression(5)).epochs == 3
    assert chosen.fit(Plateau("val_loss"), regression(), regression(5)).epochs == 3
