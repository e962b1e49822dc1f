"""What callbacks are told, in which order, and that nobody's exception is lost."""

from __future__ import annotations

import traceback

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kladml.config.schema import CheckpointConfig, SchedulerConfig
from kladml.training import FitInfo, TrainerCallback


def names(recorder):
    return [call[0] for call in recorder.calls]


def test_the_order_of_calls(trainer, net, regression, recorder, tmp_path):
    chosen = trainer(checkpoint_dir=tmp_path, callbacks=[recorder], max_epochs=2, batch_size=12, log_every=1)
    chosen.fit(net(), regression(23), regression(5), loss="mse")

    epoch = ["step", "step", "epoch_ended"]
    told = names(recorder)
    assert [name for name in told if name != "checkpoint_saved"] == ["fit_started", *epoch, *epoch, "fit_ended"]
    # Checkpoints are written meanwhile, and told between two steps or at the end.
    assert told.count("checkpoint_saved") == 2
    assert told.index("checkpoint_saved") > told.index("epoch_ended")
    assert told[-1] == "fit_ended"


def test_every_callback_is_called_in_the_order_given(trainer, net, regression):
    calls = []

    class Numbered(TrainerCallback):
        def __init__(self, number):
            self.number = number

        def on_epoch_ended(self, epoch, step, metrics):
            calls.append((self.number, epoch))

    trainer(callbacks=(Numbered(1), Numbered(2)), max_epochs=2).fit(net(), regression(), loss="mse")

    assert calls == [(1, 1), (2, 1), (1, 2), (2, 2)]


def test_what_is_known_before_the_first_step(trainer, net, regression, recorder):
    module = net()
    module[0].bias.requires_grad_(requires_grad=False)
    settings = {"max_epochs": 2, "mixed_precision": "bf16", "gradient_accumulation_steps": 3, "batch_size": 5}
    trainer(callbacks=[recorder], **settings).fit(module, regression(23), loss="mse")

    assert recorder.named("fit_started") == [
        (FitInfo(max_epochs=2, steps_per_epoch=2, device="cpu", mixed_precision="bf16", parameters=3 * 5 + 5 + 1),)
    ]


def test_the_steps_of_an_epoch_are_unknown_for_data_without_length(trainer, net, regression, recorder):
    class Batches:
        def __iter__(self):
            return iter([regression(4), regression(3)])

    trainer(callbacks=[recorder]).fit(net(), Batches(), loss="mse")

    assert recorder.named("fit_started")[0][0].steps_per_epoch is None


@pytest.mark.parametrize(("every", "steps"), [(0, []), (1, [*range(1, 10)]), (2, [2, 4, 6, 8]), (4, [4, 8]), (50, [])])
def test_a_step_is_told_every_so_many_optimizer_steps(trainer, net, regression, recorder, every, steps):
    trainer(callbacks=[recorder], log_every=every).fit(net(), regression(23), loss="mse")  # 3 epochs of 3 steps

    assert [call[1] for call in recorder.named("step")] == steps
    assert [call[0] for call in recorder.named("step")] == [(step - 1) // 3 + 1 for step in steps]


def test_a_steps_loss_is_the_mean_of_the_epoch_so_far_and_its_rate_the_one_that_was_used(
    trainer, net, regression, recorder
):
    inputs, targets = regression(23)
    module = net()
    each = F.mse_loss(module(inputs), targets, reduction="none").detach().flatten()
    schedule = SchedulerConfig(name="ExponentialLR", interval="step", args={"gamma": 0.5})
    settings = {"lr": 1e-12, "shuffle": False, "log_every": 1, "batch_size": 4, "gradient_accumulation_steps": 2}
    trainer(callbacks=[recorder], max_epochs=2, scheduler=schedule, **settings).fit(
        module, (inputs, targets), loss="mse"
    )

    found = recorder.named("step")
    assert [loss for _, _, loss, _ in found] == pytest.approx([each[:seen].mean().item() for seen in (8, 16, 23)] * 2)
    assert [lr for *_, lr in found] == pytest.approx([1e-12 * 0.5**step for step in range(6)])


def test_the_metrics_of_an_epoch_and_the_result_are_the_same(trainer, net, classification, recorder, tmp_path):
    chosen = trainer(callbacks=[recorder], checkpoint_dir=tmp_path)
    result = chosen.fit(net(3), classification(), classification(7, seed=2), loss="cross_entropy")

    ended = recorder.named("epoch_ended")
    assert [(epoch, step) for epoch, step, _ in ended] == [(1, 3), (2, 6), (3, 9)]
    assert [metrics for *_, metrics in ended] == result.history
    assert result.metrics == result.history[-1]
    assert set(result.metrics) == {"loss", "accuracy", "lr", "val_loss", "val_accuracy"}
    assert recorder.named("fit_ended") == [(result,)]
    assert (result.epochs, result.steps, result.stopped_early) == (3, 9, False)


@pytest.mark.parametrize(("every", "steps"), [(1, [*range(1, 10)]), (2, [2, 4, 6, 8]), (4, [4, 8]), (50, [])])
def test_validations_inside_an_epoch_are_told_with_the_means_until_then(
    trainer, net, regression, recorder, every, steps
):
    """The metrics are those that a training of as many steps ends with; validating disturbs no dropout."""
    train, validation, dropout = regression(23), regression(7, seed=2), 0.3
    result = trainer(callbacks=[recorder], validate_every_steps=every).fit(
        net(dropout=dropout), train, validation, loss="mse"
    )

    told = recorder.named("validated")
    assert [(epoch, step) for epoch, step, _ in told] == [((step - 1) // 3 + 1, step) for step in steps]
    for _, step, metrics in told:
        reference = trainer(max_steps=step).fit(net(dropout=dropout), train, validation, loss="mse")
        assert metrics == reference.metrics
    assert len(recorder.named("epoch_ended")) == len(result.history) == 3
    for epoch, metrics in enumerate(result.history, start=1):
        assert ("val_loss" in metrics) == (every <= 3 * epoch)


def test_a_checkpoint_is_whole_when_it_is_told(trainer, net, regression, recorder, tmp_path):
    class Checking(TrainerCallback):
        def on_checkpoint_saved(self, path, step, *, is_best):
            replaced = step == 6  # a newer one may be complete already, and neither the best nor the newest is removed
            assert (path / "MANIFEST.json").is_file() or replaced
            assert path.name == f"step-{step:08d}"

    saving = CheckpointConfig(keep_last=1)
    chosen = trainer(callbacks=[Checking(), recorder], checkpoint_dir=tmp_path, checkpoint=saving, lr=0.0)
    result = chosen.fit(net(), regression(), regression(4), loss="mse")

    saved = recorder.named("checkpoint_saved")
    assert [(step, is_best) for _, step, is_best in saved] == [(3, True), (6, False), (9, False)]
    assert (result.best_checkpoint, result.last_checkpoint) == (saved[0][0], saved[-1][0])
    assert [path for path, *_ in saved if path.exists()] == [saved[0][0], saved[-1][0]]


class MyError(Exception):
    """An exception that nobody else knows."""


@pytest.mark.parametrize(
    "method", ["on_fit_started", "on_step", "on_epoch_ended", "on_checkpoint_saved", "on_fit_ended"]
)
@pytest.mark.parametrize("error", [MyError, AttributeError, TypeError, KeyboardInterrupt])
def test_an_exception_of_a_callback_ends_training_with_it(trainer, net, regression, tmp_path, method, error):
    raised = error("mine")

    class Raising(TrainerCallback):
        pass

    def method_of_mine(*_, **__):
        raise raised

    setattr(Raising, method, method_of_mine)

    with pytest.raises(error) as caught:
        trainer(callbacks=[Raising()], checkpoint_dir=tmp_path, log_every=1).fit(net(), regression(), loss="mse")

    assert caught.value is raised
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "method_of_mine"


class Raising(nn.Module):
    def __init__(self, error, where):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 1))
        self.error, self.where = error, where

    def check(self, where):
        if where == self.where:
            raise self.error

    def training_step(self, batch):
        self.check("training_step")
        return F.mse_loss(batch[0] @ self.weight, batch[1])

    def validation_step(self, batch):
        self.check("validation_step")
        return F.mse_loss(batch[0] @ self.weight, batch[1])

    def configure_optimizers(self):
        self.check("configure_optimizers")
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("where", ["training_step", "validation_step", "configure_optimizers"])
@pytest.mark.parametrize("error", [MyError, AttributeError, TypeError, RuntimeError, KeyboardInterrupt])
def test_an_exception_of_the_model_is_the_models_own(trainer, regression, where, error):
    raised = error("mine")

    with pytest.raises(error) as caught:
        trainer().fit(Raising(raised, where), regression(), regression(5))

    assert caught.value is raised
    assert where in [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]


def test_a_missing_attribute_in_a_step_is_not_taken_for_a_missing_step(trainer, regression):
    class Misspelt(nn.Linear):
        def training_step(self, batch):
            return self.wieght.mean()

    with pytest.raises(AttributeError, match="wieght"):
        trainer().fit(Misspelt(3, 1), regression(), loss="mse")


def test_an_exception_of_the_data_is_the_datas_own(trainer, net):
    class Broken(torch.utils.data.Dataset):
        def __len__(self):
            return 5

        def __getitem__(self, index):
            raise MyError

    with pytest.raises(MyError):
        trainer().fit(net(), Broken(), loss="mse")
