"""FSDP by configuration: which units there are, what each process holds, and what comes out at the end.

That its numbers are those of one process is in `test_distributed_parity.py`, and that it goes on exactly in
`processes/test_resume.py`. Functions without `test_` run in the processes.
"""

from __future__ import annotations

import copy
import os
import pickle
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import AutocastKwargs
from torch import nn
from torch.nn import functional as F

from kladml.config.schema import CheckpointConfig, OptimizerConfig, TrainingConfig
from kladml.errors import KladMLError, ModelContractError, TrainingError, TrainingStopped, WrongTypeError
from kladml.training import TrainerCallback, UniversalTrainer, fitting, sharding
from kladml.training.objective import StepModule
from kladml.training.ranks import Ranks
from kladml.training.units import own_parameters, units_of


def this_rank():
    return int(os.environ.get("RANK", "0"))


def config(**changes):
    plain = {"device": "cpu", "max_epochs": 2, "batch_size": 4, "log_every": 0, "strategy": "fsdp"}
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return TrainingConfig(**{**plain, "distributed": several, "optimizer": OptimizerConfig("adamw", 0.02), **changes})


def numbers(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def data(samples=22):
    return numbers(samples, 6, seed=1), numbers(samples, 2, seed=2)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, inputs):
        return inputs + self.down(torch.tanh(self.up(inputs)))


class Stack(nn.Module):
    """Blocks in a list, as in a transformer, between two layers, and a buffer."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 2)
        self.blocks = nn.ModuleList(Block(5) for _ in range(2))
        self.norm = nn.BatchNorm1d(5)

    def forward(self, inputs):
        hidden = self.first(inputs)
        for block in self.blocks:
            hidden = block(hidden)
        return self.last(self.norm(hidden))

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        return F.mse_loss(self(inputs), targets)


class Repeating(Stack):
    """Calls one block several times in a step."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([self.blocks[0]] * 2)
        self.again = nn.Sequential(self.blocks[0], nn.Tanh())

    def forward(self, inputs):
        return self.last(self.norm(self.again(self.blocks[1](self.blocks[0](self.first(inputs))))))


def fit(module, *, folder=None, callbacks=(), resume=None, allow_world_change=False, **changes):
    trainer = UniversalTrainer(config(**changes), checkpoint_dir=folder, callbacks=callbacks)
    return trainer.fit(module, data(), data(9), resume=resume, allow_world_change=allow_world_change)


# Units


def names_of(module, names=()):
    step_module = StepModule(module, F.mse_loss)
    known = {part: name for name, part in module.named_modules()}
    return [known.get(unit, "the step") for unit in units_of(step_module, names)]


def test_members_of_the_outermost_containers_are_units_inner_ones_first():
    assert names_of(Stack()) == ["blocks.1", "blocks.0", "the step"]
    nested = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.ModuleList([nn.ModuleDict({"a": Block(2)})]))
    assert names_of(nested) == ["1.0.a", "0.0", "the step"], "containers are opened, a part that is none stays whole"
    assert names_of(nn.Linear(2, 2)) == ["the step"]


def test_a_part_in_several_containers_is_one_unit():
    module = Repeating()
    assert names_of(module) == ["blocks.0", "the step"]


def test_classes_are_units_by_their_names():
    assert names_of(Stack(), ["Block", "BatchNorm1d"]) == ["norm", "blocks.1", "blocks.0", "the step"]
    units = names_of(Stack(), ["Block", "Linear"])
    assert units.index("blocks.0.up") < units.index("blocks.0"), "inner ones first"
    assert names_of(Stack(), ["Stack"]) == ["the step"], "the module as a whole is the step's own unit"


def test_every_parameter_is_in_one_unit():
    module = Stack()
    step_module = StepModule(module, F.mse_loss)
    owned = own_parameters(step_module, units_of(step_module, ["Block", "Linear"]))
    found = [name for parameters in owned.values() for name in parameters]
    assert sorted(found) == sorted(dict(module.named_parameters()))


def test_what_shares_a_parameter_with_something_outside_is_no_unit_of_its_own():
    module = Stack()
    module.blocks[1].up = module.blocks[0].up
    assert names_of(module) == ["the step"]
    module = Stack()
    module.blocks[1].up.weight = nn.Parameter(module.blocks[1].up.weight.detach())
    module.extra = module.blocks[1].up
    assert names_of(module) == ["blocks.0", "the step"]
    with pytest.raises(
        ModelContractError, match=r"names Block, whose parameter blocks\.1\.up\.bias is also used outside of it"
    ):
        names_of(module, ["Block"])


def test_a_class_that_is_not_there_is_said():
    with pytest.raises(WrongTypeError, match=r"names Blok, and no part of Stack is one; did you mean Block\?"):
        names_of(Stack(), ["Blok"])


def test_one_process_is_refused():
    with pytest.raises(TrainingError, match="shares a model out among processes, and this is a single one; train with"):
        UniversalTrainer(config(distributed=False)).fit(Stack(), data())


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("mps", "is fsdp, and training would run on mps; choose"),
        ("cpu", "cannot yet average what a step leaves out; inst"),
    ],
)
def test_another_device_and_an_older_torch_are_refused(monkeypatch, device, said):
    if device == "cpu":
        monkeypatch.delattr(sharding.FSDPModule, "set_reduce_scatter_unused_params")
    with pytest.raises(TrainingError, match=said):
        sharding.Sharding(StepModule(Stack()), config(), Ranks(0, 2), SimpleNamespace(device=torch.device(device)))


# While it trains


class Watched(Stack):
    """Notes, in each forward pass of a block, how many numbers of all parameters this process holds."""

    def __init__(self):
        super().__init__()
        self.held, self.whole = [], []

    def training_step(self, batch, batch_idx):
        parts = [parameter for parameter in self.parameters() if hasattr(parameter, "to_local")]
        self.held.append(sum(part.to_local().numel() for part in parts))
        self.whole.append(len(parts))
        return super().training_step(batch, batch_idx)


def watch():
    module = Watched()
    fit(module)
    return {"held": module.held, "parts": module.whole}


def test_each_process_holds_a_share_of_the_blocks(run_ranks):
    ends = run_ranks(2, watch)
    blocks = sum(parameter.numel() for parameter in Stack().blocks.parameters())
    count = sum(1 for _ in Stack().blocks.parameters())

    for end in ends:
        assert set(end.returned["parts"]) == {count}, "those of the step's own unit are together in its forward pass"
    held = [set(end.returned["held"]) for end in ends]
    assert all(len(each) == 1 for each in held)
    assert sum(each.pop() for each in held) == blocks


class Rates(Stack):
    """Has another learning rate on each rank."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01 * (1 + this_rank()))


def train_apart():
    return said_by(lambda: fit(Rates()))


def said_by(train):
    try:
        train()
    except KladMLError as error:
        return {"said": f"{type(error).__name__}: {error}"}
    return {"said": None}


def test_processes_that_step_by_other_rates_end_after_the_first_step(run_ranks):
    for end in run_ranks(2, train_apart):
        assert end.returned["said"].startswith("TrainingError: rank 1 has [{'lr': 0.02")
        assert "the optimizer's settings" in end.returned["said"]


class Scale(Stack):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))


class Outside(Stack):
    """Uses the weights of a block without calling it."""

    def forward(self, inputs):
        return super().forward(inputs) + self.blocks[0].up.weight.square().sum()


class Mixed(Stack):
    def __init__(self):
        super().__init__()
        self.last.bias = nn.Parameter(self.last.bias.detach().double())


class Strided(Stack):
    def __init__(self):
        super().__init__()
        self.last.weight = nn.Parameter(self.last.weight.detach().t().contiguous().t())


class Early(Stack):
    """Has built its optimizer before it is shared out."""

    def __init__(self):
        super().__init__()
        self.optimizer = torch.optim.SGD(self.parameters(), lr=0.1)

    def configure_optimizers(self):
        return self.optimizer


class Sparse(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.EmbeddingBag(20, 2, sparse=True)

    def training_step(self, batch):
        return self.table((batch[0] * 3).long().clamp(-9, 9) + 9).square().mean()


REFUSED = {
    "Scale": "ModelContractError: the parameter scale is a single number of no dimension",
    "Outside": "TrainingError: with strategy fsdp, a parameter was used outside of the forward pass of the part",
    "Mixed": "ModelContractError: the parameters norm.bias of torch.float32 and last.bias of torch.float64 would",
    "Strided": "ModelContractError: the parameter last.weight is not contiguous",
    "Early": "ModelContractError: the optimizer has parameters that are not those of the sharded module",
    "Sparse": "ModelContractError: EmbeddingBag has sparse gradients, which cannot be shared out",
}


def train_refused():
    kinds = [Scale, Outside, Mixed, Strided, Early, Sparse]
    said = {kind.__name__: said_by(lambda kind=kind: fit(kind()))["said"] for kind in kinds}
    said["rprop"] = said_by(lambda: fit(Stack(), optimizer=OptimizerConfig("rprop", 0.01)))["said"]
    half_way = Early()
    said["again"] = [said_by(lambda: fit(half_way))["said"] for _ in range(2)][1]
    return {"said": said}


def test_what_cannot_be_sharded_is_refused_with_a_way_out(run_ranks):
    for end in run_ranks(2, train_refused):
        said = end.returned["said"]
        for name, start in REFUSED.items():
            assert said[name].startswith(start), said[name]
        assert said["rprop"].startswith("TrainingError: with strategy fsdp, torch cannot compute this on parts")
        assert said["again"].startswith("ModelContractError: Early is sharded already")
        assert all("; " in text for text in said.values()), "each says what to do"


class Dying(Stack):
    def training_step(self, batch, batch_idx):
        if (this_rank(), batch_idx) == (1, 1):
            os._exit(7)
        return super().training_step(batch, batch_idx)


def train_dying():
    return said_by(lambda: fit(Dying()))


def test_the_end_of_a_process_is_noticed(run_ranks):
    left, gone = run_ranks(2, train_dying, fails=True)

    assert gone.exit_code == 7
    assert left.returned["said"].startswith("PeerLostError: another process of the training ended")


def train_repeating():
    tensors = {}
    for strategy in ("ddp", "fsdp"):
        module = Repeating()
        fit(module, strategy=strategy, gradient_accumulation_steps=2, optimizer=OptimizerConfig("sgd", 0.05))
        tensors |= {f"{strategy} {name}": value for name, value in module.state_dict().items()}
    return {"tensors": tensors}


def test_a_unit_may_be_called_several_times_in_a_step(run_ranks):
    for end in run_ranks(2, train_repeating):
        for name, value in end.tensors.items():
            torch.testing.assert_close(end.tensors[name.replace("ddp", "fsdp")], value, rtol=1e-5, atol=1e-6)


def train_and_validate_and_save(folder):
    tensors = {}
    often = {"validate_every_steps": 1, "log_every": 1, "checkpoint": CheckpointConfig(every_steps=1)}
    for way, changes in {"seldom": {}, "often": often}.items():
        module = Stack()
        fit(module, folder=f"{folder}/{way}", **changes)
        tensors |= {f"{way} {name}": value for name, value in module.state_dict().items()}
    return {"tensors": tensors}


def test_validating_and_saving_in_between_changes_no_bit(run_ranks, tmp_path):
    for end in run_ranks(3, train_and_validate_and_save, folder=str(tmp_path)):
        for name, value in end.tensors.items():
            assert torch.equal(end.tensors[name.replace("often", "seldom")], value), name


ELEMENTWISE = ["sgd", "adam", "adamw", "nadam", "radam", "rmsprop", "adagrad", "adadelta", "adamax", "asgd"]


def train_by_each_optimizer():
    torch.set_default_dtype(torch.float64)
    tensors = {}
    for name in ELEMENTWISE:
        for strategy in ("ddp", "fsdp"):
            module = Recurrent().double()
            pairs = tuple(part.double() for part in data())
            chosen = config(strategy=strategy, optimizer=OptimizerConfig(name, 0.01), gradient_accumulation_steps=2)
            UniversalTrainer(chosen).fit(module, pairs)
            tensors |= {f"{name} {strategy} {key}": value for key, value in module.state_dict().items()}
    return {"tensors": tensors}


def test_an_optimizer_that_treats_each_number_by_itself_works(run_ranks):
    for end in run_ranks(3, train_by_each_optimizer):
        for name, value in end.tensors.items():
            other = end.tensors[name.replace(" ddp ", " fsdp ")]
            torch.testing.assert_close(other, value, rtol=1e-6, atol=1e-7, msg=name)


def make_scaling(_):
    """Return an accelerator that scales losses, as with fp16 on a GPU, by torch's real scaler."""
    accelerator = Accelerator(cpu=True, kwargs_handlers=[AutocastKwargs(enabled=False)])
    accelerator.native_amp = True
    accelerator.state._mixed_precision = "fp16"
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=10**6)
    return accelerator


class Overflowing(Stack):
    """One row of one gradient overflows on one rank where the scale is above 256."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        return loss + Steep.apply(self.last.weight[-1].sum()) if this_rank() == 0 else loss


class Steep(torch.autograd.Function):
    @staticmethod
    def forward(_, tensor):
        return torch.zeros_like(tensor)

    @staticmethod
    def backward(_, gradient):
        return gradient * 1e36


def train_scaled():
    make, tensors, steps = fitting.make_accelerator, {}, {}
    ways = {"plain": (Stack, make), "scaled": (Stack, make_scaling), "overflowing": (Overflowing, make_scaling)}
    for way, (kind, accelerator) in ways.items():
        fitting.make_accelerator = accelerator
        for name in ("sgd", "adamw"):
            module = kind()
            optimizer = OptimizerConfig(name, 1e-4 if way != "overflowing" else 1e-38)
            how = {"gradient_clipping": 0.1, "gradient_accumulation_steps": 2, "optimizer": optimizer}
            steps[f"{way} {name}"] = fit(module, max_epochs=3, **how).steps
            tensors |= {f"{way} {name} {key}": value for key, value in module.state_dict().items()}
    return {"steps": steps, "tensors": tensors}


def test_losses_are_scaled_as_with_ddp_and_all_skip_a_step_that_overflows_on_one(run_ranks):
    """With fp16 itself no test has run: it needs a GPU."""
    first, *others = run_ranks(2, train_scaled)

    steps = first.returned["steps"]
    for name in ("sgd", "adamw"):
        assert steps[f"plain {name}"] == steps[f"scaled {name}"] == steps[f"overflowing {name}"] + 2
        for key in Stack().state_dict():
            assert torch.equal(first.tensors[f"plain {name} {key}"], first.tensors[f"scaled {name} {key}"])
    for end in others:
        assert end.returned == first.returned
        assert all(torch.equal(value, end.tensors[name]) for name, value in first.tensors.items())


# Afterwards


class Recurrent(nn.Module):
    """An LSTM, which keeps a list of its weights, and two layers that share theirs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.lstm = nn.LSTM(6, 6, batch_first=True)
        self.layers = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 2))
        self.layers[2].weight = self.layers[0].weight

    def forward(self, inputs):
        return self.layers(self.lstm(inputs[:, None])[0][:, 0])

    def training_step(self, batch, batch_idx):
        return F.mse_loss(self(batch[0]), batch[1])


def train_and_use():
    found, tensors = {}, {}
    for kind in (Stack, Recurrent):
        module = kind()
        before = dict(module.named_parameters(remove_duplicate=False))
        values = {name: value.detach().clone() for name, value in before.items()}
        attributes = [(type(part), sorted(vars(part)), list(part._parameters)) for part in module.modules()]
        fit(module)
        after = dict(module.named_parameters(remove_duplicate=False))
        hooks = [len(hook) for part in module.modules() for key, hook in vars(part).items() if key.endswith("_hooks")]
        output = module(data()[0])
        output.sum().backward()
        copied = pickle.loads(pickle.dumps(copy.deepcopy(module)))  # noqa: S301
        found[kind.__name__] = {
            "same objects": list(before) == list(after) and all(before[name] is after[name] for name in before),
            "moved": all(not torch.equal(values[name], value) for name, value in after.items()),
            "plain": all(type(value) is nn.Parameter and value.grad is not None for value in after.values()),
            "attributes": attributes
            == [(type(part), sorted(vars(part)), list(part._parameters)) for part in module.modules()],
            "hooks": sum(hooks),
            "copied": bool(torch.equal(copied.eval()(data()[0]), module.eval()(data()[0]))),
        }
        trainer = UniversalTrainer(config())
        found[kind.__name__]["validated"] = trainer.validate(module, data(9))
        tensors[f"{kind.__name__}.predicted"] = trainer.predict(module, data()[0])
        fit(module)  # again, with fsdp
        tensors |= {f"{kind.__name__}.{name}": value for name, value in module.state_dict().items()}
        tensors |= {f"{kind.__name__}.predicted again": trainer.predict(module, data()[0])}
    found["kept tied"] = module.layers[0].weight is module.layers[2].weight
    return {"found": found, "tensors": tensors}


def test_the_module_is_a_plain_one_on_every_rank_afterwards(run_ranks):
    first, *others = run_ranks(3, train_and_use)

    for name in ("Stack", "Recurrent"):
        found = dict(first.returned["found"][name])
        assert found.pop("validated")
        expected = {"same objects": True, "moved": True, "plain": True, "attributes": True, "hooks": 0, "copied": True}
        assert found == expected
    assert first.returned["found"]["kept tied"]
    for end in others:
        assert end.returned == first.returned
        assert all(torch.equal(value, end.tensors[name]) for name, value in first.tensors.items())
    assert not torch.equal(first.tensors["Stack.predicted"], first.tensors["Stack.predicted again"])


class StopAfter(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step(self, epoch, step, loss, lr):
        if step == self.step:
            signal.raise_signal(signal.SIGTERM)


def stop_and_use(folder):
    module = Stack()
    try:
        fit(module, folder=folder, log_every=1, callbacks=[StopAfter(3)])
    except TrainingStopped as stopped:
        return {"said": str(stopped), "tensors": module.state_dict()}


def test_after_a_signal_the_module_is_whole_and_in_the_checkpoint(run_ranks, tmp_path):
    ends = run_ranks(2, stop_and_use, folder=str(tmp_path))

    loaded = Stack(seed=5)
    newest = max(tmp_path.glob("step-*"))
    UniversalTrainer().load_weights(loaded, newest)
    for end in ends:
        assert "SIGTERM stopped the training" in end.returned["said"]
        assert all(torch.equal(value, end.tensors[name]) for name, value in loaded.state_dict().items())


# Checkpoints


def train_best(folder, strategy):
    module = Stack(seed=this_rank())
    saved = CheckpointConfig(restore_best=True, every_steps=1, keep_last=3)
    calm = OptimizerConfig("adamw", 0.02, {"eps": 1e-3})  # else it makes steps of rounding errors
    result = fit(module, folder=folder, checkpoint=saved, strategy=strategy, max_epochs=3, optimizer=calm)
    best = result.best_checkpoint
    return {"best": best and best.name, "epoch": result.best_epoch, "tensors": module.state_dict()}


@pytest.mark.parametrize("world", [2, 3])
def test_checkpoints_are_those_of_ddp(run_ranks, tmp_path, world):
    """Same files, same names, same types and shapes; numbers differ by rounding at most."""
    from safetensors.torch import load_file

    ends = {how: run_ranks(world, train_best, folder=str(tmp_path / how), strategy=how) for how in ("ddp", "fsdp")}

    folders = {how: sorted((tmp_path / how).glob("step-*")) for how in ends}
    assert [path.name for path in folders["ddp"]] == [path.name for path in folders["fsdp"]]
    for one, other in zip(folders["ddp"], folders["fsdp"], strict=True):
        assert [path.name for path in sorted(one.iterdir())] == [path.name for path in sorted(other.iterdir())]
        for name in ("model.safetensors", "optimizer.safetensors"):
            ours, theirs = load_file(other / name), load_file(one / name)
            assert sorted(ours) == sorted(theirs)
            for key, value in theirs.items():
                torch.testing.assert_close(ours[key], value, rtol=2e-4, atol=2e-5)
    best = tmp_path / "fsdp" / ends["fsdp"][0].returned["best"]
    for end in ends["fsdp"]:
        assert end.returned["epoch"] == ends["ddp"][0].returned["epoch"]
        for name, value in load_file(best / "model.safetensors").items():
            assert torch.equal(end.tensors[name], value), "restore_best gives every process the best weights"


def go_on(folder, strategy, allow, accumulation=1, stop=0, name="sgd"):
    module = Stack()
    callbacks = [StopAfter(stop)] if stop else []
    optimizer = OptimizerConfig(name, 0.02, {"momentum": 0.9} if name == "sgd" else {})
    resume = folder if any(Path(folder).glob("step-*")) else None
    changes = {"strategy": strategy, "gradient_accumulation_steps": accumulation, "optimizer": optimizer}
    changes |= {"max_epochs": 3 if resume else 2, "log_every": 1}
    result = said_by(
        lambda: fit(module, folder=folder, callbacks=callbacks, resume=resume, allow_world_change=allow, **changes)
    )
    return {**result, "tensors": module.state_dict() if result["said"] is None else {}}


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize(
    ("before", "now"),
    [((2, "fsdp"), (2, "ddp")), ((2, "ddp"), (2, "fsdp")), ((2, "fsdp"), (1, "ddp")), ((1, "ddp"), (2, "fsdp"))],
    ids=str,
)
def test_another_strategy_has_to_be_allowed_and_differs_by_rounding(run_ranks, tmp_path, before, now, name):
    folder = str(tmp_path / "training")
    run_ranks(before[0], go_on, folder=folder, strategy=before[1], allow=False, name=name)
    refused = run_ranks(now[0], go_on, folder=folder, strategy=now[1], allow=False, name=name)
    allowed = run_ranks(now[0], go_on, folder=folder, strategy=now[1], allow=True, name=name)

    for end in refused:
        assert end.returned["said"].startswith("CheckpointError: ")
        assert "--allow-world-change" in end.returned["said"]
    if before[0] == now[0]:
        assert f"is of a training with strategy {before[1]}, and this one has {now[1]}" in refused[0].returned["said"]
    assert all(end.returned["said"] is None for end in allowed)
    if before[0] == now[0]:
        other = str(tmp_path / "other")
        for _ in range(2):
            same = run_ranks(before[0], go_on, folder=other, strategy=before[1], allow=False, name=name)
        for key, value in same[0].tensors.items():
            torch.testing.assert_close(allowed[0].tensors[key], value, rtol=1e-4, atol=1e-5)


def test_inside_a_window_the_strategy_cannot_change(run_ranks, tmp_path):
    how = {"folder": str(tmp_path), "accumulation": 3, "name": "sgd"}
    for end in run_ranks(2, stop_in_window, folder=str(tmp_path)):
        assert end.returned["said"].startswith("TrainingStopped")
    for end in run_ranks(2, go_on, strategy="ddp", allow=True, **how):
        assert "saved inside an accumulation window, whose gradients cannot be shared out anew" in end.returned["said"]


class Interrupting(Stack):
    def training_step(self, batch, batch_idx):
        if batch_idx == 1:
            signal.raise_signal(signal.SIGTERM)
        return super().training_step(batch, batch_idx)


def stop_in_window(folder):
    optimizer = OptimizerConfig("sgd", 0.02, {"momentum": 0.9})
    train = {"folder": folder, "gradient_accumulation_steps": 3, "optimizer": optimizer, "log_every": 1}
    return said_by(lambda: fit(Interrupting(), **train))
