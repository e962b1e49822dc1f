"""Runs that go on: by address, as the latest one, from a folder, on another machine."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from kladml import BaseModel, ExperimentRunner, MLTask, hookimpl
from kladml.errors import (
    AddressError,
    CheckpointError,
    ConfigError,
    DataError,
    StopRun,
    StorageError,
    TrainingError,
    WorkspaceError,
)
from kladml.files.scratch import SCRATCH
from kladml.interfaces import ConfigEntry
from kladml.runner.record import RunRecord
from kladml.runner.resume import _configuration_of
from kladml.testing.fakes import MemoryCatalog, MemoryStorage, MemoryTracker
from kladml.workspace import Workspace

TRAINING = {
    "max_epochs": 4,
    "batch_size": 4,
    "log_every": 0,
    "checkpoint": {"every_steps": 1},
    "scheduler": {"name": "exponentiallr", "args": {"gamma": 0.9}},
}


class Net(nn.Module):
    """Takes its randomness from the global generators: weights and dropout."""

    def __init__(self, width=5):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, width), nn.Dropout(0.3), nn.Linear(width, 1))

    def training_step(self, batch):
        inputs, target = batch
        return ((self.layers(inputs)[:, 0] - target) ** 2).mean()


class Interrupting(Net):
    """Fails at a batch, as a process that is killed there."""

    at = None

    def training_step(self, batch):
        Interrupting.seen += 1
        if Interrupting.seen == Interrupting.at:
            raise OSError("the machine goes down")
        return super().training_step(batch)


Net.__qualname__ = Interrupting.__qualname__ = "Net"  # one class, as a file would have it


class StopAfter:
    def __init__(self, epoch):
        self.epoch = epoch

    @hookimpl
    def kladml_epoch_ended(self, epoch):
        if epoch == self.epoch:
            raise StopRun("enough for now")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(7)
    return random.random((11, 3)).astype(np.float32), random.random(11).astype(np.float32)


def interrupted(backends, data, at=8, **arguments):
    """Start a run that fails at a batch; the first step of each epoch of three is 1, 4, 7, 10."""
    Interrupting.seen, Interrupting.at = 0, at
    with pytest.raises(OSError, match="the machine goes down"):
        backends.runner().run(Interrupting, data, **({"training": TRAINING} | arguments))
    Interrupting.at = None


def weights(result):
    return {name: value.numpy().tobytes() for name, value in result.model.module.state_dict().items()}


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    """The weights of a run of the same training that nothing interrupted, in a workspace of its own."""
    place = Workspace.create(tmp_path_factory.mktemp("uninterrupted"))
    nothing = {"storage": None, "tracker": None, "catalog": None, "publisher": None, "config": None}
    return weights(ExperimentRunner(workspace=place, **nothing).run(Net, data, training=TRAINING))


RESUMING = {
    "address": "default/default/default@1",
    "bare address": "default@1",
    "number": "@1",
    "latest": "latest",
    "checkpoints": ".kladml/runs/default/default/default/1/checkpoints",
    "folder of the run": ".kladml/runs/default/default/default/1",
}


@pytest.mark.parametrize("resume", RESUMING.values(), ids=RESUMING.keys())
def test_run_goes_on_under_its_address_to_the_same_weights(backends, data, uninterrupted, resume):
    interrupted(backends, data)
    (before,) = backends.catalog.list_runs()
    result = backends.runner().run(Net, data, resume=resume)
    assert weights(result) == uninterrupted
    assert (str(result.address), result.run_id) == ("default/default/default@1", before.run_id)
    (tracked,) = backends.tracker.runs.values()
    assert tracked.status == "FINISHED"
    assert [epoch for epoch, _ in tracked.history["loss"]] == [1, 2, 3, 4]
    assert tracked.params["training.batch_size"] == 4
    (run,) = backends.catalog.list_runs()
    assert (run.status, run.started_at, run.metrics) == ("FINISHED", before.started_at, result.metrics)


@pytest.mark.parametrize("at", [2, 3, 4, 6, 7, 12])
def test_wherever_it_was_cut_off(backends, data, uninterrupted, at):
    interrupted(backends, data, at=at)
    assert weights(backends.runner().run(Net, data, resume="latest")) == uninterrupted


def test_a_run_may_be_cut_off_again_and_again(backends, data, uninterrupted):
    interrupted(backends, data, at=2)
    for _ in range(9):
        interrupted(backends, data, at=2, resume="@1")
    result = backends.runner().run(Net, data, resume="@1")
    assert weights(result) == uninterrupted
    (tracked,) = backends.tracker.runs.values()
    assert tracked.tags["kladml.resumed"] == "10"


def test_a_run_that_a_hook_stopped_goes_on(backends, data, uninterrupted, caplog):
    with pytest.raises(StopRun):
        backends.runner(hooks=[StopAfter(2)]).run(Net, data, training=TRAINING)
    assert backends.catalog.list_runs()[0].status == "KILLED"
    assert "'kladml train --resume default/default/default@1' goes on with the run from step-0000000" in caplog.text
    assert weights(backends.runner().run(Net, data, resume="latest")) == uninterrupted


def test_the_folder_keeps_what_resuming_needs(backends, data, in_a_workspace):
    interrupted(backends, data)
    folder = in_a_workspace / ".kladml" / "runs" / "default" / "default" / "default" / "1"
    record = json.loads((folder / "run.json").read_text())
    assert (record["status"], record["address"]) == ("FAILED", "default/default/default@1")
    assert "the machine goes down" in record["error"]
    assert yaml.safe_load((folder / "config.yaml").read_text())["training"]["batch_size"] == 4
    assert not (folder / "artifacts").exists()
    assert not (folder / "holder.json").exists()
    backends.runner().run(Net, data, resume="@1")
    record = json.loads((folder / "run.json").read_text())
    assert (record["status"], record["error"], record["resumed"]) == ("FINISHED", None, 1)


def test_what_could_not_be_stored_is_stored_by_resuming(backends, data, uninterrupted):
    class Full(MemoryStorage):
        def upload_file(self, local_path, bucket, key):
            raise OSError("no space left on device")

    with pytest.raises(StorageError, match="no space left on device"):
        backends.runner(storage=Full()).run(Net, data, training=TRAINING)
    result = backends.runner().run(Net, data, resume="latest")
    assert (result.status, weights(result)) == ("FINISHED", uninterrupted)
    assert "model/model.safetensors" in result.artifacts
    (tracked,) = backends.tracker.runs.values()
    assert [epoch for epoch, _ in tracked.history["loss"]] == [1, 2, 3, 4]


def test_path_from_elsewhere_begins_a_new_run(backends, data, uninterrupted, in_a_workspace, tmp_path_factory):
    interrupted(backends, data)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(in_a_workspace / ".kladml/runs/default/default/default/1/checkpoints", elsewhere / "checkpoints")
    result = backends.runner().run(Net, data, training=TRAINING, resume=elsewhere)
    assert weights(result) == uninterrupted
    assert str(result.address) == "default/default/default@2"
    first, second = backends.tracker.runs.values()
    (newest,) = elsewhere.glob("checkpoints/step-00000007*")
    assert second.tags["kladml.resumed_from"] == str(newest)
    assert [epoch for epoch, _ in second.history["loss"]] == [3, 4]
    assert (first.status, "kladml.resumed_from" in first.tags) == ("FAILED", False)


def test_a_certain_checkpoint_of_a_run(backends, data, uninterrupted, in_a_workspace):
    interrupted(backends, data)
    older = min((in_a_workspace / ".kladml/runs/default/default/default/1/checkpoints").glob("step-*"))
    backends.runner().run(Net, data, resume=older)
    result = backends.runner().run(Net, data, resume=older, training={"max_epochs": 5})
    assert str(result.address) == "default/default/default@1"


def test_damaged_newest_checkpoint_is_passed_over(backends, data, uninterrupted, in_a_workspace, caplog):
    interrupted(backends, data)
    newest = max((in_a_workspace / ".kladml/runs/default/default/default/1/checkpoints").glob("step-*"))
    content = bytearray((newest / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (newest / "model.safetensors").write_bytes(content)
    assert weights(backends.runner().run(Net, data, resume="@1")) == uninterrupted
    assert f"the checkpoint {newest} is damaged" in caplog.text


def test_a_model_of_ones_own_passes_the_checkpoint_on(backends, data, uninterrupted):
    class Own(BaseModel):
        ml_task = MLTask.REGRESSION
        net = Net

        def train(self, X_train, y_train=None, X_val=None, y_val=None):
            self.module = self.net()
            return self.run.trainer().fit(self.module, (X_train, y_train), resume=self.run.resume).metrics

        def evaluate(self, X_test, y_test=None):
            return {"samples": len(X_test)}

        predict = load = None

        def save(self, path):
            Path(path).write_text("x")

    Interrupting.seen, Interrupting.at, Own.net = 0, 8, Interrupting
    with pytest.raises(OSError, match="the machine goes down"):
        backends.runner().run(Own, data, training=TRAINING)
    Own.net = Net
    assert weights(backends.runner().run(Own, data, resume="latest")) == uninterrupted


# What must be the same


CHANGES = {
    "batch size": ({"training": {"batch_size": 5}}, TrainingError, "training.batch_size was 4 and is now 5"),
    "seed": ({"training": {"seed": 3}}, TrainingError, "training.seed was 0 and is now 3"),
    "learning rate": (
        {"training": {"optimizer": {"lr": 0.5}}},
        TrainingError,
        "training.optimizer.lr was 0.001 and is now 0.5",
    ),
    "schedule": (
        {"training": {"scheduler": {"args": {"gamma": 0.5}}}},
        TrainingError,
        'training.scheduler.args was {"gamma": 0.9} and is now {"gamma": 0.5}',
    ),
    "clipping": (
        {"training": {"gradient_clipping": 1.0}},
        TrainingError,
        "training.gradient_clipping was none and is now 1.0",
    ),
    "model's arguments": ({"model_args": {"width": 6}}, TrainingError, 'model.args was {} and is now {"width": 6}'),
    "loss": ({"loss": "mse"}, TrainingError, "model.loss was none and is now mse"),
    "two": (
        {"training": {"seed": 3, "shuffle": False}},
        TrainingError,
        "training.seed was 0 and is now 3; training.shuffle was true and is now false",
    ),
}


@pytest.mark.parametrize(("arguments", "error", "said"), CHANGES.values(), ids=CHANGES.keys())
def test_what_changes_the_numbers_is_refused(backends, data, arguments, error, said):
    interrupted(backends, data)
    with pytest.raises(error) as caught:
        backends.runner().run(Net, data, resume="@1", **arguments)
    assert f"run default/default/default@1 cannot go on as the same training: {said}; set it back" in str(caught.value)
    assert backends.catalog.list_runs()[0].status == "FAILED"
    assert [run.status for run in backends.tracker.runs.values()] == ["FAILED"]


def test_other_data_is_refused(backends, data):
    interrupted(backends, data)
    tags = next(iter(backends.tracker.runs.values())).tags
    before = tags["kladml.data_fingerprint"]
    with pytest.raises(DataError, match=f"its fingerprint was {before} and is now sha256:"):
        backends.runner().run(Net, (data[0] + 1, data[1]), resume="@1")


def test_other_validation_data_is_refused(backends, data):
    interrupted(backends, data, val_data=data)
    tags = next(iter(backends.tracker.runs.values())).tags
    before = tags["kladml.val_fingerprint"]
    other = (data[0] + 1, data[1])
    said = "run default/default/default@1 was validated on data with the fingerprint"
    with pytest.raises(DataError, match=f"{said} {before}, and is to go on with data with the fingerprint sha256:"):
        backends.runner().run(Net, data, other, resume="@1")
    with pytest.raises(DataError, match=f"{said} {before}, and is to go on with nothing"):
        backends.runner().run(Net, data, resume="@1")
    assert backends.runner().run(Net, data, data, resume="@1").status == "FINISHED"


def test_validation_data_that_there_was_not_is_refused(backends, data):
    interrupted(backends, data)
    assert next(iter(backends.tracker.runs.values())).tags["kladml.val_fingerprint"] == "none"
    with pytest.raises(DataError, match="was validated on nothing, and is to go on with data with the fingerprint"):
        backends.runner().run(Net, data, data, resume="@1")


def test_a_checkpoint_from_elsewhere_is_compared_as_well(backends, data, in_a_workspace, tmp_path_factory):
    interrupted(backends, data)
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "checkpoints"
    shutil.copytree(in_a_workspace / ".kladml/runs/default/default/default/1/checkpoints", elsewhere)
    with pytest.raises(TrainingError, match=r"the checkpoint .*elsewhere.* training.batch_size was 4 and is now 32"):
        backends.runner().run(Net, data, training={**TRAINING, "batch_size": 32}, resume=elsewhere)
    assert len(backends.catalog.list_runs()) == 1


def test_what_does_not_change_the_numbers_may_change(backends, data, uninterrupted):
    interrupted(backends, data, val_data=data)
    changed = {
        "log_every": 1,
        "timeout": 30.0,
        "validate_every_steps": 2,
        "device": "cpu",
        "checkpoint": {"keep_last": 1, "every_epochs": 2},
    }
    result = backends.runner().run(Net, data, data, resume="@1", training=changed)
    assert weights(result) == uninterrupted
    tags = next(iter(backends.tracker.runs.values())).tags
    assert (tags["kladml.resumed.training.log_every"], tags["kladml.resumed.training.device"]) == ("1", "cpu")
    assert next(iter(backends.tracker.runs.values())).params["training.log_every"] == 0


def test_finished_run_goes_on_only_to_be_trained_longer(backends, data):
    first = backends.runner().run(Net, data, training=TRAINING)
    with pytest.raises(CheckpointError, match="none that is not FINISHED has a checkpoint"):
        backends.runner().run(Net, data, resume="latest")
    with pytest.raises(TrainingError, match=r"is FINISHED, with training.max_epochs = 4; raise it .*max_epochs=N"):
        backends.runner().run(Net, data, resume="@1")
    longer = backends.runner().run(Net, data, resume="@1", training={"max_epochs": 6})
    assert (longer.address, longer.run_id) == (first.address, first.run_id)
    assert [epoch for epoch, _ in backends.tracker.runs[first.run_id].history["loss"]] == [1, 2, 3, 4, 5, 6]
    fresh = backends.runner().run(Net, data, training={**TRAINING, "max_epochs": 6})
    assert weights(longer) == weights(fresh)


def test_finished_run_with_a_bound_of_steps(backends, data):
    backends.runner().run(Net, data, training={**TRAINING, "max_steps": 6})
    with pytest.raises(TrainingError, match=r"max_epochs = 4 and training.max_steps = 6; raise it .*max_steps=N"):
        backends.runner().run(Net, data, resume="@1")
    result = backends.runner().run(Net, data, resume="@1", training={"max_steps": None})
    assert weights(result) == weights(backends.runner().run(Net, data, training=TRAINING))


# Configuration


def test_a_configuration_file_takes_the_place_of_the_stored_one(backends, data, in_a_workspace, uninterrupted):
    interrupted(backends, data)
    (in_a_workspace / "train.yaml").write_text(yaml.safe_dump({"training": TRAINING}))
    runner = backends.runner(config_file=in_a_workspace / "train.yaml")
    assert weights(runner.run(Net, data, resume="@1")) == uninterrupted
    (in_a_workspace / "train.yaml").write_text(yaml.safe_dump({"training": {**TRAINING, "batch_size": 6}}))
    with pytest.raises(TrainingError, match=r"training\.batch_size was 4 and is now 6"):
        backends.runner(config_file=in_a_workspace / "train.yaml").run(Net, data, resume="@1")


def test_environment_comes_over_the_stored_configuration(backends, data, monkeypatch):
    interrupted(backends, data)
    monkeypatch.setenv("KLADML_TRAINING__MAX_EPOCHS", "5")
    result = backends.runner().run(Net, data, resume="@1")
    assert [epoch for epoch, _ in backends.tracker.runs[result.run_id].history["loss"]] == [1, 2, 3, 4, 5]


def test_references_are_found_where_they_were(backends, in_a_workspace):
    project = in_a_workspace / "project"
    project.mkdir()
    (project / "mine.py").write_text(
        "import numpy as np, torch\n"
        "class Line(torch.nn.Linear):\n"
        "    def __init__(self): super().__init__(2, 1)\n"
        "def data(): return np.ones((6, 2), dtype=np.float32), np.ones((6, 1), dtype=np.float32)\n"
    )
    content = {"model": {"ref": "mine.py:Line", "loss": "mse"}, "data": {"train": "mine.py:data"}}
    (project / "train.yaml").write_text(yaml.safe_dump({**content, "training": {"max_epochs": 3}}))
    with pytest.raises(StopRun):
        backends.runner(config_file=project / "train.yaml", hooks=[StopAfter(2)]).run()
    result = backends.runner().run(resume="latest")
    record = RunRecord.read(in_a_workspace / ".kladml/runs" / result.address.path)
    assert record.status == "FINISHED"
    assert record.tags["kladml.config_file"] == "project/train.yaml"  # it was configured by it all the same


def test_a_run_does_not_go_on_with_another_share_kept_back(backends, data):
    runner = backends.runner(hooks=[StopAfter(2)], overrides=[ConfigEntry("data.val_split", 0.5, "here")])
    with pytest.raises(StopRun):
        runner.run(Net, data, training=TRAINING)
    assert next(iter(backends.tracker.runs.values())).tags["kladml.val_fingerprint"] == "part of training data"
    with pytest.raises(DataError, match="validated on a part of its training data, and is to go on with data with the"):
        backends.runner().run(Net, data, data, resume="@1")
    assert backends.runner().run(Net, data, resume="@1").metrics["val_loss"] > 0
    with pytest.raises(TrainingError, match=r"data\.val_split was 0\.5 and is now 0\.25"):
        backends.runner(overrides=[ConfigEntry("data.val_split", 0.25, "here")]).run(Net, data, resume="@1")


def test_experiment_of_the_address_counts(backends, data, in_a_workspace):
    interrupted(backends, data, experiment_name="vision/cnn/digits")
    (in_a_workspace / "train.yaml").write_text(yaml.safe_dump({"training": TRAINING}))
    runner = backends.runner(config_file=in_a_workspace / "train.yaml")
    with pytest.raises(ConfigError, match="run vision/cnn/digits@1 is not one of the experiment default/default/other"):
        runner.run(Net, data, "default/default/other", resume="vision/cnn/digits@1", experiment_name="other")
    assert str(runner.run(Net, data, resume="vision/cnn/digits@1").address) == "vision/cnn/digits@1"


def test_what_was_masked_as_a_secret_is_not_taken_over(in_a_workspace):
    stored = {
        "storage": {
            "use": "s3",
            "s3": {"bucket": "mine", "secret_key": "***", "url": "https://***@host", "keys": ["***"]},
        },
        "training": {"seed": 3},
    }
    (in_a_workspace / "config.yaml").write_text(yaml.safe_dump(stored))
    kept = {entry.key: entry.value for entry in _configuration_of(in_a_workspace)}
    assert kept == {"storage.use": "s3", "storage.s3.bucket": "mine", "training.seed": 3}


# Trackers and catalogs that cannot


class ForgetfulTracker(MemoryTracker):
    capabilities = frozenset({"artifacts", "read"})

    def resume_run(self, run_id):
        raise self._lacks("resume", f"go on with run '{run_id}'")


class ForgetfulCatalog(MemoryCatalog):
    capabilities = frozenset()

    def resume_run(self, address, run_id, backends):
        raise self._lacks("resume", f"note that run '{address}' goes on")


def test_a_tracker_that_cannot_resume_starts_a_new_run(backends, data, caplog, uninterrupted):
    backends.tracker = ForgetfulTracker()
    interrupted(backends, data)
    interrupted(backends, data, at=2, resume="@1")
    result = backends.runner().run(Net, data, resume="@1")
    assert weights(result) == uninterrupted
    assert "starts a new run, because it cannot go on with" in caplog.text
    first, second, third = backends.tracker.runs.values()
    assert [run.status for run in (first, second, third)] == ["FAILED", "FAILED", "FINISHED"]
    assert third.params["training.batch_size"] == 4
    (run,) = backends.catalog.list_runs()
    assert (str(run.address), run.run_id) == ("default/default/default@1", third.run_id)


def test_each_tracker_goes_on_with_its_own_run(backends, data):
    first, second = MemoryTracker(), MemoryTracker()
    backends.tracker = [first, second]
    interrupted(backends, data)
    backends.runner().run(Net, data, resume="@1")
    for tracker in (first, second):
        (run,) = tracker.runs.values()
        assert (run.status, len(run.history["loss"])) == ("FINISHED", 4)


def test_a_catalog_that_cannot_resume_does_not_stop_the_run(backends, data, caplog):
    backends.catalog = ForgetfulCatalog()
    interrupted(backends, data)
    result = backends.runner().run(Net, data, resume="@1")
    assert "does not show that run default/default/default@1 goes on" in caplog.text
    (run,) = backends.catalog.list_runs()
    assert (run.status, run.metrics) == ("FINISHED", result.metrics)


def test_another_run_of_that_address_in_the_catalog_is_refused(backends, data):
    interrupted(backends, data)
    backends.catalog, backends.storage = MemoryCatalog(), MemoryStorage()
    backends.runner().run(Net, data, training={"max_epochs": 1})
    backends.catalog.runs[0] = backends.catalog.runs[0].__class__(
        backends.catalog.runs[0].address, "another", "FINISHED", backends.catalog.runs[0].started_at
    )
    with pytest.raises(WorkspaceError, match="the catalog has another run default/default/default@1, 'another'"):
        backends.runner().run(Net, data, resume="@1", training={"max_epochs": 9})


# What there is not


@pytest.mark.parametrize(
    ("resume", "error", "said"),
    [
        ("latest", CheckpointError, "no run of default/default/default can go on"),
        ("@7", AddressError, "there is no run default/default/default@7 in this workspace"),
        ("other@1", AddressError, "there is no run default/default/other@1"),
        ("absent", AddressError, "'absent' is neither the address of a run nor a folder"),
        ("a/b@1", AddressError, "'a/b' is no experiment address"),
        (".", CheckpointError, "there is no whole checkpoint in"),
        (".kladml/runs/default", AddressError, "is the folder of many runs"),
    ],
)
def test_what_is_not_there_is_said(backends, model_class, data, in_a_workspace, resume, error, said):
    backends.runner().run(model_class, data)  # of a model that saves no checkpoints
    folders = sorted(in_a_workspace.rglob("*"))
    with pytest.raises(error, match=said):
        backends.runner().run(Net, data, resume=resume)
    assert sorted(in_a_workspace.rglob("*")) == folders
    assert len(backends.catalog.list_runs()) == 1


def test_a_run_without_a_checkpoint_cannot_go_on(backends, model_class, data):
    backends.runner().run(model_class, data)
    with pytest.raises(CheckpointError, match="run default/default/default@1 has no whole checkpoint to go on from"):
        backends.runner().run(Net, data, resume="@1")


# On another machine


def elsewhere(backends, tmp_path_factory, **other):
    """Return a runner of a machine that shares nothing with the first one but the storage."""
    other.setdefault("catalog", MemoryCatalog())
    place = Workspace.create(tmp_path_factory.mktemp("machine"))
    return backends.runner(workspace=place, tracker=MemoryTracker(), **other)


@pytest.mark.parametrize("mirror", [True, False])
@pytest.mark.parametrize("resume", ["@1", "latest", "default/default/default@1"])
def test_an_empty_machine_goes_on_from_the_storage(backends, data, uninterrupted, tmp_path_factory, mirror, resume):
    checkpoint = {**TRAINING["checkpoint"], "mirror": mirror}
    interrupted(backends, data, training={**TRAINING, "checkpoint": checkpoint})
    catalog = MemoryCatalog()
    runner = elsewhere(backends, tmp_path_factory, catalog=catalog)
    result = runner.run(Net, data, resume=resume)
    assert weights(result) == uninterrupted
    assert str(result.address) == "default/default/default@1"
    assert [(str(run.address), run.status) for run in catalog.list_runs()] == [
        ("default/default/default@1", "FINISHED")
    ]
    assert str(runner.run(Net, data, training=TRAINING).address) == "default/default/default@2"


def test_a_run_writes_nothing_outside_its_workspace(backends, data, tmp_path_factory, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("system") / "absent"))
    checkpoint = {**TRAINING["checkpoint"], "mirror": True}
    interrupted(backends, data, training={**TRAINING, "checkpoint": checkpoint})
    again = elsewhere(backends, tmp_path_factory)
    assert again.run(Net, data, resume="@1").status == "FINISHED"
    assert list((again._workspace.state / SCRATCH).iterdir()) == []


def test_mirrored_checkpoints_are_in_the_storage_once(backends, data):
    checkpoint = {**TRAINING["checkpoint"], "mirror": True}
    interrupted(backends, data, training={**TRAINING, "checkpoint": checkpoint})
    keys = backends.storage.list_files("kladml", "default/default/default/1/")
    assert {key.split("/")[4] for key in keys} == {"checkpoints", "config.yaml", "run.json"}


def test_the_newest_checkpoint_is_mirrored_also_after_a_failure(backends, data, in_a_workspace):
    checkpoint = {**TRAINING["checkpoint"], "mirror": True}
    interrupted(backends, data, training={**TRAINING, "checkpoint": checkpoint})
    newest = max((in_a_workspace / ".kladml/runs/default/default/default/1/checkpoints").glob("step-*"))
    assert f"default/default/default/1/checkpoints/{newest.name}/MANIFEST.json" in backends.storage.list_files("kladml")
    assert not list(newest.parent.glob(".mirror-*"))


def test_mirror_without_a_storage_is_said(backends, data, caplog):
    training = {**TRAINING, "checkpoint": {"mirror": True}}
    backends.runner(storage=None).run(Net, data, training=training)
    assert "training.checkpoint.mirror is on, and no storage is selected" in caplog.text


def test_another_machines_run_of_the_same_address_is_not_mixed_in(backends, model_class, data, tmp_path_factory):
    interrupted(backends, data)
    runner = elsewhere(backends, tmp_path_factory, storage=None)
    runner.run(model_class, data)  # its own @1, without a checkpoint
    runner._arguments["storage"] = backends.storage
    with pytest.raises(WorkspaceError, match=r"run default/default/default@1 of this workspace is '\w+', and that of"):
        runner.run(Net, data, resume="@1")


def test_a_storage_that_fails_is_said(backends, data, tmp_path_factory):
    class Failing(type(backends.storage)):
        def list_files(self, bucket, prefix=""):
            raise StorageError("the bucket is on fire")

    with pytest.raises(StorageError, match="the bucket is on fire"):
        elsewhere(backends, tmp_path_factory, storage=Failing()).run(Net, data, resume="@1")


def test_what_another_run_left_in_the_folder_is_put_aside(backends, data, uninterrupted, caplog):
    interrupted(backends, data)
    # As after its database was deleted, and with another storage: numbers begin anew.
    backends.catalog, backends.storage = MemoryCatalog(), MemoryStorage()
    interrupted(backends, data, at=3)
    assert "another run left files in" in caplog.text
    result = backends.runner().run(Net, data, resume="@1")
    assert weights(result) == uninterrupted
    assert result.run_id == list(backends.tracker.runs)[1]


def test_stored_files_of_another_run_are_not_written_over(backends, model_class, data):
    backends.runner().run(model_class, data)
    stored = dict(backends.storage.files)
    assert "default/default/default/1/run.json" in [key for _, key in stored]
    backends.catalog = MemoryCatalog()
    with pytest.raises(StorageError, match="another run default/default/default@1 has its files there"):
        backends.runner().run(model_class, data)
    assert backends.storage.files == stored
    assert backends.catalog.list_runs()[0].status == "FAILED"
