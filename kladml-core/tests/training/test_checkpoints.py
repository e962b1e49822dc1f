"""Checkpoints: what they hold, that damage is noticed, and which of them are kept."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import pickle
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import lr_scheduler

from kladml.config.schema import CheckpointConfig
from kladml.errors import CheckpointError
from kladml.training.checkpointing import store as checkpoints
from kladml.training.checkpointing.store import Checkpoint, CheckpointStore, optimizer_content, optimizer_state

FILES = ["model.safetensors", "optimizer.safetensors", "state.json"]


def checkpoint(number=0):
    """A small checkpoint that tells its number in every file."""
    tensor = torch.full((3,), float(number))
    return Checkpoint({"weight": tensor}, {"0.momentum": tensor}, {"number": number})


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "checkpoints")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return CheckpointStore(tmp_path_factory.mktemp("saved")).save(checkpoint(7), 7)


def assert_is(path, number):
    found = checkpoints.load(path)
    assert found.state == {"number": number}
    assert found.model["weight"].tolist() == found.optimizer["0.momentum"].tolist() == [number] * 3


# What they hold


def test_a_manifest_holds_size_and_sha256_of_every_other_file(store):
    folder = store.save(checkpoint(), 420)

    assert folder.name == "step-00000420"
    assert sorted(file.name for file in folder.iterdir()) == ["MANIFEST.json", *FILES]
    manifest = json.loads((folder / "MANIFEST.json").read_text())["files"]
    assert manifest == {
        name: {
            "size": (folder / name).stat().st_size,
            "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
        }
        for name in FILES
    }


def test_a_manifest_says_when_and_in_which_place_and_stays_in_order(store):
    places = []
    for step in (1, 9, 3, 3):
        content = json.loads((store.save(checkpoint(), step) / "MANIFEST.json").read_text())
        places.append(content["sequence"])
        assert abs(datetime.now(UTC) - datetime.fromisoformat(content["saved_at"])) < timedelta(minutes=1)

    assert places == [1, 2, 3, 4]


def test_what_belongs_to_single_processes_comes_back_by_rank(store):
    ranks = [bytes([rank]) * rank for rank in range(12)]

    path = store.save(replace(checkpoint(), ranks=ranks), 1)

    assert checkpoints.load(path).ranks == ranks
    assert (path / "rank-00011.safetensors").read_bytes() == ranks[11]


def test_tensors_come_back_bit_by_bit_whatever_their_type_and_layout(store):
    torch.manual_seed(0)
    tied = torch.randn(2, 3)
    model = {
        "tied": tied,
        "tied.too": tied,
        "a view": tied[:, 1],
        "transposed": torch.randn(4, 5).T,
        "strided": torch.randn(10)[::3],
        "expanded": torch.randn(1, 3).expand(4, 3),
        "channels last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "nan": torch.tensor([math.nan, math.inf, -0.0]),
        "with gradient": nn.Parameter(torch.randn(2)),
        **{str(dtype): torch.arange(5).to(dtype) for dtype in (torch.bfloat16, torch.float16, torch.float64)},
        **{str(dtype): torch.arange(2).to(dtype) for dtype in (torch.bool, torch.uint8, torch.int32, torch.int64)},
    }

    found = checkpoints.load(store.save(Checkpoint(model, {}, {}), 1))

    assert found.optimizer == {}
    assert found.model.keys() == model.keys()
    for name, tensor in model.items():
        assert found.model[name].dtype == tensor.dtype, name
        assert found.model[name].shape == tensor.shape, name
        assert torch.equal(
            found.model[name].view(torch.uint8) if tensor.dim() else found.model[name],
            tensor.detach().contiguous().view(torch.uint8) if tensor.dim() else tensor,
        ), name


@pytest.mark.parametrize(
    "state",
    [
        {"nothing": None, "text": "ä\n", "numbers": [1, -2.5, 1e-300], "inf": math.inf, "nested": {"a": {"b": []}}},
        {"milestones": {3: 1, 5: 2}, "empty": {}, "deep": [{"x": {0: {1: "one"}}}]},
    ],
)
def test_plain_values_come_back_with_their_types(store, state):
    assert checkpoints.load(store.save(Checkpoint({}, {}, state), 1)).state == state


def test_numbers_of_arrays_become_numbers(store):
    state = {"tensor": torch.tensor(2), "numpy": np.float64(0.1), "array": np.array(3)}

    assert checkpoints.load(store.save(Checkpoint({}, {}, state), 1)).state == {"tensor": 2, "numpy": 0.1, "array": 3}


@pytest.mark.parametrize(
    "content",
    [
        Checkpoint({"_extra_state": {"a": 1}}, {}, {}),
        Checkpoint({"sparse": torch.eye(2).to_sparse()}, {}, {}),
        Checkpoint({}, {"0.list": [torch.zeros(1)]}, {}),
        Checkpoint({}, {}, {"function": print}),
        Checkpoint({}, {}, {"tensor": torch.zeros(3)}),
        Checkpoint({}, {}, {"bytes": b"x"}),
    ],
    ids=["extra state", "sparse", "list", "function", "tensor", "bytes"],
)
def test_what_cannot_be_kept_without_pickle_is_refused_and_leaves_nothing_behind(store, content):
    before = store.save(checkpoint(1), 1)

    with pytest.raises(CheckpointError, match="keep tensors and plain values"):
        store.save(content, 2)

    assert store.latest() == before
    assert [path.name for path in store.folder.iterdir()] == [before.name]


def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2, bias=False))


def step(module, optimizer, seed):
    torch.manual_seed(seed)
    optimizer.zero_grad()
    module(torch.randn(5, 3)).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("AdamW", {"weight_decay": 0.1}),
        ("Adam", {"amsgrad": True, "betas": (0.8, 0.9)}),
        ("SGD", {}),
        ("SGD", {"momentum": 0.9, "nesterov": True}),
        ("RMSprop", {"momentum": 0.5, "centered": True}),
        ("Adagrad", {}),
        ("Adadelta", {}),
        ("RAdam", {}),
        ("NAdam", {}),
        ("Adamax", {}),
        ("Adafactor", {}),
        ("Rprop", {}),
        ("ASGD", {}),
        ("Muon", {}),
    ],
)
def test_an_optimizer_from_a_checkpoint_takes_the_same_next_step_bit_by_bit(store, same, name, args):
    if not hasattr(torch.optim, name):
        pytest.skip(f"this torch has no {name}")
    module = build()
    parameters = [p for p in module.parameters() if p.dim() == 2] if name == "Muon" else list(module.parameters())
    groups = [{"params": parameters[:1], "lr": 0.05}, {"params": parameters[1:]}]
    optimizer = getattr(torch.optim, name)(groups, lr=0.01, **args)
    for seed in range(3):
        step(module, optimizer, seed)
    tensors, rest = optimizer_content(optimizer.state_dict())
    found = checkpoints.load(store.save(Checkpoint(module.state_dict(), tensors, {"optimizer": rest}), 3))

    other = build()
    other.load_state_dict(found.model)
    parameters = [p for p in other.parameters() if p.dim() == 2] if name == "Muon" else list(other.parameters())
    restored = getattr(torch.optim, name)([{"params": parameters[:1]}, {"params": parameters[1:]}], lr=9.0, **args)
    restored.load_state_dict(optimizer_state(found.optimizer, found.state["optimizer"]))
    for seed in range(3, 6):
        step(module, optimizer, seed)
        step(other, restored, seed)

    assert same(module.state_dict(), other.state_dict())


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("StepLR", {"step_size": 2}),
        ("MultiStepLR", {"milestones": [2, 5, 6]}),
        ("CosineAnnealingLR", {"T_max": 9}),
        ("CosineAnnealingWarmRestarts", {"T_0": 3}),
        ("OneCycleLR", {"max_lr": 0.1, "total_steps": 20}),
        ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 3}),
        ("ExponentialLR", {"gamma": 0.9}),
        ("LinearLR", {"total_iters": 6}),
        ("PolynomialLR", {"total_iters": 9, "power": 2.0}),
        ("ReduceLROnPlateau", {"patience": 1}),
    ],
)
def test_a_schedule_from_a_checkpoint_goes_on_as_it_would_have(store, name, args):
    def make():
        optimizer = torch.optim.SGD(build().parameters(), lr=0.1, momentum=0.9)
        return optimizer, getattr(lr_scheduler, name)(optimizer, **args)

    def advance(optimizer, scheduler):
        optimizer.step()
        scheduler.step(*([1.0] if name == "ReduceLROnPlateau" else []))
        return optimizer.param_groups[0]["lr"]

    optimizer, scheduler = make()
    for _ in range(4):
        advance(optimizer, scheduler)
    tensors, rest = optimizer_content(optimizer.state_dict())
    state = {"optimizer": rest, "scheduler": scheduler.state_dict()}
    found = checkpoints.load(store.save(Checkpoint({}, tensors, state), 4))
    other, restored = make()
    other.load_state_dict(optimizer_state(found.optimizer, found.state["optimizer"]))
    restored.load_state_dict(found.state["scheduler"])

    ours, theirs = ([advance(*pair) for _ in range(6)] for pair in ((optimizer, scheduler), (other, restored)))
    assert ours == theirs
    assert len(set(ours)) > 1


def test_the_trainers_checkpoint_holds_the_whole_state(trainer, regression, tmp_path, same):
    class Keeping(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 1)
            self.twin = self.linear
            self.norm = nn.BatchNorm1d(3)

        def training_step(self, batch):
            return nn.functional.mse_loss(self.linear(self.norm(batch[0])), batch[1])

        def configure_optimizers(self):
            self.optimizer = torch.optim.AdamW(self.parameters())
            self.scheduler = lr_scheduler.StepLR(self.optimizer, 1)
            return self.optimizer, self.scheduler

    module = Keeping()
    result = trainer(checkpoint_dir=tmp_path, seed=5, batch_size=5).fit(module, regression(23), regression(7))
    found = checkpoints.load(result.last_checkpoint)

    assert same(found.model, module.state_dict())
    restored = optimizer_state(found.optimizer, found.state["optimizer"])
    for index, values in module.optimizer.state_dict()["state"].items():
        assert same(restored["state"][index], values)
    assert {
        "epoch": 3,
        "position": 5,
        "step": 15,
        "seed": 5,
        "world_size": 1,
        "scaler": None,
    }.items() <= found.state.items()
    assert found.state["scheduler"] == json.loads(json.dumps(module.scheduler.state_dict()))
    assert found.state["judge"]["best"]["metric"] == "val_loss"
    assert found.state["history"][-1] == result.metrics


def test_a_checkpoint_within_an_epoch_says_where(trainer, net, regression, tmp_path, recorder):
    every = CheckpointConfig(every_steps=2, every_epochs=0, keep_last=100)
    trainer(checkpoint_dir=tmp_path, checkpoint=every, batch_size=5, max_epochs=1, callbacks=[recorder]).fit(
        net(), regression(23), loss="mse"
    )

    found = [checkpoints.load(path).state for path, *_ in recorder.named("checkpoint_saved")]
    assert [(state["epoch"], state["position"], state["step"]) for state in found] == [(1, 2, 2), (1, 4, 4), (1, 5, 5)]


# Damage


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    file=st.sampled_from([*FILES, "MANIFEST.json"]), place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255)
)
def test_a_changed_byte_is_noticed_or_changes_nothing(saved, tmp_path, file, place, flip):
    damaged = tmp_path / "damaged"
    shutil.copytree(saved, damaged, dirs_exist_ok=True)
    content = bytearray((saved / file).read_bytes())
    content[int(place * len(content))] ^= flip
    (damaged / file).write_bytes(content)

    try:
        assert_is(damaged, 7)
    except CheckpointError as error:
        assert str(damaged) in str(error)  # noqa: PT017 - either way is right
    else:
        assert file == "MANIFEST.json"
        assert content.split() == (saved / file).read_bytes().split(), "not only white space changed"


@pytest.mark.parametrize("file", [*FILES, "MANIFEST.json"])
@pytest.mark.parametrize("keep", [None, 0, 1, -1])
def test_a_missing_or_cut_or_longer_file_is_noticed(saved, tmp_path, file, keep):
    damaged = shutil.copytree(saved, tmp_path / "damaged")
    content = (damaged / file).read_bytes()
    (damaged / file).unlink()
    if keep is not None:
        (damaged / file).write_bytes(content[:keep])

    with pytest.raises(CheckpointError, match="use an older checkpoint"):
        checkpoints.verify(damaged)


def test_a_longer_file_is_noticed(saved, tmp_path):
    damaged = shutil.copytree(saved, tmp_path / "damaged")
    with (damaged / "model.safetensors").open("ab") as file:
        file.write(b"\0")

    with pytest.raises(CheckpointError, match=r"model.safetensors is not what was written"):
        checkpoints.verify(damaged)


@pytest.mark.parametrize("file", [*FILES, "rank-00000.safetensors", "rank-00001.safetensors", "MANIFEST.json"])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), how=st.sampled_from(["flip", "cut", "remove"]))
def test_after_any_damage_to_the_newest_the_one_before_it_is_used_and_the_user_is_told(
    tmp_path, caplog, file, place, bit, how
):
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    store = CheckpointStore(tmp_path / "store")
    good, newest = (store.save(replace(checkpoint(number), ranks=[b"one", b"two"]), number) for number in (1, 2))
    content = bytearray((newest / file).read_bytes())
    position = int(place * len(content))
    if how == "flip":
        content[position] ^= 1 << bit
    (newest / file).write_bytes(content[:position] if how == "cut" else content)
    if how == "remove":
        (newest / file).unlink()
    caplog.clear()

    with caplog.at_level(logging.WARNING, logger="kladml"):
        found = store.latest()

    if found == newest:  # white space of the manifest
        assert (file, how) == ("MANIFEST.json", "flip")
        assert checkpoints.load(found).ranks == [b"one", b"two"]
    else:
        assert found == good
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert f"{newest} is" in caplog.text
        assert "it is passed over" in caplog.text


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        (["../outside.safetensors"], "names '../outside.safetensors', which is no file of a checkpoint"),
        (["..\\outside.safetensors"], "which is no file of a checkpoint"),
        (["C:outside"], "which is no file of a checkpoint"),
        (["/etc/passwd"], "which is no file of a checkpoint"),
        ([".."], "which is no file of a checkpoint"),
        (["MANIFEST.json"], "which is no file of a checkpoint"),
        (["rank-00001.safetensors"], "leaves out rank-00000.safetensors"),
    ],
)
def test_a_manifest_with_names_that_no_checkpoint_has_verifies_nothing(saved, tmp_path, files, complaint):
    hostile = shutil.copytree(saved, tmp_path / "hostile")
    sign(hostile)
    checkpoints.verify(hostile)
    entries = {name: {"size": 1, "sha256": "0"} for name in [*FILES, *files]}
    sign(hostile, files=entries)

    with pytest.raises(CheckpointError, match=re.escape(complaint)):
        checkpoints.verify(hostile)


def test_a_file_that_a_manifest_names_besides_ours_is_checked_like_ours(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "extended")
    (folder / "notes.txt").write_text("seen")
    sign(folder, ["notes.txt"])
    checkpoints.verify(folder)
    (folder / "unnamed.txt").write_text("not checked, and not read either")
    checkpoints.verify(folder)

    (folder / "notes.txt").write_text("sewn")
    with pytest.raises(CheckpointError, match=r"notes.txt is not what was written"):
        checkpoints.verify(folder)


def test_a_checkpoint_of_a_later_format_says_what_to_install(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "later")
    sign(folder, format=2)

    with pytest.raises(CheckpointError, match=r"has the format 2, .* install a newer KladML"):
        checkpoints.load(folder)


@pytest.mark.parametrize(
    "manifest",
    [
        "{}",
        "[]",
        "null",
        "[" * 100_000,
        '{"files": {}}',
        '{"files": []}',
        '{"files": {"model.safetensors": 1}}',
        '{"sha256": "", "format": 1, "sequence": 1, "saved_at": "", "files": {}}',
    ],
)
def test_a_manifest_that_leaves_files_out_verifies_nothing(saved, tmp_path, manifest):
    damaged = shutil.copytree(saved, tmp_path / "damaged")
    (damaged / "MANIFEST.json").write_text(manifest)

    with pytest.raises(CheckpointError, match=r"is incomplete|is damaged: MANIFEST.json"):
        checkpoints.load(damaged)


def test_a_signed_manifest_that_leaves_a_file_out_verifies_nothing(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "signed")
    sign(folder, files={name: {"size": 1, "sha256": "0"} for name in FILES[1:]})

    with pytest.raises(CheckpointError, match=r"leaves out model.safetensors"):
        checkpoints.load(folder)


def sign(folder, extra=(), **changes):
    """Write a manifest that fits the files, as somebody with bad intent would."""
    entries = {
        name: {
            "size": (folder / name).stat().st_size,
            "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
        }
        for name in [*FILES, *extra]
    }
    manifest = {
        "format": 1,
        "sequence": 1,
        "is_best": False,
        "saved_at": "2026-01-01T00:00:00+00:00",
        "files": entries,
        **changes,
    }
    own = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (folder / "MANIFEST.json").write_text(json.dumps({**manifest, "sha256": own}))


class Bomb:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (str(self.file), "w")


def test_a_pickle_beside_the_files_of_a_checkpoint_is_not_read(saved, tmp_path, net, trainer):
    proof = tmp_path / "executed"
    folder = shutil.copytree(saved, tmp_path / "store" / saved.name)
    for name in ("optimizer.bin", "pytorch_model.bin", "random_states_0.pkl", "model.safetensors.pkl"):
        (folder / name).write_bytes(pickle.dumps(Bomb(proof)))
        (folder.parent / name).write_bytes(pickle.dumps(Bomb(proof)))

    assert_is(CheckpointStore(folder.parent).latest(), 7)
    CheckpointStore(folder.parent).save(checkpoint(8), 8)
    assert not proof.exists()


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_a_pickle_under_the_name_of_a_checkpoints_file_is_refused_and_not_run(
    saved, tmp_path, net, trainer, file, form
):
    hostile, proof = shutil.copytree(saved, tmp_path / "hostile"), tmp_path / "executed"
    if form == "pickle":
        (hostile / file).write_bytes(pickle.dumps(Bomb(proof)))
    else:
        torch.save(Bomb(proof), hostile / file)
    sign(hostile)

    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoints.load(hostile)
    with pytest.raises(CheckpointError):
        trainer().load_weights(net(), hostile)
    assert not proof.exists()
    pickle.loads(pickle.dumps(Bomb(proof))).close()  # noqa: S301 - the bomb does go off
    assert proof.exists()


def test_weights_of_another_module_are_refused_and_an_absent_checkpoint_too(
    saved, tmp_path, net, trainer, weights, same
):
    module = net()
    before = weights(module)

    with pytest.raises(CheckpointError, match="does not fit Sequential"):
        trainer().load_weights(module, saved)
    with pytest.raises(CheckpointError, match="incomplete"):
        trainer().load_weights(module, tmp_path / "nothing")
    assert same(weights(module), before)


# Which are kept


def test_the_latest_is_the_newest_that_verifies(store, caplog):
    store.keep_last = 10
    paths = [store.save(checkpoint(number), number) for number in (1, 2, 10)]
    assert store.latest() == paths[2]

    (paths[2] / "state.json").write_text("{}")
    (paths[1] / "model.safetensors").unlink()
    with caplog.at_level(logging.WARNING, logger="kladml"):
        assert store.latest() == paths[0]

    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert f"{paths[2]} is damaged: state.json" in caplog.messages[0]
    assert f"{paths[1]} is incomplete" in caplog.messages[1]
    assert all("it is passed over" in message for message in caplog.messages)


def test_the_latest_is_the_one_that_was_written_last_whatever_its_step(store):
    """As after a second training in the same folder, which begins at step 0 again."""
    for step in (100, 200):
        store.save(checkpoint(step), step)
    second = CheckpointStore(store.folder, keep_last=3)
    for step in (1, 2):
        path = second.save(checkpoint(step), step)
        assert second.latest() == path

    assert [path.name for path in second.all()] == ["step-00000200", "step-00000001", "step-00000002"]


def test_a_checkpoint_whose_manifest_is_damaged_is_reported_and_later_cleared_away(store, caplog):
    good, damaged = (store.save(checkpoint(step), step) for step in (5, 6))
    (damaged / "MANIFEST.json").unlink()
    with caplog.at_level(logging.WARNING, logger="kladml"):
        assert store.latest() == good
    assert f"{damaged} is incomplete: MANIFEST.json cannot be read (No such file or directory)" in caplog.text

    kept = [store.save(checkpoint(step), step) for step in (7, 8)]
    assert sorted(store.folder.iterdir()) == kept


def test_without_checkpoints_there_is_neither_a_latest_nor_a_best_one(store):
    assert (store.latest(), store.best(), store.all()) == (None, None, [])
    store.folder.mkdir()
    (store.folder / "step-00000001").mkdir()
    assert (store.latest(), store.best(), store.all()) == (None, None, [])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keep_last=st.integers(1, 3), saves=st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=8))
def test_the_newest_and_the_best_are_kept_and_the_rest_is_removed(tmp_path, keep_last, saves):
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    store = CheckpointStore(tmp_path / "store", keep_last=keep_last)
    step, best, newest = 1, None, {}
    for number, (more_steps, is_best) in enumerate(saves):
        step += more_steps
        newest.pop(step, None)
        newest[step] = number
        best = number if is_best else best
        path = store.save(checkpoint(number), step, is_best=is_best)
        assert_is(path, number)

    kept = list(newest.values())[-keep_last:]
    assert sorted(checkpoints.load(path).state["number"] for path in store.all()) == sorted({*kept, best} - {None})
    assert_is(store.latest(), len(saves) - 1)
    if best is not None:
        assert_is(store.best(), best)
    assert {path.name for path in store.folder.iterdir()} - {"best.json"} == {path.name for path in store.all()}


def test_what_a_killed_process_left_is_cleared_away(store):
    store.folder.mkdir()
    (store.folder / ".tmp-3-abc").mkdir()
    (store.folder / ".tmp-3-abc" / "model.safetensors").write_bytes(b"half")
    (store.folder / ".tmp-best-abc").write_text("{")

    store.save(checkpoint(1), 1)

    assert [path.name for path in store.folder.iterdir()] == ["step-00000001"]


def test_a_new_checkpoint_is_never_pruned_whatever_an_earlier_training_left(trainer, net, regression, tmp_path):
    last = CheckpointConfig(keep_last=1)
    trainer(checkpoint_dir=tmp_path, checkpoint=last, max_epochs=5).fit(net(), regression(), loss="mse")
    module = net(seed=1)
    result = trainer(checkpoint_dir=tmp_path, checkpoint=last, max_epochs=1).fit(module, regression(), loss="mse")

    assert torch.equal(checkpoints.load(result.last_checkpoint).model["0.weight"], module[0].weight)


@pytest.mark.parametrize("content", [None, "", "{", '{"checkpoint": "step-00000009"}', '{"checkpoint": "../outside"}'])
def test_the_best_checkpoint_is_found_whatever_became_of_the_pointer_for_people(store, content):
    """As after a kill between the checkpoint and the pointer to it."""
    best = store.save(checkpoint(1), 1, is_best=True)
    store.save(checkpoint(2), 2)
    assert json.loads((store.folder / "best.json").read_text()) == {"checkpoint": best.name}
    (store.folder / "best.json").unlink()
    if content is not None:
        (store.folder / "best.json").write_text(content)

    assert store.best() == best
    newer = store.save(checkpoint(3), 3, is_best=True)
    assert store.best() == newer
    assert json.loads((store.folder / "best.json").read_text()) == {"checkpoint": newer.name}


def test_steps_are_ordered_by_number(store):
    paths = [store.save(checkpoint(number), number) for number in (99_999_999, 100_000_000)]

    assert store.all() == paths


def test_checkpoints_can_be_switched_off(trainer, net, regression, tmp_path, recorder):
    off = trainer(checkpoint_dir=tmp_path / "x", checkpoint=CheckpointConfig(enabled=False), callbacks=[recorder])
    result = off.fit(net(), regression(), loss="mse")

    assert not (tmp_path / "x").exists()
    assert (result.best_checkpoint, result.last_checkpoint) == (None, None)
    assert not recorder.named("checkpoint_saved")


@pytest.mark.parametrize(
    ("every_epochs", "every_steps", "steps"),
    [
        (1, 0, [3, 6, 9, 12]),
        (2, 0, [3, 6, 12]),
        (0, 0, [3, 12]),
        (0, 2, [2, 3, 4, 6, 8, 10, 12, 12]),
        (3, 0, [3, 9, 12]),
    ],
)
def test_checkpoints_are_saved_as_often_as_configured_and_for_the_best_and_last(
    trainer, net, regression, tmp_path, recorder, every_epochs, every_steps, steps
):
    """Four epochs of three steps, of which the first is the best because the rate is far too high."""
    saving = CheckpointConfig(every_epochs=every_epochs, every_steps=every_steps, keep_last=1)
    chosen = trainer(checkpoint_dir=str(tmp_path), checkpoint=saving, callbacks=[recorder], max_epochs=4, lr=0.0)
    chosen.fit(net(), regression(), regression(5), loss="mse")

    assert [call[1] for call in recorder.named("checkpoint_saved")] == steps
    assert [call[1] for call in recorder.named("checkpoint_saved") if call[2]] == [3]


def test_a_folder_that_cannot_be_written_to_is_reported(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(CheckpointError, match=r"step 3 cannot be written.*free some space"):
        CheckpointStore(tmp_path / "file").save(checkpoint(), 3)


def test_a_full_disk_leaves_the_checkpoint_before_whole(tmp_path):
    pytest.importorskip("resource", reason="a limit of the size of files stands for a full disk")
    program = textwrap.dedent(
        """
        import resource, signal, sys
        from pathlib import Path
        import torch
        from kladml.errors import CheckpointError
        from kladml.training.checkpointing.store import Checkpoint, CheckpointStore

        store = CheckpointStore(Path(sys.argv[1]), keep_last=1)
        small, large = torch.zeros(3), torch.zeros(100_000)
        store.save(Checkpoint({"weight": small}, {}, {}), 1, is_best=True)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        for content in (
            Checkpoint({"weight": large}, {}, {}),
            Checkpoint({}, {"0.momentum": large}, {}),
            Checkpoint({}, {}, {"text": "x" * 200_000}),
        ):
            try:
                store.save(content, 2, is_best=True)
            except CheckpointError as error:
                print(error)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=300, check=True
    )

    said = done.stdout.splitlines()
    assert len(said) == 3, done
    assert all("step 2 cannot be written" in line and "free some space" in line for line in said)
    store = CheckpointStore(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"best.json", "step-00000001"}
    assert checkpoints.load(store.latest()).model["weight"].tolist() == [0, 0, 0]
    assert store.best() == store.latest()
