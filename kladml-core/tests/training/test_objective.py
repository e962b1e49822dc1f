"""How a loss is found and computed: steps of the user's own, and losses by name."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kladml.errors import ModelContractError, TrainingError
from kladml.training.objective import StepModule, resolve_loss

BATCH = (torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [5.0]]))


def module_with(step, **methods):
    """Build a module of one weight, 2.0, with a training step."""

    def init(self):
        nn.Module.__init__(self)
        self.weight = nn.Parameter(torch.tensor(2.0))

    return type("Model", (nn.Module,), {"__init__": init, "training_step": step, **methods})()


def run(module, stage="train", index=0, batch=BATCH):
    loss, metrics = StepModule(module)(batch, index, stage)
    return loss, {name: float(value) for name, value in metrics.items()}


@pytest.mark.parametrize(
    "result",
    [
        lambda loss: loss,
        lambda loss: loss.reshape(1),
        lambda loss: {"loss": loss},
        lambda loss: {"loss": loss.reshape(1, 1)},
    ],
)
def test_a_step_returns_its_loss_or_a_dict_with_it(result):
    loss, metrics = run(module_with(lambda self, batch: result(self.weight * 3)))

    assert loss.shape == ()
    assert loss.item() == 6.0
    assert loss.requires_grad
    assert metrics == {}


@pytest.mark.parametrize(
    "value",
    [
        0.5,
        np.float32(0.5),
        np.float64(0.5),
        np.array(0.5),
        np.array([0.5]),
        torch.tensor(0.5),
        torch.tensor([0.5]),
        torch.tensor(0.5, dtype=torch.bfloat16),
        torch.tensor(0.5, requires_grad=True),
        Decimal("0.5"),
    ],
    ids=repr,
)
def test_metrics_are_numbers_of_any_kind(value):
    _, metrics = StepModule(module_with(lambda self, batch: {"loss": self.weight, "half": value}))(BATCH, 0, "train")

    assert metrics == {"half": 0.5}
    assert getattr(metrics["half"], "shape", ()) == ()
    assert not getattr(metrics["half"], "requires_grad", False)


@pytest.mark.parametrize(("value", "number"), [(3, 3.0), (True, 1.0), (np.int64(3), 3.0), (torch.tensor(False), 0.0)])
def test_counts_and_truths_are_numbers_too(trainer, regression, value, number):
    module = module_with(lambda self, batch: {"loss": self.weight**2, "count": value})

    assert trainer(max_epochs=1, batch_size=9).fit(module, regression()).metrics["count"] == number


@pytest.mark.parametrize("value", [0.1, 1 / 3, 2**24 + 1, 10**15 + 1, 1e-30, np.float64(0.1), Decimal("0.1")])
def test_a_python_number_keeps_its_digits(trainer, regression, value):
    module = module_with(lambda self, batch: {"loss": self.weight**2, "exact": value})

    result = trainer(max_epochs=1).fit(module, regression(23), regression(5))

    assert result.metrics["exact"] == pytest.approx(float(value), rel=1e-14, abs=0)
    assert result.metrics["val_exact"] == pytest.approx(float(value), rel=1e-14, abs=0)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (lambda self: None, "not NoneType"),
        (lambda self: 0.5, "not float"),
        (lambda self: (self.weight, 1), "not tuple"),
        (lambda self: {"accuracy": self.weight}, "not NoneType"),
        (lambda self: {"loss": 0.5}, "not float"),
        (lambda self: self.weight.repeat(3), r"not a tensor of shape \(3,\)"),
        (lambda self: {"loss": self.weight.repeat(2, 2)}, r"not a tensor of shape \(2, 2\)"),
    ],
)
def test_a_step_that_returns_no_loss_is_refused(result, said):
    with pytest.raises(TrainingError, match=f"the step of Model must return the loss as a scalar tensor.*{said}"):
        run(module_with(lambda self, batch: result(self)))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("high", "is a str, not a number"),
        (None, "is a NoneType, not a number"),
        ([1, 2], "is a list, not a number"),
        (np.array(["a"]), "is a ndarray, not a number"),
        (np.zeros(2), r"has shape \(2,\)"),
        (torch.zeros(2, 3), r"has shape \(2, 3\)"),
    ],
    ids=repr,
)
def test_a_metric_that_is_no_number_is_refused_by_name(value, said):
    with pytest.raises(TrainingError, match=f"the metric 'quality' of Model {said}.*mean over the batch"):
        run(module_with(lambda self, batch: {"loss": self.weight, "quality": value}))


def with_index(self, batch, batch_idx):
    return {"loss": self.weight, "index": batch_idx}


def with_any(self, *arguments):
    return {"loss": self.weight, "index": arguments[1]}


def with_default(self, batch, batch_idx=-1):
    return {"loss": self.weight, "index": batch_idx}


@pytest.mark.parametrize("step", [with_index, with_any, with_default])
def test_a_step_is_given_the_batchs_index_if_it_takes_one(step):
    assert run(module_with(step), index=7)[1]["index"] == 7


def test_a_step_need_not_take_the_index():
    assert run(module_with(lambda self, batch: self.weight * len(batch[0])), index=7)[0].item() == 4.0


def test_validation_has_a_step_of_its_own_or_the_training_step():
    both = module_with(lambda self, batch: self.weight, validation_step=lambda self, batch, index: self.weight * index)
    one = module_with(lambda self, batch: self.weight)

    assert run(both, "val", index=5)[0].item() == 10.0
    assert run(both, "train")[0].item() == run(one, "val")[0].item() == 2.0


def test_a_module_without_step_and_loss_is_refused():
    with pytest.raises(ModelContractError, match="Linear has no training_step, and no loss was given"):
        StepModule(nn.Linear(1, 1))


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("cross_entropy", F.cross_entropy),
        ("mse", F.mse_loss),
        ("mse_loss", F.mse_loss),
        ("l1", F.l1_loss),
        ("nll", F.nll_loss),
        ("smooth_l1", F.smooth_l1_loss),
        ("binary_cross_entropy_with_logits", F.binary_cross_entropy_with_logits),
    ],
)
def test_a_loss_by_name_is_the_function_of_torch(name, function):
    assert resolve_loss(name) is function


def test_a_loss_may_be_a_class_a_module_or_a_function():
    module = nn.CrossEntropyLoss(label_smoothing=0.1)

    assert isinstance(resolve_loss(nn.MSELoss), nn.MSELoss)
    assert resolve_loss(module) is module
    assert resolve_loss(F.mse_loss) is F.mse_loss
    assert resolve_loss(None) is None


@pytest.mark.parametrize("name", ["cross_entropi", "relu", "", "os", "mse_loss_", "_Reduction"])
def test_a_name_that_is_no_loss_is_refused(name):
    with pytest.raises(ModelContractError, match=f"no loss named '{name}' in torch.nn.functional"):
        resolve_loss(name)


@pytest.mark.parametrize("loss", [5, ["mse"], dict])
def test_what_cannot_be_called_is_no_loss(loss):
    with pytest.raises(ModelContractError, match="which cannot be called"):
        resolve_loss(loss)


@pytest.mark.parametrize(
    "loss", ["mse", F.mse_loss, nn.MSELoss, nn.MSELoss(), lambda out, target: (out - target).square().mean()]
)
def test_all_forms_of_one_loss_train_alike(trainer, net, regression, loss):
    module, reference = net(), net()
    trainer().fit(module, regression(), loss=loss)
    trainer().fit(reference, regression(), loss="mse")

    assert torch.allclose(module[0].weight, reference[0].weight, atol=1e-6)


def test_a_loss_with_weights_of_its_own_goes_to_the_device_and_stays_out_of_the_checkpoint(
    trainer, net, classification, tmp_path
):
    module = net(3)
    result = trainer(checkpoint_dir=tmp_path).fit(
        module, classification(), loss=nn.CrossEntropyLoss(weight=torch.ones(3))
    )

    assert result.metrics["loss"] > 0
    trainer().load_weights(net(3, seed=4), result.last_checkpoint)


@pytest.mark.parametrize(
    ("loss", "outputs", "target"),
    [
        ("mse", 1, torch.zeros(4)),
        ("mse", 3, torch.zeros(4, 1)),
        ("mse", 4, torch.zeros(4)),
        ("l1", 1, torch.zeros(4, dtype=torch.int64)),
        ("mse", 1, torch.zeros(4, dtype=torch.int64)),
        ("cross_entropy", 1, torch.zeros(4, dtype=torch.int64)),
        (nn.L1Loss(), 3, torch.zeros(4, 1)),
        (lambda out, target: (out - target).abs().mean(), 1, torch.zeros(4)),
    ],
)
def test_shapes_that_a_loss_would_broadcast_in_silence_are_refused(net, loss, outputs, target):
    step = StepModule(net(outputs), resolve_loss(loss))

    with pytest.raises(ModelContractError, match=r"output of Sequential has shape \(4, \d\).*broadcast.*shapes equal"):
        step((torch.zeros(4, 3), target), 0, "train")


def quantiles(output, target):
    return (target.unsqueeze(1) - output).abs().mean()


@pytest.mark.parametrize(
    ("loss", "outputs", "target"),
    [
        ("cross_entropy", 3, torch.zeros(4, dtype=torch.int64)),
        ("cross_entropy", 3, torch.full((4, 3), 1 / 3)),
        ("multi_margin", 3, torch.zeros(4, dtype=torch.int64)),
        ("mse", 1, torch.zeros(4, 1)),
        ("l1", 1, torch.zeros(4, 1, dtype=torch.int64)),
        (quantiles, 3, torch.zeros(4)),
        (lambda out, target: F.gaussian_nll_loss(out[:, :1], target, out[:, 1:].exp()), 2, torch.zeros(4, 1)),
        (lambda out, target: out.mean(), 2, ["any", "thing"]),
    ],
)
def test_shapes_that_belong_together_are_computed(net, loss, outputs, target):
    value, _ = StepModule(net(outputs), resolve_loss(loss))((torch.zeros(4, 3), target), 0, "train")

    assert torch.isfinite(value)


@pytest.mark.parametrize("loss", ["mse", "l1", "huber", "binary_cross_entropy_with_logits", nn.MSELoss()])
def test_whole_numbers_are_targets_of_a_regression_too(net, loss):
    step, whole = StepModule(net(1), resolve_loss(loss)), torch.ones(4, 1, dtype=torch.int64)
    value, _ = step((torch.ones(4, 3), whole), 0, "train")
    value.backward()
    assert value == step((torch.ones(4, 3), whole.float()), 0, "train")[0]


def test_whole_numbers_are_not_rounded_by_mixed_precision():
    step = StepModule(nn.Linear(1, 1, bias=False), resolve_loss("mse"))
    nn.init.ones_(step.module.weight)
    target = torch.tensor([[257], [1025], [4099]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, _ = step((torch.tensor([[256.0], [1024.0], [4096.0]]), target), 0, "train")
    assert value.item() == pytest.approx((1 + 1 + 9) / 3)


def test_numbers_of_classes_stay_what_they_are_in_the_shape_of_the_output():
    scores, classes = torch.rand(2, 4, requires_grad=True), torch.tensor([[3, 0, -1, 1], [1, -1, 0, 0]])
    for loss in (nn.MultiLabelMarginLoss(), resolve_loss("multilabel_margin")):
        assert StepModule(nn.Identity(), loss)((scores, classes), 0, "train")[0] == loss(scores, classes)


@pytest.mark.parametrize("loss", ["cross_entropy", nn.CrossEntropyLoss()])
def test_samples_are_not_taken_for_the_classes_of_one(loss):
    step = StepModule(nn.Flatten(0), resolve_loss(loss))
    with pytest.raises(RuntimeError, match="class probabilities"):
        step((torch.rand(4, 1), torch.tensor([1, 0, 1, 1])), 0, "train")


@pytest.mark.parametrize("kind", [torch.int32, torch.uint8, torch.bool])
def test_numbers_of_classes_may_have_any_whole_type(net, kind):
    step = StepModule(net(2), resolve_loss("cross_entropy"))
    value, metrics = step((torch.ones(4, 3), torch.ones(4, dtype=kind)), 0, "train")
    value.backward()
    assert metrics["accuracy"] in (0, 1)


def test_a_loss_of_the_users_own_gets_the_targets_as_they_are(net):
    seen = []
    step = StepModule(net(1), lambda out, target: seen.append(target.dtype) or out.mean())
    step((torch.ones(4, 3), torch.ones(4, 1, dtype=torch.int64)), 0, "train")
    assert seen == [torch.int64]


def test_a_module_may_return_several_outputs_to_a_loss_that_takes_them():
    class Two(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs), inputs

    step = StepModule(Two(3, 2), lambda outputs, target: outputs[0].mean())

    loss, metrics = step((torch.zeros(4, 3), torch.zeros(4)), 0, "train")

    assert loss.shape == ()
    assert metrics == {}


@pytest.mark.parametrize("shape", [(4, 3, 2, 2), (4, 3, 5)])
def test_dense_classes_are_computed(shape):
    target = torch.zeros(shape[0], *shape[2:], dtype=torch.int64)
    value, metrics = StepModule(nn.Identity(), F.cross_entropy)((torch.zeros(shape), target), 0, "train")

    assert value.item() == pytest.approx(np.log(3))
    assert metrics == {}


@pytest.mark.parametrize("batch", [torch.zeros(2, 3), (torch.zeros(2, 3),), {"x": torch.zeros(2, 3)}, (1, 2, 3)])
def test_a_loss_needs_pairs(net, batch):
    with pytest.raises(ModelContractError, match=r"Sequential with loss= needs batches of \(inputs, targets\)"):
        StepModule(net(), F.mse_loss)(batch, 0, "train")


def test_accuracy_is_the_share_of_right_classes():
    scores = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [3.0, 2.0]])
    _, metrics = StepModule(nn.Identity(), F.cross_entropy)((scores, torch.tensor([0, 1, 1, 0])), 0, "train")

    assert metrics["accuracy"].item() == 0.75


@pytest.mark.parametrize(
    ("loss", "outputs", "target"),
    [
        ("mse", 1, torch.zeros(4, 1)),
        ("mse", 2, torch.zeros(4, 2)),
        ("cross_entropy", 2, torch.full((4, 2), 0.5)),
        ("binary_cross_entropy_with_logits", 1, torch.ones(4, 1)),
    ],
)
def test_accuracy_is_for_classes_only(net, loss, outputs, target):
    assert StepModule(net(outputs), resolve_loss(loss))((torch.zeros(4, 3), target), 0, "val")[1] == {}


def test_a_step_is_taken_even_if_a_loss_is_given(trainer, regression):
    module = module_with(lambda self, batch: {"loss": self.weight**2, "own": 1})

    assert trainer(max_epochs=1).fit(module, regression(), loss="mse").metrics["own"] == 1
