"""The trainer against a loop in plain PyTorch that shares nothing with it but the order of the samples."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, TensorDataset, WeightedRandomSampler

from kladml.config.schema import EarlyStoppingConfig, OptimizerConfig, SchedulerConfig, TrainingConfig
from kladml.training import UniversalTrainer
from kladml.training.data.orders import order_seed


def reference_fit(
    module,
    train,
    val,
    config,
    *,
    loss,
    make_optimizer,
    make_scheduler=None,
    per_step=False,
    watched=None,
    autocast=False,
):
    """Train as textbooks do: one mean loss over all samples of an accumulation window, one step.

    Returns the metrics of every epoch and the number of steps.
    """
    inputs, targets = train
    optimizer = make_optimizer(module.parameters())
    scheduler = make_scheduler(optimizer) if make_scheduler else None
    torch.manual_seed(config.seed)
    history, steps = [], 0
    for epoch in range(1, config.max_epochs + 1):
        module.train()
        drawn = torch.Generator().manual_seed(order_seed(config.seed, epoch))
        indices = torch.randperm(len(inputs), generator=drawn) if config.shuffle else torch.arange(len(inputs))
        indices = indices.tolist()
        batches = [indices[at : at + config.batch_size] for at in range(0, len(indices), config.batch_size)]
        losses, seen = 0.0, 0
        per_window = config.gradient_accumulation_steps
        for window in (batches[at : at + per_window] for at in range(0, len(batches), per_window)):
            chosen = [index for batch in window for index in batch]
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                value = loss(module(inputs[chosen]), targets[chosen])
            value.float().backward() if autocast else value.backward()
            if config.gradient_clipping:
                torch.nn.utils.clip_grad_norm_(module.parameters(), config.gradient_clipping)
            optimizer.step()
            steps += 1
            losses, seen = losses + float(value.detach().double()) * len(chosen), seen + len(chosen)
            if scheduler is not None and per_step:
                scheduler.step()
            if steps == config.max_steps:
                break
        metrics = {"loss": losses / seen, "lr": optimizer.param_groups[0]["lr"]}
        if val is not None:
            module.eval()
            with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                metrics["val_loss"] = float(loss(module(val[0]), val[1]))
        if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
            scheduler.step(metrics[watched])
        elif scheduler is not None and not per_step:
            scheduler.step()
        history.append(metrics)
        if steps == config.max_steps:
            break
    return history, steps


def assert_close(module, reference, tolerance):
    for (name, ours), theirs in zip(module.state_dict().items(), reference.state_dict().values(), strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=tolerance), (name, (ours - theirs).abs().max())


def assert_same_history(ours, theirs, tolerance):
    assert len(ours) == len(theirs)
    for epoch, (one, other) in enumerate(zip(ours, theirs, strict=True), start=1):
        assert one == {name: pytest.approx(other[name], abs=tolerance) for name in one}, epoch


OPTIMIZERS = {
    "sgd": ({"momentum": 0.9, "weight_decay": 0.01}, torch.optim.SGD),
    "adamw": ({"weight_decay": 0.1, "eps": 1e-4}, torch.optim.AdamW),
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    samples=st.integers(1, 40),
    batch_size=st.integers(1, 12),
    accumulation=st.integers(1, 5),
    clipping=st.sampled_from([None, 0.0, 0.05, 1.0, 1e6]),
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
    shuffle=st.booleans(),
    max_steps=st.none() | st.integers(1, 12),
    val_samples=st.none() | st.integers(1, 17),
    outputs=st.integers(1, 4),
    seed=st.integers(0, 2**40),
)
def test_any_cut_into_batches_and_windows_is_the_full_gradient_of_each_window(
    double,
    net,
    samples,
    batch_size,
    accumulation,
    clipping,
    optimizer,
    shuffle,
    max_steps,
    val_samples,
    outputs,
    seed,
):
    random = torch.Generator().manual_seed(seed)
    train = torch.randn(samples, 3, generator=random), torch.randn(samples, outputs, generator=random)
    val = None
    if val_samples:
        val = torch.randn(val_samples, 3, generator=random), torch.randn(val_samples, outputs, generator=random)
    args, kind = OPTIMIZERS[optimizer]
    config = TrainingConfig(
        max_epochs=3,
        max_steps=max_steps,
        batch_size=batch_size,
        gradient_accumulation_steps=accumulation,
        gradient_clipping=clipping,
        optimizer=OptimizerConfig(name=optimizer, lr=0.03, args=args),
        device="cpu",
        seed=seed,
        shuffle=shuffle,
        log_every=0,
    )
    module, reference = net(outputs), net(outputs)

    result = UniversalTrainer(config).fit(module, train, val, loss="mse")
    history, steps = reference_fit(
        reference, train, val, config, loss=F.mse_loss, make_optimizer=lambda params: kind(params, lr=0.03, **args)
    )

    assert result.steps == steps
    assert_close(module, reference, 1e-10)
    assert_same_history(result.history, history, 1e-10)


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("clipping", [None, 0.0, 0.1])
@pytest.mark.parametrize("samples", [24, 23, 1])
def test_without_accumulation_weights_are_bitwise_those_of_the_plain_loop(
    config, net, regression, optimizer, dropout, clipping, samples
):
    args, kind = OPTIMIZERS[optimizer]
    train, val = regression(samples), regression(7, seed=2)
    settings_ = config(optimizer=optimizer, lr=0.03, optimizer_args=args, gradient_clipping=clipping, seed=5)
    module, reference = net(dropout=dropout), net(dropout=dropout)

    result = UniversalTrainer(settings_).fit(module, train, val, loss="mse")
    history, _ = reference_fit(
        reference,
        train,
        val,
        settings_,
        loss=F.mse_loss,
        make_optimizer=lambda params: kind(params, lr=0.03, fused=True, **args),
    )

    for name, value in module.state_dict().items():
        assert torch.equal(value, reference.state_dict()[name]), name
    assert_same_history(result.history, history, 1e-6)


SCHEDULES = {
    "StepLR": {"step_size": 2, "gamma": 0.5},
    "CosineAnnealingLR": {"T_max": 7},
    "OneCycleLR": {"max_lr": 0.1, "total_steps": 60},
    "MultiStepLR": {"milestones": [1, 4], "gamma": 0.1},
    "LinearLR": {"total_iters": 4},
}


@pytest.mark.parametrize("interval", ["step", "epoch"])
@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_a_schedule_steps_once_per_optimizer_step_or_epoch(config, net, regression, name, interval):
    train = regression(23)
    scheduler = SchedulerConfig(name=name.lower(), interval=interval, args=SCHEDULES[name])
    settings_ = config(scheduler=scheduler, max_epochs=5, gradient_accumulation_steps=1)
    module, reference = net(), net()

    result = UniversalTrainer(settings_).fit(module, train, loss="mse")
    history, _ = reference_fit(
        reference,
        train,
        None,
        settings_,
        loss=F.mse_loss,
        make_optimizer=lambda params: torch.optim.SGD(params, lr=0.05, fused=True),
        make_scheduler=lambda optimizer: getattr(lr_scheduler, name)(optimizer, **SCHEDULES[name]),
        per_step=interval == "step",
    )

    assert [epoch["lr"] for epoch in result.history] == [epoch["lr"] for epoch in history]
    assert len({epoch["lr"] for epoch in history}) > 1
    assert_close(module, reference, 0)


def test_a_schedule_counts_windows_and_not_batches(config, net, regression, double):
    train = regression(23)  # 6 batches of 4, so 3 windows of 2
    settings_ = config(
        batch_size=4,
        gradient_accumulation_steps=2,
        max_epochs=2,
        scheduler=SchedulerConfig(name="ExponentialLR", interval="step", args={"gamma": 0.5}),
    )
    module, reference = net(), net()

    result = UniversalTrainer(settings_).fit(module, train, loss="mse")
    reference_fit(
        reference,
        train,
        None,
        settings_,
        loss=F.mse_loss,
        make_optimizer=lambda params: torch.optim.SGD(params, lr=0.05, fused=True),
        make_scheduler=lambda optimizer: lr_scheduler.ExponentialLR(optimizer, gamma=0.5),
        per_step=True,
    )

    assert [epoch["lr"] for epoch in result.history] == pytest.approx([0.05 / 2**3, 0.05 / 2**6])
    assert_close(module, reference, 1e-12)


@pytest.mark.parametrize(("monitor", "watched"), [(None, "val_loss"), ("loss", "loss")])
def test_reduce_lr_on_plateau_watches_the_monitored_metric(config, net, regression, monitor, watched):
    train, val = regression(23), regression(11, seed=2)
    settings_ = config(
        lr=0.5,
        max_epochs=8,
        early_stopping=EarlyStoppingConfig(enabled=monitor is not None, monitor=monitor, patience=100),
        scheduler=SchedulerConfig(name="ReduceLROnPlateau", args={"patience": 0, "factor": 0.5}),
    )
    module, reference = net(), net()

    result = UniversalTrainer(settings_).fit(module, train, val, loss="mse")
    history, _ = reference_fit(
        reference,
        train,
        val,
        settings_,
        loss=F.mse_loss,
        make_optimizer=lambda params: torch.optim.SGD(params, lr=0.5, fused=True),
        make_scheduler=lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5),
        watched=watched,
    )

    assert [epoch["lr"] for epoch in result.history] == [epoch["lr"] for epoch in history]
    assert history[-1]["lr"] < 0.5
    assert_close(module, reference, 0)


def loaders(data, seed):
    """Loaders of every kind; each call makes them anew."""
    own = torch.Generator().manual_seed(seed)
    pairs = BatchSampler(RandomSampler(data), 5, drop_last=False)
    return {
        "in order": DataLoader(data, batch_size=5),
        "shuffled": DataLoader(data, batch_size=5, shuffle=True),
        "the last batch dropped": DataLoader(data, batch_size=5, shuffle=True, drop_last=True),
        "a sampler": DataLoader(data, batch_size=5, sampler=WeightedRandomSampler([1.0, 2.0] * 10, 17)),
        "a batch sampler": DataLoader(data, batch_sampler=pairs),
        "batches of the data set's own": DataLoader(data, batch_size=None, sampler=pairs),
        "its own generator": DataLoader(data, batch_size=5, shuffle=True, generator=own),
        "workers": DataLoader(data, batch_size=5, shuffle=True, num_workers=2),
    }


class Rows(Dataset):
    """Pairs that draw nothing; an index may be a list of them."""

    def __init__(self, inputs, targets):
        self.inputs, self.targets = inputs, targets

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        return self.inputs[index], self.targets[index]


@pytest.mark.parametrize("kind", [Rows, TensorDataset])
@pytest.mark.parametrize("name", loaders(range(23), 0))
def test_a_loader_trains_bitwise_as_in_a_plain_loop(config, net, regression, seed, kind, name):
    """Dropout draws from the process's own stream, in which the order of an epoch leaves no trace."""
    settings_ = config(seed=seed, max_epochs=1 if name == "its own generator" else 3)
    module, reference = net(dropout=0.3), net(dropout=0.3)
    UniversalTrainer(settings_).fit(module, loaders(kind(*regression(23)), seed)[name], loss="mse")

    optimizer = torch.optim.SGD(reference.parameters(), lr=0.05, fused=True)
    torch.manual_seed(seed)
    for epoch in range(1, settings_.max_epochs + 1):
        with torch.random.fork_rng():
            torch.manual_seed(order_seed(seed, epoch))
            batches = list(loaders(kind(*regression(23)), seed)[name])
        for inputs, targets in batches:
            optimizer.zero_grad()
            F.mse_loss(reference(inputs), targets).backward()
            optimizer.step()

    assert_close(module, reference, 0)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_bf16_is_bitwise_the_plain_autocast_loop(config, net, classification, dropout):
    train, val = classification(23), classification(8, seed=2)
    settings_ = config(mixed_precision="bf16", optimizer="adamw", lr=0.01)
    module, reference = net(3, dropout=dropout), net(3, dropout=dropout)
    full = net(3, dropout=dropout)

    result = UniversalTrainer(settings_).fit(module, train, val, loss="cross_entropy")
    history, _ = reference_fit(
        reference,
        train,
        val,
        settings_,
        loss=F.cross_entropy,
        make_optimizer=lambda params: torch.optim.AdamW(params, lr=0.01, fused=True),
        autocast=True,
    )
    UniversalTrainer(replace(settings_, mixed_precision="no")).fit(full, train, val, loss="cross_entropy")

    assert_close(module, reference, 0)
    for ours, theirs in zip(result.history, history, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-6)
        assert ours["val_loss"] == pytest.approx(theirs["val_loss"], abs=1e-2)  # bf16, cut into other batches
    assert {value.dtype for value in module.state_dict().values()} == {torch.float32}
    assert not torch.equal(full[0].weight, module[0].weight), "bf16 changed nothing"


@pytest.mark.parametrize("max_steps", [1, 4, 7])
def test_max_steps_ends_in_the_middle_of_an_epoch(config, net, regression, max_steps):
    train, val = regression(23), regression(5, seed=2)  # 3 steps an epoch
    settings_ = config(max_steps=max_steps)
    module, reference = net(), net()

    result = UniversalTrainer(settings_).fit(module, train, val, loss="mse")
    history, steps = reference_fit(
        reference,
        train,
        val,
        settings_,
        loss=F.mse_loss,
        make_optimizer=lambda p: torch.optim.SGD(p, lr=0.05, fused=True),
    )

    assert result.steps == steps == max_steps
    assert result.epochs == len(history) == -(-max_steps // 3)
    assert_close(module, reference, 0)
    assert_same_history(result.history, history, 1e-6)


@pytest.mark.parametrize(("samples", "batch_size"), [(2, 7), (7, 2), (13, 5), (31, 7), (101, 13)])
def test_means_are_weighted_by_samples_on_prime_sizes(double, trainer, net, classification, samples, batch_size):
    inputs, targets = classification(samples)
    module = net(3)
    with torch.no_grad():
        scores = module(inputs)
    expected_loss = F.cross_entropy(scores, targets).item()
    expected_accuracy = (scores.argmax(1) == targets).double().mean().item()

    result = trainer(lr=0.0, max_epochs=1, batch_size=batch_size).fit(
        module, (inputs, targets), (inputs, targets), loss="cross_entropy"
    )

    for prefix in ("", "val_"):
        assert result.metrics[f"{prefix}loss"] == pytest.approx(expected_loss, abs=1e-12)
        assert result.metrics[f"{prefix}accuracy"] == pytest.approx(expected_accuracy, abs=1e-7)


def test_a_metric_that_some_batches_lack_is_the_mean_over_those_that_have_it(trainer, regression):
    class Sometimes(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3, 1))

        def training_step(self, batch, batch_idx):
            inputs, targets = batch
            values = {"loss": F.mse_loss(inputs @ self.weight, targets), "index": batch_idx}
            return values | ({"even": batch_idx * 10.0} if batch_idx % 2 == 0 else {})

    result = trainer(max_epochs=1, batch_size=4).fit(Sometimes(), regression(11))

    assert result.metrics["index"] == pytest.approx((0 * 4 + 1 * 4 + 2 * 3) / 11)
    assert result.metrics["even"] == pytest.approx((0 * 4 + 20 * 3) / 7)


def test_means_over_many_batches_of_16_bit_values_are_precise(trainer):
    class Short(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros((), dtype=torch.bfloat16))

        def training_step(self, batch):
            return 1 + self.weight * 0

    result = trainer(max_epochs=1, batch_size=1).fit(Short(), torch.zeros(600, 1))

    assert result.metrics["loss"] == 1.0  # a sum in 16 bits ends at 256


def test_batches_of_other_sizes_from_a_loader_are_weighted_too(double, trainer, net, regression):
    inputs, targets = regression(17)
    cuts = [slice(0, 1), slice(1, 6), slice(6, 8), slice(8, 17)]  # windows of 6 and 11 samples
    batches = [(inputs[cut], targets[cut]) for cut in cuts]
    module = net()
    reference = copy.deepcopy(module)
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.05)
    for window in (slice(0, 6), slice(6, 17)):
        optimizer.zero_grad()
        F.mse_loss(reference(inputs[window]), targets[window]).backward()
        optimizer.step()

    result = trainer(max_epochs=1, gradient_accumulation_steps=2).fit(module, batches, loss="mse")

    assert result.steps == 2
    assert_close(module, reference, 1e-12)


@pytest.mark.parametrize("clipping", [None, 0.1])
def test_sparse_gradients_train_as_in_the_plain_loop(trainer, clipping):
    def build():
        torch.manual_seed(0)
        return nn.Sequential(nn.Embedding(10, 1, sparse=True), nn.Flatten())

    inputs, targets = torch.tensor([[1], [2], [1], [7]]), torch.ones(4, 1)
    module, reference = build(), build()
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.05)
    for _ in range(2):
        optimizer.zero_grad()
        F.mse_loss(reference(inputs), targets).backward()
        if clipping:
            gradient = reference[0].weight.grad.coalesce()
            factor = min(1.0, clipping / (gradient.values().norm().item() + 1e-6))
            reference[0].weight.grad = gradient * factor
        optimizer.step()

    trainer(max_epochs=2, shuffle=False, gradient_clipping=clipping).fit(module, (inputs, targets), loss="mse")

    assert_close(module, reference, 1e-7)
