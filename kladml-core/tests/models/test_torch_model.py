"""An `nn.Module` that keeps the model contract."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from kladml import MLTask
from kladml.config import TrainingConfig
from kladml.errors import ModelError
from kladml.models import RunContext
from kladml.models.torch_model import TorchModel

X = np.random.default_rng(0).random((30, 4))
Y = (X.sum(axis=1) > 2).astype(np.int64)


def model(width=4, **training):
    torch.manual_seed(0)
    made = TorchModel(nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2)), loss="cross_entropy")
    made.run = RunContext(TrainingConfig(**training))
    return made


def test_it_trains_evaluates_and_predicts():
    trained = model(max_epochs=3, batch_size=7)
    metrics = trained.train(X, Y, X, Y)
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(metrics)
    assert trained.evaluate(X, Y)["loss"] == pytest.approx(metrics["val_loss"])
    assert trained.predict(X).shape == (30, 2)
    assert trained.result.epochs == 3


def test_what_is_saved_predicts_the_same(tmp_path):
    trained = model(max_epochs=1)
    trained.train(X, Y)
    trained.save(str(tmp_path / "model"))
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    fresh = model()
    assert not torch.equal(fresh.predict(X), trained.predict(X))
    fresh.load(str(tmp_path / "model"))
    assert torch.equal(fresh.predict(X), trained.predict(X))


def test_weights_of_another_module_and_absent_ones_are_refused(tmp_path):
    model().save(str(tmp_path / "model"))
    with pytest.raises(ModelError, match="cannot be loaded into Sequential"):
        model(width=5).load(str(tmp_path / "model"))
    with pytest.raises(ModelError, match="cannot be loaded"):
        model().load(str(tmp_path / "absent"))


def test_tied_weights_survive(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(3, 3)
            self.two = nn.Linear(3, 3)
            self.two.weight = self.one.weight

    first, second = TorchModel(Tied()), TorchModel(Tied())
    first.save(str(tmp_path / "model"))
    second.load(str(tmp_path / "model"))
    assert torch.equal(second.module.two.weight, first.module.one.weight)
    assert second.module.two.weight is second.module.one.weight


def test_the_task_is_the_modules_own_or_other():
    module = nn.Linear(1, 1)
    assert TorchModel(module).ml_task is MLTask.OTHER
    module.ml_task = "regression"
    assert TorchModel(module).ml_task is MLTask.REGRESSION


def test_a_dot_in_a_name_begins_no_ending(tmp_path):
    for name in ("net-0.5", "net-0.7", "net.safetensors"):
        model().save(str(tmp_path / name))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "net-0.5.safetensors",
        "net-0.7.safetensors",
        "net.safetensors",
    ]
    model().load(str(tmp_path / "net-0.7"))


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps([1])])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match="cannot be loaded into Sequential"):
        model().load(str(tmp_path / "model"))


class WithObject(nn.Linear):
    """A part of its state is no tensor."""

    def get_extra_state(self):
        return {"any": "thing"}


def test_what_cannot_be_kept_is_refused_and_what_was_kept_stays(tmp_path):
    model().save(str(tmp_path / "model"))
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(ModelError, match="weights of WithObject cannot be written"):
        TorchModel(WithObject(1, 1)).save(str(tmp_path / "model"))
    with pytest.raises(ModelError, match="weights of Sequential cannot be written"):
        model().save(str(tmp_path / "absent" / "model"))
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_every_type_and_layout_of_tensor_survives(tmp_path):
    class Mixed(nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.register_buffer("transposed", scale * torch.arange(6.0).reshape(2, 3).T)
            self.register_buffer("short", torch.tensor([scale], dtype=torch.bfloat16))
            self.register_buffer("count", torch.tensor(int(scale)))
            self.weight = nn.Parameter(scale * torch.ones(2))

    first, second = TorchModel(Mixed(3.0)), TorchModel(Mixed(1.0))
    first.save(str(tmp_path / "model"))
    second.load(str(tmp_path / "model"))
    for name, tensor in first.module.state_dict().items():
        assert torch.equal(second.module.state_dict()[name], tensor), name


def test_data_may_be_a_dataset_or_a_loader_and_targets_may_be_absent():
    tensors = TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(Y))
    from_arrays, from_dataset, from_loader = (model(max_epochs=2, batch_size=7, shuffle=False) for _ in range(3))
    expected = from_arrays.train(X, Y, X, Y)
    assert from_dataset.train(tensors, None, tensors) == expected
    loader = DataLoader(tensors, batch_size=7)
    assert from_loader.train(loader, None, loader) == expected
    assert from_loader.evaluate(loader) == from_arrays.evaluate(X, Y)

    class Reconstructing(nn.Linear):
        def training_step(self, batch):
            return (self(batch) - batch).square().mean()

    assert TorchModel(Reconstructing(4, 4)).train(X)["loss"] > 0
