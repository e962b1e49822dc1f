"""Trainings of one to three processes against one process in plain PyTorch on the joined batches.

The plain loop shares no code with the trainer but the seed of an epoch's order, which is documented. Functions without
`test_` run in the processes.
"""

from __future__ import annotations

import math
import os
import random
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Dataset, IterableDataset

from kladml.config.schema import (
    CheckpointConfig,
    EarlyStoppingConfig,
    OptimizerConfig,
    TrainingConfig,
)
from kladml.training import TrainerCallback, UniversalTrainer
from kladml.training.data.orders import order_seed

DOUBLE = {"dtype": torch.float64}
WORLDS = (1, 2, 3)
STRATEGIES = [(1, "ddp"), (2, "ddp"), (3, "ddp"), (2, "fsdp"), (3, "fsdp")]
SEVERAL = [(2, "ddp"), (3, "ddp"), (2, "fsdp"), (3, "fsdp")]
OPTIMIZERS = {
    "sgd": {"momentum": 0.9, "weight_decay": 0.01},
    "adamw": {"weight_decay": 0.1, "eps": 1e-4},
}


def this_rank():
    return int(os.environ.get("RANK", "0"))


def world_size():
    return int(os.environ.get("WORLD_SIZE", "1"))


def config(**changes):
    torch.set_default_dtype(torch.float64)  # that arrays are turned to
    optimizer = OptimizerConfig(
        name=changes.pop("optimizer", "sgd"), lr=changes.pop("lr", 0.03), args=changes.pop("optimizer_args", {})
    )
    plain = {"device": "cpu", "max_epochs": 3, "log_every": 0, "distributed": world_size() > 1, "optimizer": optimizer}
    return TrainingConfig(**{**plain, **changes})


def numbers(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **DOUBLE)


class Net(nn.Module):
    """A small network, in 64 bits unless told otherwise."""

    def __init__(self, seed, dtype=torch.float64):
        super().__init__()
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Linear(3, 4, dtype=dtype), nn.Tanh(), nn.Linear(4, 2, dtype=dtype))

    def forward(self, inputs):
        return self.net(inputs)

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        output = self(inputs)
        return {"loss": F.mse_loss(output, targets), "distance": (output - targets).abs().mean().detach()}


class Pairs(Dataset):
    def __init__(self, inputs, targets):
        self.pairs = list(zip(inputs, targets, strict=True))

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        return self.pairs[index]


class Stream(IterableDataset):
    def __init__(self, inputs, targets):
        self.pairs = list(zip(inputs, targets, strict=True))

    def __iter__(self):
        return iter(self.pairs)


FORMS = {
    "arrays": lambda data, size: data,
    "data set": lambda data, size: Pairs(*data),
    "loader": lambda data, size: DataLoader(Pairs(*data), batch_size=size, shuffle=True),
    "batches": lambda data, size: list(zip(*(part.split(size) for part in data), strict=True)),
    "stream": lambda data, size: Stream(*data),
}


class Calls(TrainerCallback):
    def __init__(self):
        self.count = 0

    def on_fit_started(self, info):
        self.count += 1

    def on_epoch_ended(self, epoch, step, metrics):
        self.count += 1


def train(cases, strategy):
    """Train once for each case; the ranks' first weights differ, and the main process's count."""
    found, tensors = [], {}
    for number, case in enumerate(cases):
        module, calls = Net(case["seed"] + this_rank()), Calls()
        data = numbers(case["samples"], 3, seed=case["seed"]), numbers(case["samples"], 2, seed=case["seed"] + 1)
        val = numbers(case["val_samples"], 3, seed=5), numbers(case["val_samples"], 2, seed=6)
        chosen = config(
            batch_size=case["batch_size"],
            gradient_accumulation_steps=case["accumulation"],
            gradient_clipping=case["clipping"],
            optimizer=case["optimizer"],
            optimizer_args=OPTIMIZERS[case["optimizer"]],
            max_steps=case["max_steps"],
            seed=case["seed"],
            strategy=strategy,
        )
        trainer = UniversalTrainer(chosen, callbacks=[calls])
        form = FORMS[case["form"]]
        size = case["batch_size"]
        result = trainer.fit(module, form(data, size), form(val, case["val_batch_size"]))
        validated = trainer.validate(module, val)
        found.append({"steps": result.steps, "history": result.history, "validated": validated, "calls": calls.count})
        tensors |= {f"{number}.{name}": value for name, value in module.state_dict().items()}
    return {"found": found, "tensors": tensors}


def plain_loop(case, world):
    """Train in one process: a step takes the mean gradient over all samples of a window of all processes."""
    module = Net(case["seed"])
    data = numbers(case["samples"], 3, seed=case["seed"]), numbers(case["samples"], 2, seed=case["seed"] + 1)
    inputs, targets = data
    val = numbers(case["val_samples"], 3, seed=5), numbers(case["val_samples"], 2, seed=6)
    kind = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[case["optimizer"]]
    optimizer = kind(module.parameters(), lr=0.03, **OPTIMIZERS[case["optimizer"]])
    history, steps = [], 0
    for epoch in range(1, 4):
        batches = batches_in_order(case, data, epoch)
        per_step = case["accumulation"] * world
        losses, distances, seen = 0.0, 0.0, 0
        for window in (batches[at : at + per_step] for at in range(0, len(batches), per_step)):
            chosen = torch.cat(window)
            optimizer.zero_grad()
            output = module(inputs[chosen])
            loss = F.mse_loss(output, targets[chosen])
            loss.backward()
            if case["clipping"]:
                torch.nn.utils.clip_grad_norm_(module.parameters(), case["clipping"])
            optimizer.step()
            steps, seen = steps + 1, seen + len(chosen)
            losses += loss.item() * len(chosen)
            distances += (output - targets[chosen]).abs().mean().item() * len(chosen)
            if steps == case["max_steps"]:
                break
        with torch.no_grad():
            output = module(val[0])
        means = {"loss": losses / seen, "distance": distances / seen, "lr": 0.03}
        means |= {"val_loss": F.mse_loss(output, val[1]).item(), "val_distance": (output - val[1]).abs().mean().item()}
        history.append(means)
        if steps == case["max_steps"]:
            break
    return module, history, steps


def batches_in_order(case, data, epoch):
    samples = torch.arange(case["samples"])
    if case["form"] in ("arrays", "data set"):
        drawn = torch.Generator().manual_seed(order_seed(case["seed"], epoch))
        samples = torch.randperm(case["samples"], generator=drawn)
    elif case["form"] == "loader":
        torch.manual_seed(order_seed(case["seed"], epoch))
        return list(DataLoader(samples, batch_size=case["batch_size"], shuffle=True))
    return list(samples.split(case["batch_size"]))


def random_case(draw, form):
    return {
        "form": form,
        "seed": draw.randrange(2**40),
        "samples": draw.randint(1, 60),
        "val_samples": draw.choice([1, 2, 3, 5, 7, 11, 13, 17, 19, 23]),
        "batch_size": draw.randint(1, 9),
        "val_batch_size": draw.randint(1, 9),
        "accumulation": draw.randint(1, 4),
        "clipping": draw.choice([None, 0.0, 0.05, 1.0]),
        "optimizer": draw.choice(sorted(OPTIMIZERS)),
        "max_steps": draw.choice([None, None, draw.randint(1, 12)]),
    }


PRIMES = {
    "form": "arrays",
    "seed": 3,
    "samples": 101,
    "val_samples": 31,
    "batch_size": 7,
    "val_batch_size": 7,
    "accumulation": 2,
    "clipping": 0.05,
    "optimizer": "adamw",
    "max_steps": None,
}


@pytest.mark.parametrize(("world", "strategy"), STRATEGIES)
def test_any_training_is_that_of_one_process_on_the_joined_batches(run_ranks, seed, world, strategy):
    draw = random.Random(seed + world)  # noqa: S311
    cases = [PRIMES, *(random_case(draw, form) for form in FORMS for _ in range(2))]

    ends = run_ranks(world, train, cases=cases, strategy=strategy)

    for number, case in enumerate(cases):
        module, history, steps = plain_loop(case, world)
        with torch.no_grad():
            val = numbers(case["val_samples"], 3, seed=5), numbers(case["val_samples"], 2, seed=6)
            val_loss = F.mse_loss(module(val[0]), val[1]).item()
        for rank, end in enumerate(ends):
            found = end.returned["found"][number]
            assert found["steps"] == steps, case
            assert found["history"] == ends[0].returned["found"][number]["history"], "to the last bit on all ranks"
            for ours, theirs in zip(found["history"], history, strict=True):
                assert ours == pytest.approx(theirs, abs=1e-10), (rank, case)
            assert found["validated"]["loss"] == pytest.approx(val_loss, abs=1e-10), case
            assert found["calls"] == (0 if rank else 1 + len(history)), "callbacks are the main process's"
            for name, value in module.state_dict().items():
                ours = end.tensors[f"{number}.{name}"]
                assert torch.allclose(ours, value, rtol=0, atol=1e-9), (rank, case, (ours - value).abs().max())
                assert torch.equal(ours, ends[0].tensors[f"{number}.{name}"]), "to the last bit on all ranks"


class Tokens(nn.Module):
    """Its loss is the mean over the tokens that a mask leaves, and it says how many they are."""

    def __init__(self, kind):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.5, -0.2, 0.1], dtype=torch.float64))
        self.kind = kind

    def training_step(self, batch, batch_idx):
        inputs, mask = batch
        count = mask.sum()
        loss = (((inputs * self.weight).sum(-1) - 1) ** 2 * mask).sum() / count.clamp(min=1)
        counted = {"int": int(count), "float": float(count), "tensor": count, "numpy": np.int64(int(count))}
        return {"loss": loss, "num_items": counted[self.kind]}


def tokens_in(case):
    samples, length = case["samples"], case["length"]
    inputs = numbers(samples, length, 3, seed=case["seed"])
    drawn = torch.Generator().manual_seed(case["seed"])
    mask = torch.rand(samples, length, generator=drawn, **DOUBLE) < case["density"]
    for start in case["empty"]:
        mask[start * case["batch_size"] : (start + 1) * case["batch_size"]] = False
    return inputs, mask


def train_on_tokens(cases, strategy):
    found, tensors = [], {}
    for number, case in enumerate(cases):
        module = Tokens(case["kind"])
        chosen = config(
            max_epochs=2,
            shuffle=False,
            batch_size=case["batch_size"],
            gradient_accumulation_steps=case["accumulation"],
            gradient_clipping=case["clipping"],
            strategy=strategy,
        )
        data = tokens_in(case)
        found.append(UniversalTrainer(chosen).fit(module, data, data).history)
        tensors[str(number)] = module.weight.detach()
    return {"history": found, "tensors": tensors}


def plain_loop_on_tokens(case, world):
    module, (inputs, mask) = Tokens("int"), tokens_in(case)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.03)
    history, per_step = [], case["accumulation"] * world * case["batch_size"]
    for _ in range(2):
        total = 0.0
        for at in range(0, case["samples"], per_step):
            optimizer.zero_grad()
            chosen = slice(at, at + per_step)
            each = ((inputs[chosen] * module.weight).sum(-1) - 1) ** 2
            loss = each[mask[chosen]].sum() / mask[chosen].sum().clamp(min=1)
            loss.backward()
            total += each[mask[chosen]].sum().item()
            if case["clipping"]:
                torch.nn.utils.clip_grad_norm_(module.parameters(), case["clipping"])
            optimizer.step()
        with torch.no_grad():
            each = ((inputs * module.weight).sum(-1) - 1) ** 2
        history.append({"loss": total / mask.sum().item(), "val_loss": each[mask].mean().item(), "lr": 0.03})
    return module.weight.detach(), history


@pytest.mark.parametrize(("world", "strategy"), STRATEGIES)
def test_batches_are_weighted_by_the_items_that_a_step_says_they_have(run_ranks, seed, world, strategy):
    """Whole batches may have none, the first of a window and the last of the data among them."""
    draw = random.Random(seed + world)  # noqa: S311

    def case(kind, empty=None):
        size = draw.randint(1, 4)
        batches = draw.randint(3, 12)
        return {
            "kind": kind,
            "seed": draw.randrange(2**40),
            "samples": size * batches - draw.randrange(size),
            "length": draw.randint(3, 9),
            "density": draw.uniform(0.3, 0.9),
            "batch_size": size,
            "accumulation": draw.randint(1, 4),
            "clipping": draw.choice([None, 0.05]),
            "empty": draw.sample(range(batches), draw.randint(0, 2)) if empty is None else empty,
        }

    cases = [*(case(kind) for kind in ("int", "float", "tensor", "numpy") for _ in range(2)), case("int", [0])]
    ends = run_ranks(world, train_on_tokens, cases=cases, strategy=strategy)

    for number, each in enumerate(cases):
        weight, history = plain_loop_on_tokens(each, world)
        for end in ends:
            assert torch.allclose(end.tensors[str(number)], weight, rtol=0, atol=1e-10), each
            for ours, theirs in zip(end.returned["history"][number], history, strict=True):
                assert ours == pytest.approx(theirs, abs=1e-10), each


SCHEDULES = {
    "steplr": {"step_size": 2, "gamma": 0.5},
    "onecyclelr": {"max_lr": 0.1, "total_steps": 60},
    "cosineannealinglr": {"T_max": 7},
}


class NotingRates(Net):
    """Notes the rate of each optimizer step as the optimizer sees it."""

    def __init__(self, schedule, interval):
        super().__init__(seed=1)
        self.schedule, self.interval, self.rates = schedule, interval, []

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05)
        optimizer.register_step_pre_hook(lambda *_: self.rates.append(optimizer.param_groups[0]["lr"]))
        scheduler = scheduler_of(self.schedule, optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": self.interval}}


def scheduler_of(name, optimizer):
    kind = {kind.lower(): value for kind, value in vars(lr_scheduler).items()}[name]
    return kind(optimizer, **SCHEDULES[name])


def note_rates(accumulation, strategy):
    rates = {}
    for name in SCHEDULES:
        for interval in ("step", "epoch"):
            module = NotingRates(name, interval)
            chosen = config(batch_size=6 // world_size(), gradient_accumulation_steps=accumulation, strategy=strategy)
            data = numbers(50, 3, seed=1), numbers(50, 2, seed=2)
            UniversalTrainer(chosen).fit(module, data)
            rates[f"{name} {interval}"] = module.rates
    return {"rates": rates}


@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_rates_are_the_same_for_any_number_of_processes(run_ranks, accumulation):
    steps = math.ceil(50 / (6 * accumulation))  # in each of three epochs
    for world, strategy in STRATEGIES:
        for end in run_ranks(world, note_rates, accumulation=accumulation, strategy=strategy):
            for name, rates in end.returned["rates"].items():
                schedule, interval = name.split()
                optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.05)
                scheduler, expected = scheduler_of(schedule, optimizer), []
                for step in range(1, 3 * steps + 1):
                    expected.append(optimizer.param_groups[0]["lr"])
                    optimizer.step()
                    if interval == "step" or step % steps == 0:
                        scheduler.step()
                assert rates == expected, (world, name)


class Scripted(nn.Module):
    """Its validation metric is a script's, another one on each rank, an epoch each."""

    def __init__(self, script):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.script, self.validated, self.rates = script[this_rank()], 0, []

    def training_step(self, batch):
        return -self.weight + (batch * 0).sum()

    def validation_step(self, batch):
        self.validated += 1
        return {"loss": self.weight * 0, "quality": self.script[self.validated - 1]}

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
        optimizer.register_step_pre_hook(lambda *_: self.rates.append(optimizer.param_groups[0]["lr"]))
        plateau = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val_quality"}}


def train_by_script(script, stopping, every_steps):
    module = Scripted(script)
    chosen = config(
        max_epochs=len(script[0]) - 1,
        batch_size=1,
        validate_every_steps=every_steps,
        early_stopping=EarlyStoppingConfig(**stopping),
    )
    samples = torch.zeros(world_size(), 1)
    result = UniversalTrainer(chosen).fit(module, samples, samples)
    return {
        "epochs": result.epochs,
        "stopped": result.stopped_early,
        "best": result.best_epoch,
        "quality": [epoch.get("val_quality") for epoch in result.history],
        "rates": module.rates,
        "weight": module.weight.item(),
    }


# The first value is of the batch that is looked at before the first epoch, because early stopping watches it.
OWN_WAYS = [[9, 8, 7, 6, 5, 4, 3, 2], [9, 1, 1, 4, 6, 8, 9, 9], [9, 5, 4, 6, 7, 9, 9, 9]]


@pytest.mark.parametrize("world", WORLDS)
def test_ranks_with_other_metrics_stop_at_the_same_epoch(run_ranks, world):
    """The main process's own metric improves all the time; the mean over all does until the second epoch."""
    means = [sum(own[epoch] for own in OWN_WAYS[:world]) / world for epoch in range(1, 8)]
    stopping = {"enabled": True, "monitor": "val_quality", "mode": "min", "patience": 2}
    ends = run_ranks(world, train_by_script, script=OWN_WAYS, stopping=stopping, every_steps=0)

    epochs, best = (7, 7) if world == 1 else (4, 2)
    for end in ends:
        found = end.returned
        assert (found["epochs"], found["stopped"], found["best"]) == (epochs, world > 1, best)
        assert found["quality"] == pytest.approx(means[:epochs])
        assert found["weight"] == ends[0].returned["weight"]


def test_ranks_with_other_metrics_lower_their_rates_at_the_same_epoch(run_ranks):
    script = [[8, 7, 6, 5, 4, 3, 2, 1], [1, 4, 4, 9, 1, 1, 9, 9]]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    plateau, rates = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5), []
    for first, second in list(zip(*script, strict=True))[:-1]:
        rates.append(optimizer.param_groups[0]["lr"])
        plateau.step((first + second) / 2)

    for end in run_ranks(2, train_by_script, script=script, stopping={}, every_steps=0):
        assert end.returned["rates"] == rates
    assert len(set(rates)) > 2


class Sick(Net):
    """Gives a number that is none on one rank in one batch, and keeps the weights after each step."""

    def __init__(self, rank, batch, value, where):
        super().__init__(seed=1)
        self.sick, self.value, self.where = (rank, batch), value, where
        self.after = []

    def training_step(self, batch, batch_idx):
        values = super().training_step(batch, batch_idx)
        if (this_rank(), batch_idx) == self.sick:
            broken = Broken.apply(values["loss"], self.value)
            values["loss"] = broken if self.where == "gradient" else values["loss"] * self.value
        return values

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        optimizer.register_step_post_hook(lambda *_: self.after.append(whole(self.net[0].weight)))
        return optimizer


def whole(parameter):
    """Return a copy of a parameter, of which fsdp gives each rank a part."""
    weight = parameter.detach()
    return weight.full_tensor() if hasattr(weight, "full_tensor") else weight.clone()


class Broken(torch.autograd.Function):
    """The identity, with a gradient that is no number."""

    @staticmethod
    def forward(context, tensor, value):
        context.value = value
        return tensor.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient * context.value, None


def train_sick(rank, batch, value, where, accumulation, clipping, folder, strategy):
    module = Sick(rank, batch, float(value), where)
    chosen = config(
        batch_size=2,
        gradient_accumulation_steps=accumulation,
        gradient_clipping=clipping,
        max_epochs=1,
        strategy=strategy,
    )
    data = numbers(8 * 2 * world_size(), 3, seed=1), numbers(8 * 2 * world_size(), 2, seed=2)
    try:
        UniversalTrainer(chosen, checkpoint_dir=folder).fit(module, data, data)
    except Exception as error:  # noqa: BLE001 - the test judges it
        said = f"{type(error).__name__}: {error}"
    return {
        "said": said,
        "kept": bool(torch.equal(module.net[0].weight, module.after[-1])),
        "steps": len(module.after),
        "finite": bool(all(value.isfinite().all() for value in module.state_dict().values())),
        "gradients": sum(parameter.grad is not None for parameter in module.parameters()),
        "tensors": module.state_dict(),
    }


@pytest.mark.parametrize(
    ("world", "rank", "strategy"),
    [(1, 0, "ddp"), (2, 0, "ddp"), (2, 1, "ddp"), (3, 2, "ddp"), (2, 0, "fsdp"), (3, 2, "fsdp")],
)
@pytest.mark.parametrize(
    ("where", "value"), [("loss", "nan"), ("loss", "inf"), ("gradient", "nan"), ("gradient", "-inf")]
)
def test_a_number_that_is_none_on_one_rank_stops_all_before_the_update(
    run_ranks, tmp_path, world, rank, strategy, where, value
):
    for accumulation, clipping in ((1, None), (2, None), (2, 0.1)):
        folder = tmp_path / f"checkpoints-{accumulation}-{clipping}"
        ends = run_ranks(
            world,
            train_sick,
            rank=rank,
            batch=5,
            value=value,
            where=where,
            accumulation=accumulation,
            clipping=clipping,
            folder=str(folder),
            strategy=strategy,
        )
        steps = 5 // accumulation
        for number, end in enumerate(ends):
            found = end.returned
            assert found["said"].startswith("NonFiniteError: "), found
            assert f"in optimizer step {steps + 1}, and the weights were left as they were" in found["said"]
            if where == "loss":
                whose = "the loss became" if number == rank else "the loss of another process became NaN or infinite"
                assert found["said"].removeprefix("NonFiniteError: ").startswith(whose)
            assert (found["kept"], found["steps"], found["finite"]) == (True, steps, True)
            assert all(torch.equal(end.tensors[name], value) for name, value in ends[0].tensors.items())
        assert not list(folder.glob("step-*")), "what is not finite is never kept"


class Normed(Net):
    """Has running statistics, which each rank takes of its own batches."""

    def __init__(self, seed):
        super().__init__(seed)
        self.norm = nn.BatchNorm1d(3, **DOUBLE)

    def forward(self, inputs):
        return self.net(self.norm(inputs))


def train_normed(strategy):
    found, tensors = [], {}
    for number, (samples, accumulation, validates) in enumerate([(24, 1, True), (23, 1, False), (22, 2, False)]):
        module = Normed(seed=1)
        data = numbers(samples, 3, seed=1), numbers(samples, 2, seed=2)
        val = (numbers(7, 3, seed=5), numbers(7, 2, seed=6)) if validates else None
        chosen = config(batch_size=4, gradient_accumulation_steps=accumulation, strategy=strategy)
        trainer = UniversalTrainer(chosen)
        found.append(trainer.fit(module, data, val).history)
        found.append(trainer.validate(module, data))
        tensors |= {f"{number}.{name}": value for name, value in module.state_dict().items()}
    return {"found": found, "tensors": tensors}


@pytest.mark.parametrize(("world", "strategy"), SEVERAL)
def test_all_ranks_end_with_the_same_statistics_and_metrics(run_ranks, world, strategy):
    first, *others = run_ranks(world, train_normed, strategy=strategy)

    for end in others:
        assert end.returned == first.returned
        different = [name for name, value in first.tensors.items() if not torch.equal(value, end.tensors[name])]
        assert not different
    assert first.tensors["0.norm.running_mean"].abs().sum() > 0


class Drawing(Net):
    def __init__(self):
        super().__init__(seed=1)
        self.drawn = []

    def training_step(self, batch, batch_idx):
        self.drawn.append([torch.rand(()).item(), random.random(), float(np.random.rand())])  # noqa: NPY002, S311
        return super().training_step(batch, batch_idx)


def draw_in_steps():
    module, data = Drawing(), (numbers(24, 3, seed=1), numbers(24, 2, seed=2))
    UniversalTrainer(config(batch_size=4)).fit(module, data)
    return {"drawn": module.drawn}


def test_ranks_draw_random_numbers_of_their_own_and_the_same_in_every_run(run_ranks):
    first, second = [end.returned["drawn"] for end in run_ranks(2, draw_in_steps)]

    flat = [number for drawn in (first, second) for step in drawn for number in step]
    assert len(set(flat)) == len(flat), "with the same dropout on all ranks, a larger batch would be noisier"
    assert [end.returned["drawn"] for end in run_ranks(2, draw_in_steps)] == [first, second]
    assert run_ranks(1, draw_in_steps)[0].returned["drawn"][: len(first)] == first, "the main one is the single one"


def train_in_several_ways(folder, strategy):
    """Train plainly, in another precision, plainly again, and compiled; keep checkpoints of all."""
    # All of torch.compile but its last stage, which calls a C++ compiler for half a minute.
    nn.Module.compile = partialmethod(nn.Module.compile, backend="eager")
    tensors, keys = {}, {}
    for name, changes in {
        "plain": {},
        "bf16": {"mixed_precision": "bf16"},
        "again": {},
        "compiled": {"compile": True},
    }.items():
        own = Path(folder) / name
        chosen = config(batch_size=4, checkpoint=CheckpointConfig(restore_best=True), strategy=strategy, **changes)
        torch.set_default_dtype(torch.float32)  # autocast leaves 64 bits alone
        module, data = Net(1, torch.float32), (numbers(23, 3, seed=1), numbers(23, 2, seed=2))
        trainer = UniversalTrainer(chosen, checkpoint_dir=own)
        result = trainer.fit(module, data, data)
        keys[name] = list(module.state_dict())
        tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
        if this_rank() == 0:
            fresh = Net(9, torch.float32)
            trainer.load_weights(fresh, result.best_checkpoint)
            tensors |= {f"loaded {name}.{key}": value for key, value in fresh.state_dict().items()}
    return {"keys": keys, "tensors": tensors}


@pytest.mark.parametrize(("world", "strategy"), [(1, "ddp"), (2, "ddp"), (2, "fsdp")])
def test_keys_are_clean_and_one_training_does_not_disturb_the_next(run_ranks, tmp_path, world, strategy):
    ends = run_ranks(world, train_in_several_ways, folder=str(tmp_path), strategy=strategy, limit=120)
    clean = list(Net(seed=1).state_dict())

    for end in ends:
        assert all(keys == clean for keys in end.returned["keys"].values())
        for key in clean:
            assert torch.equal(end.tensors[f"plain.{key}"], end.tensors[f"again.{key}"])
            assert not torch.equal(end.tensors[f"plain.{key}"], end.tensors[f"bf16.{key}"])
            assert torch.allclose(end.tensors[f"plain.{key}"], end.tensors[f"compiled.{key}"], atol=1e-6, rtol=0)
            for name in end.returned["keys"]:
                assert torch.equal(end.tensors[f"{name}.{key}"], ends[0].tensors[f"loaded {name}.{key}"])
    for name in ("plain", "bf16", "compiled"):
        (kept, *_) = (tmp_path / name).glob("step-*")
        assert sorted(load_file(kept / "model.safetensors")) == sorted(clean)
        assert {path.name for path in kept.glob("rank-*")} == {f"rank-{rank:05d}.safetensors" for rank in range(world)}


class Apart(Net):
    """Moves its weights on one rank, behind the optimizer's back."""

    def training_step(self, batch, batch_idx):
        values = super().training_step(batch, batch_idx)
        if this_rank() == 1:
            with torch.no_grad():
                self.net[0].bias.add_(1e-9)
        return values


def train_apart():
    data = numbers(24, 3, seed=1), numbers(24, 2, seed=2)
    try:
        UniversalTrainer(config(batch_size=4)).fit(Apart(seed=1), data)
    except Exception as error:  # noqa: BLE001 - the test judges it
        return {"said": f"{type(error).__name__}: {error}"}


def test_ranks_that_do_not_agree_after_the_first_step_end(run_ranks):
    for end in run_ranks(3, train_apart):
        assert end.returned["said"].startswith(
            "TrainingError: after the first step, rank 1 has other weights than rank 0"
        )


def train_unlike_others(what):
    """Train with something that is another on rank 1."""
    more = this_rank() == 1
    changes = {"batch_size": 4, "timeout": 30.0}
    samples, val_samples = 24, 8
    if what == "train_data":
        samples += 9 * more
    elif what == "val_data":
        val_samples += 9 * more
    else:
        changes[what] = {"seed": 5, "gradient_accumulation_steps": 2, "max_epochs": 4, "batch_size": 3}[what] + more
    module = Net(seed=1)
    before = [parameter.clone() for parameter in module.parameters()]
    data = numbers(samples, 3, seed=1), numbers(samples, 2, seed=2)
    val = numbers(val_samples, 3, seed=1), numbers(val_samples, 2, seed=2)
    try:
        UniversalTrainer(config(**changes)).fit(module, data, val)
    except Exception as error:  # noqa: BLE001 - the test judges it
        kept = all(map(torch.equal, before, module.parameters())) or more  # that rank has rank 0's first weights
        return {"said": f"{type(error).__name__}: {error}", "kept": kept}


@pytest.mark.parametrize(
    "what", ["train_data", "val_data", "seed", "gradient_accumulation_steps", "max_epochs", "batch_size"]
)
def test_ranks_that_would_not_train_alike_are_told_so(run_ranks, what):
    for end in run_ranks(3, train_unlike_others, what=what, fails=True):
        assert end.exit_code == 0, end.log
        assert end.returned["said"].startswith("TrainingError: rank 1 has ")
        assert what in end.returned["said"]
        assert end.returned["kept"]


class LeavingOut(Net):
    """Has a parameter that steps leave out, all of them or every second one: an even one on rank 0, an odd one else."""

    def __init__(self, where):
        super().__init__(seed=1)
        self.extra = nn.Parameter(torch.ones(2, **DOUBLE))
        self.where = where

    def training_step(self, batch, batch_idx):
        values = super().training_step(batch, batch_idx)
        if self.where == "some" and (batch_idx + this_rank()) % 2:
            values["loss"] = values["loss"] + self.extra.square().sum()
        return values


def train_leaving_out(where, accumulation, finds, strategy):
    module, data = LeavingOut(where), (numbers(23, 3, seed=1), numbers(23, 2, seed=2))
    chosen = config(
        max_epochs=1,
        batch_size=2,
        shuffle=False,
        gradient_accumulation_steps=accumulation,
        find_unused_parameters=finds,
        strategy=strategy,
    )
    try:
        UniversalTrainer(chosen).fit(module, data)
    except Exception as error:  # noqa: BLE001 - the test judges it
        return {"said": f"{type(error).__name__}: {error}"}
    return {"said": None, "tensors": module.state_dict()}


def plain_loop_leaving_out(where, accumulation, world):
    module = LeavingOut(where)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.03)
    batches = list(zip(numbers(23, 3, seed=1).split(2), numbers(23, 2, seed=2).split(2), strict=True))
    for start in range(0, len(batches), accumulation * world):
        window = list(enumerate(batches))[start : start + accumulation * world]
        total = sum(len(batch[0]) for _, batch in window)
        optimizer.zero_grad()
        for number, (inputs, targets) in window:
            index, rank = divmod(number, world)
            loss = F.mse_loss(module(inputs), targets)
            if where == "some" and (index + rank) % 2:
                loss = loss + module.extra.square().sum()
            (loss * len(inputs) / total).backward()
        optimizer.step()
    return module


@pytest.mark.parametrize("where", ["some", "all"])
def test_a_parameter_that_steps_leave_out_is_said(run_ranks, where):
    ends = run_ranks(2, train_leaving_out, where=where, accumulation=1, finds=False, strategy="ddp")

    said = [end.returned["said"] for end in ends]
    assert any(text.startswith("TrainingError: ") and "training.find_unused_parameters" in text for text in said)
    assert all(text.startswith(("TrainingError: ", "PeerLostError: ")) for text in said)


@pytest.mark.parametrize("where", ["some", "all"])
@pytest.mark.parametrize(
    ("world", "accumulation", "strategy"),
    [(1, 2, "ddp"), (2, 1, "ddp"), (2, 2, "ddp"), (2, 3, "ddp"), (3, 2, "ddp"), (2, 3, "fsdp"), (3, 2, "fsdp")],
)
def test_a_parameter_that_steps_leave_out_is_trained_by_the_others(run_ranks, where, world, accumulation, strategy):
    module = plain_loop_leaving_out(where, accumulation, world)

    finds = strategy == "ddp"  # fsdp needs no telling
    how = {"accumulation": accumulation, "finds": finds, "strategy": strategy}
    for end in run_ranks(world, train_leaving_out, where=where, **how):
        assert end.returned["said"] is None
        for name, value in module.state_dict().items():
            assert torch.allclose(end.tensors[name], value, rtol=0, atol=1e-12), name
    assert module.extra.eq(1).all() == (where == "all")
