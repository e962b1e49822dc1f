"""A run from the configuration to the stored files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from kladml import ExperimentRunner, PublisherInterface, StorageInterface, TrackerInterface, hookimpl
from kladml.errors import (
    BackendError,
    ConfigError,
    DataError,
    MissingMetricError,
    ModelContractError,
    ModelReferenceError,
    StopRun,
    StorageError,
    TrainingError,
    UnknownKeyError,
    WrongTypeError,
)
from kladml.interfaces import ConfigEntry
from kladml.plugins import PluginIndex, PluginRegistry
from kladml.runner.data import fingerprint
from kladml.testing.fakes import MemoryPublisher, MemoryStorage, MemoryTracker


class Linear(nn.Linear):
    def __init__(self, width=1):
        super().__init__(3, width)


class WithStep(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 1)

    def training_step(self, batch, index):
        inputs, target = batch
        error = self.layer(inputs)[:, 0] - target
        return {"loss": (error**2).mean(), "mae": error.abs().mean()}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def stored(backends, result, name):
    key = f"{result.address.path}/{name}"
    return backends.storage.files["kladml", key]


def test_parameters_metrics_and_artifacts_are_where_they_belong(backends, model_class, data):
    result = backends.runner().run(model_class, data, experiment_name="my-experiment")
    tracked = backends.tracker.get_run(result.run_id)
    assert tracked.status == result.status == "FINISHED"
    assert tracked.experiment_name == "my-experiment"
    assert tracked.params["training.seed"] == "0"
    assert tracked.metrics.keys() == {"seen", "mse", "train_mse"}
    assert result.metrics == {name: tracked.metrics[name] for name in ("mse", "train_mse")}
    assert set(result.artifacts) == {"model/model.npy", "config.yaml", "run.json"}
    assert str(result.address) == "default/default/my-experiment@1"
    for name, uri in result.artifacts.items():
        assert tracked.tags[f"kladml.artifact.{name}"] == uri
    config = yaml.safe_load(stored(backends, result, "config.yaml"))
    assert config["experiment"] == "my-experiment"
    record = json.loads(stored(backends, result, "run.json"))
    assert (record["run_id"], record["status"]) == (result.run_id, "FINISHED")


def test_the_result_indexes_like_a_dict(backends, model_class, data):
    result = backends.runner().run(model_class, data)
    assert result["metrics"] is result.metrics
    assert dict(result)["run_id"] == result.run_id
    with pytest.raises(KeyError):
        result["keys"]


def test_runs_are_tagged_with_what_they_were_made_from(backends, model_class, data):
    tags = [backends.tracker.get_run(backends.runner().run(model_class, part).run_id).tags for part in (data, data)]
    other = backends.runner().run(model_class, (data[0] + 1, data[1]))
    assert tags[0]["kladml.data_fingerprint"] == tags[1]["kladml.data_fingerprint"]
    assert tags[0]["kladml.data_fingerprint"] != backends.tracker.get_run(other.run_id).tags["kladml.data_fingerprint"]
    assert tags[0]["kladml.config_sha256"] == tags[1]["kladml.config_sha256"]
    assert tags[1]["kladml.address"] == "default/default/default@2"
    assert "kladml.testing.fakes" in tags[0]["kladml.plugins"]


def test_a_model_that_keeps_the_contract_by_hand_is_told_its_run(backends, model_class, data):
    model = backends.runner().run(model_class, data).model
    assert model.run.checkpoint_dir.name == "checkpoints"
    assert np.allclose(model.predict(data[0]), data[1].mean())


@pytest.mark.parametrize("form", ["arrays", "dataset", "loader", "batches"])
def test_a_bare_module_trains_on_every_form_of_data(backends, data, form):
    inputs, target = (torch.tensor(part, dtype=torch.float32) for part in data)
    dataset = TensorDataset(inputs, target[:, None])
    forms = {
        "arrays": (data[0], data[1][:, None]),
        "dataset": dataset,
        "loader": DataLoader(dataset, batch_size=6),
        "batches": list(DataLoader(dataset, batch_size=6)),
    }
    result = backends.runner().run(Linear, forms[form], forms[form], loss="mse", training={"max_epochs": 2})
    assert set(result.metrics) == {"loss", "lr", "val_loss", "eval_loss"}
    assert result.metrics["eval_loss"] == pytest.approx(result.metrics["val_loss"])
    history = backends.tracker.metric_history(result.run_id, "val_loss")
    assert [step for step, _ in history] == [1, 2]
    assert "model/model.safetensors" in result.artifacts
    assert any(name.startswith("checkpoint/step-") for name in result.artifacts)


def test_a_module_with_training_step_runs(backends, data):
    result = backends.runner().run(WithStep, data, data, training={"max_epochs": 3})
    assert {"mae", "val_mae", "eval_mae"} <= set(result.metrics)
    assert result.metrics["lr"] == 0.1


def test_a_scikit_learn_estimator_runs(backends, data):
    from sklearn.ensemble import RandomForestRegressor

    result = backends.runner().run(RandomForestRegressor, data, data, model_args={"n_estimators": 3})
    assert {"r2", "val_r2", "eval_r2"} <= set(result.metrics)
    assert "model/model.skops" in result.artifacts
    again = backends.runner().run(RandomForestRegressor, data, data, model_args={"n_estimators": 3})
    assert again.metrics == result.metrics


def test_what_an_estimator_does_not_use_is_said(backends, data, caplog):
    from sklearn.linear_model import LinearRegression

    arguments = {"training": {"seed": 3, "max_epochs": 5, "optimizer": {"lr": 0.1}}, "loss": "mse"}
    backends.runner().run(LinearRegression, data, **arguments)
    said = "LinearRegression is a scikit-learn estimator and makes no use of "
    assert f"{said}training.max_epochs, training.optimizer.lr, model.loss" in caplog.text
    caplog.clear()
    backends.runner().run(LinearRegression, data, training={"seed": 3})
    assert said not in caplog.text


def test_the_same_seed_gives_the_same_weights(backends, data):
    arguments = {"loss": "mse", "training": {"max_epochs": 2}}
    runs = [backends.runner().run(Linear, (data[0], data[1][:, None]), **arguments) for _ in range(2)]
    weights = [stored(backends, run, "model/model.safetensors") for run in runs]
    assert weights[0] == weights[1]


def test_messages_come_in_order_on_the_runs_channel(backends, data):
    backends.runner().run(WithStep, data, data, training={"max_epochs": 2, "log_every": 1, "batch_size": 10})
    events = backends.events()
    saved = [index for index, event in enumerate(events) if event == "checkpoint_saved"]
    assert [event for event in events if event != "checkpoint_saved"] == [
        "run_started",
        *("step", "step", "epoch_ended") * 2,
        "run_ended",
    ]
    # Checkpoints are written beside the training: each is told of once it is complete.
    assert len(saved) == 2
    assert all(events[:index].count("epoch_ended") > number for number, index in enumerate(saved))
    channels = {channel for channel, _ in backends.publisher.messages}
    assert channels == {"kladml:default/default/default@1"}
    assert all(json.loads(json.dumps(message)) == message for _, message in backends.publisher.messages)


def test_steps_are_series_of_their_own_beside_the_epochs(backends, data):
    training = {"max_epochs": 2, "log_every": 1, "batch_size": 10}
    result = backends.runner().run(WithStep, data, data, training=training)
    history = backends.tracker.runs[result.run_id].history
    steps = [message for _, message in backends.publisher.messages if message["event"] == "step"]
    assert history["loss_step"] == [(message["step"], message["loss"]) for message in steps]
    assert history["lr_step"] == [(step, 0.1) for step in (1, 2, 3, 4)]
    assert [step for step, _ in history["loss"]] == [1, 2]
    assert not {"loss_step", "lr_step"} & result.metrics.keys()


def test_validations_inside_an_epoch_are_series_of_their_own(backends, data):
    training = {"max_epochs": 2, "validate_every_steps": 2, "batch_size": 5, "log_every": 0}
    result = backends.runner().run(WithStep, data, data, training=training)
    history = backends.tracker.runs[result.run_id].history
    said = [message for _, message in backends.publisher.messages if message["event"] == "validated"]
    assert [(message["epoch"], message["step"]) for message in said] == [(1, 2), (1, 4), (2, 6), (2, 8)]
    for name in ("loss", "val_loss", "val_mae"):
        assert history[f"{name}_step"] == [(message["step"], message["metrics"][name]) for message in said]


class OnlyAbstractTracker(TrackerInterface):
    def __init__(self):
        self.calls = []

    def start_run(self, experiment_name, run_name=None):
        self.calls.append(("start", experiment_name, run_name))
        return "mine-1"

    def log_params(self, params):
        self.calls.append(("params", dict(params)))

    def log_metric(self, key, value, step=None):
        self.calls.append(("metric", key, value, step))

    def end_run(self, status="FINISHED"):
        self.calls.append(("end", status))


class OnlyAbstractPublisher(PublisherInterface):
    def __init__(self):
        self.messages = []

    def publish(self, channel, message):
        self.messages.append(message["event"])


class OnlyAbstractStorage(StorageInterface):
    """As in the issue: three methods and a bucket name."""

    def __init__(self, bucket_name):
        self.bucket_name = bucket_name
        self.files = {}

    def upload_file(self, local_path, bucket, key):
        self.files[bucket, key] = Path(local_path).read_bytes()
        return f"s3://{bucket}/{key}"

    def download_file(self, bucket, key, local_path):
        Path(local_path).write_bytes(self.files[bucket, key])
        return str(local_path)

    def list_files(self, bucket, prefix=""):
        return sorted(key for name, key in self.files if name == bucket and key.startswith(prefix))


def test_backends_with_only_their_abstract_methods_work(backends, data):
    storage, tracker, publisher = OnlyAbstractStorage("my-bucket"), OnlyAbstractTracker(), OnlyAbstractPublisher()
    runner = backends.runner(storage=storage, tracker=tracker, publisher=publisher, catalog=None)
    result = runner.run(WithStep, data, experiment_name="e", training={"max_epochs": 1})
    assert result.run_id == "mine-1"
    assert tracker.calls[0] == ("start", "e", None)
    assert ("end", "FINISHED") in tracker.calls
    params = {key: value for call in tracker.calls if call[0] == "params" for key, value in call[1].items()}
    assert params["tags.kladml.seed"] == "0"
    assert {"run_started", "epoch_ended", "run_ended"} <= set(publisher.messages)
    assert {bucket for bucket, _ in storage.files} == {"my-bucket"}
    assert set(result.artifacts.values()) == {f"s3://my-bucket/{key}" for _, key in storage.files}


def test_the_configured_bucket_wins_over_the_storages_own(backends, model_class, data, in_a_workspace):
    (in_a_workspace / "run.yaml").write_text("artifacts: {bucket: other}\n")
    runner = backends.runner(storage=OnlyAbstractStorage("mine"), config_file=in_a_workspace / "run.yaml")
    assert all("s3://other/" in uri for uri in runner.run(model_class, data).artifacts.values())


def test_a_share_of_the_training_data_is_kept_back_where_there_is_no_other(backends, model_class, data):
    runner = backends.runner(overrides=[ConfigEntry("data.val_split", 0.25, "here")])
    result = runner.run(model_class, data)
    tracked = backends.tracker.runs[result.run_id]
    assert tracked.history["seen"] == [(1, 15)]
    assert "eval_mse" in result.metrics
    assert tracked.tags["kladml.data_fingerprint"] == fingerprint(data)  # of all of it
    given = runner.run(model_class, data, data)
    assert backends.tracker.runs[given.run_id].history["seen"] == [(1, 20)]


def test_a_run_notes_which_file_it_was_configured_by(backends, model_class, data, in_a_workspace, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "run.yaml"
    for file, noted in ((in_a_workspace / "run.yaml", "run.yaml"), (outside, outside.as_posix())):
        file.write_text("experiment: x\n")
        result = backends.runner(config_file=file).run(model_class, data)
        assert backends.tracker.runs[result.run_id].tags["kladml.config_file"] == noted


def test_everything_can_be_switched_off(backends, model_class, data, in_a_workspace):
    runner = backends.runner(storage=None, tracker=None, publisher=None, catalog=None)
    result = runner.run(model_class, data)
    assert len(result.run_id) == 32
    assert result.address.label == result.run_id[:8]
    kept = in_a_workspace / ".kladml" / "runs" / result.address.path / "artifacts"
    assert {path.name for path in kept.rglob("*") if path.is_file()} == {"config.yaml", "run.json", "model.npy"}


def test_without_a_workspace_the_current_folder_becomes_one(backends, model_class, data, tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("empty")
    monkeypatch.chdir(folder)
    backends.runner().run(model_class, data)
    assert (folder / ".kladml").is_dir()


def test_defaults_that_are_not_installed_are_off_and_said(model_class, data, caplog):
    runner = ExperimentRunner(registry=PluginRegistry(PluginIndex([])), storage=MemoryStorage())
    result = runner.run(model_class, data)
    said = [record.message for record in caplog.records]
    for kind in ("tracker", "publisher", "catalog"):
        assert any(message.startswith(f"{kind} is off: nothing was selected") for message in said)
    assert result.status == "FINISHED"


class FailingTracker(MemoryTracker):
    """Starts, then its server goes away."""

    def log_metrics(self, metrics, step=None):
        raise ConnectionError("no route to https://me:hunter2@host")

    def set_tags(self, tags):
        raise ConnectionError("no route")


def test_a_tracker_that_fails_stops_neither_the_run_nor_the_others(backends, data, caplog):
    runner = backends.runner(tracker=[FailingTracker(), backends.tracker])
    result = runner.run(WithStep, data, training={"max_epochs": 5})
    assert result.status == "FINISHED"
    assert "loss" in backends.tracker.get_run(next(iter(backends.tracker.runs))).metrics
    (warning,) = result.warnings
    assert "FailingTracker" in warning
    assert "hunter2" not in warning + caplog.text
    assert sum("failed in" in record.message for record in caplog.records) == 1


class RefusingTracker(MemoryTracker):
    def check(self):
        raise BackendError("the server refuses", owner="acme 1.0", next_step="log in")


def test_the_only_tracker_failing_its_preflight_ends_the_run_before_it_starts(backends, model_class, data):
    with pytest.raises(BackendError, match="the server refuses"):
        backends.runner(tracker=RefusingTracker()).run(model_class, data)
    assert backends.catalog.list_runs() == []


def test_one_of_two_trackers_failing_its_preflight_is_left_out(backends, model_class, data, caplog):
    result = backends.runner(tracker=[RefusingTracker(), backends.tracker]).run(model_class, data)
    assert "the run goes on without it: the server refuses" in caplog.text
    assert result.warnings == ["the run went on without it: the server refuses (acme 1.0); log in"]


class BrokenPublisher(MemoryPublisher):
    def check(self):
        raise ConnectionError("nobody there")


def test_a_publisher_that_is_down_is_left_out(backends, model_class, data, caplog):
    assert backends.runner(publisher=BrokenPublisher()).run(model_class, data).status == "FINISHED"
    assert "publisher 'BrokenPublisher' cannot be used" in caplog.text


class Refusing(MemoryStorage):
    def check(self):
        raise StorageError("the bucket 'ml' does not exist")


def test_a_storage_failing_its_preflight_ends_the_run_before_it_starts(backends, model_class, data):
    with pytest.raises(StorageError, match="the bucket 'ml' does not exist"):
        backends.runner(storage=Refusing()).run(model_class, data)
    assert backends.tracker.runs == {}


class FullStorage(MemoryStorage):
    def upload_file(self, local_path, bucket, key):
        raise OSError("no space left on device")


def test_files_that_cannot_be_stored_stay_in_the_workspace(backends, model_class, data, in_a_workspace):
    with pytest.raises(StorageError, match=r"no space left on device.*they are kept in") as caught:
        backends.runner(storage=FullStorage()).run(model_class, data)
    kept = in_a_workspace / ".kladml" / "runs" / "default" / "default" / "default" / "1" / "artifacts"
    assert str(kept) in str(caught.value)
    assert (kept / "model" / "model.npy").is_file()
    assert backends.catalog.list_runs()[0].status == "FAILED"


class OwnError(Exception):
    pass


def raising(error, model_class):
    class Raising(model_class):
        def train(self, X_train, y_train=None, X_val=None, y_val=None):
            self.run.log_metric("before", 1.0)
            raise error

    return Raising


@pytest.mark.parametrize(
    ("error", "status"), [(OwnError("mine"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(143), "KILLED")]
)
def test_an_exception_of_the_users_code_is_kept_and_the_run_marked(backends, model_class, data, error, status):
    with pytest.raises(type(error)) as caught:
        backends.runner().run(raising(error, model_class), data)
    assert caught.value is error
    assert any(entry.name == "train" for entry in caught.traceback)
    (run,) = backends.catalog.list_runs()
    assert run.status == status
    tracked = backends.tracker.get_run(run.run_id)
    assert (tracked.status, tracked.metrics) == (status, {"before": 1.0})
    assert backends.events()[-1] == "run_ended"
    assert "default/default/default/1/run.json" in backends.storage.list_files("kladml")


def test_what_was_saved_before_a_failure_is_kept(backends, data):
    class FailsLater(WithStep):
        epochs = 0

        def training_step(self, batch, index):
            FailsLater.epochs += 1
            if FailsLater.epochs == 3:
                raise OwnError
            return super().training_step(batch, index)

    with pytest.raises(OwnError):
        backends.runner().run(FailsLater, data)
    stored_keys = backends.storage.list_files("kladml")
    assert any("checkpoint/step-00000002/model.safetensors" in key for key in stored_keys)
    _, last = backends.publisher.messages[-1]
    assert (last["event"], last["status"]) == ("run_ended", "FAILED")
    assert {f"memory://kladml/{key}" for key in stored_keys} == set(last["artifacts"].values())


def test_a_second_interrupt_while_storing_still_marks_the_run(backends, model_class, data):
    class Interrupted(MemoryStorage):
        def upload_file(self, local_path, bucket, key):
            raise KeyboardInterrupt

    runner = backends.runner(storage=Interrupted())
    with pytest.raises(KeyboardInterrupt):
        runner.run(raising(KeyboardInterrupt(), model_class), data)
    assert backends.catalog.list_runs()[0].status == "KILLED"


def test_metrics_are_those_of_the_weights_that_were_kept(backends, data):
    training = {"max_epochs": 6, "optimizer": {"lr": 2.0}, "checkpoint": {"restore_best": True}}
    result = backends.runner().run(
        Linear, (data[0], data[1][:, None]), (data[0], data[1][:, None]), loss="mse", training=training
    )
    history = dict(backends.tracker.metric_history(result.run_id, "val_loss"))
    assert len(history) == 6
    assert result.metrics["val_loss"] == min(history.values()) == pytest.approx(result.metrics["eval_loss"])


class Hooks:
    def __init__(self, stop_in=None):
        self.seen = []
        self.stop_in = stop_in

    @hookimpl
    def kladml_run_started(self, run):
        self.seen.append(("started", run.address))

    @hookimpl
    def kladml_epoch_ended(self, run, epoch, metrics):
        self.seen.append(("epoch", epoch, sorted(metrics)))
        if epoch == self.stop_in:
            raise StopRun("enough")

    @hookimpl
    def kladml_checkpoint_saved(self, path, is_best):
        self.seen.append(("checkpoint", path.is_dir(), is_best))

    @hookimpl
    def kladml_run_ended(self, status):
        self.seen.append(("ended", status))
        raise RuntimeError("too late to matter")


def test_lifecycle_hooks_are_called_in_order(backends, data, caplog):
    hooks = Hooks()
    backends.runner(hooks=[hooks]).run(WithStep, data, training={"max_epochs": 1})
    assert hooks.seen == [
        ("started", "default/default/default@1"),
        ("epoch", 1, ["loss", "lr", "mae"]),
        ("checkpoint", True, True),
        ("ended", "FINISHED"),
    ]
    assert "hook kladml_run_ended failed and the run goes on" in caplog.text


def test_a_hook_may_end_the_run(backends, data):
    with pytest.raises(StopRun, match="enough"):
        backends.runner(hooks=[Hooks(stop_in=2)]).run(WithStep, data, training={"max_epochs": 9})
    assert backends.catalog.list_runs()[0].status == "KILLED"


class HostileTracker(OnlyAbstractTracker):
    def start_run(self, experiment_name, run_name=None):
        return "../../../escaped"


def test_a_trackers_identifier_never_becomes_a_path(backends, model_class, data):
    result = backends.runner(tracker=HostileTracker(), catalog=None).run(model_class, data)
    assert result.run_id == "../../../escaped"
    assert all(key.startswith("default/default/default/") for key in backends.storage.list_files("kladml"))
    assert ".." not in result.address.path


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"model_class": None}, ModelReferenceError, "there is no model; name a configuration"),
        ({"model_class": dict}, ModelContractError, "dict lacks part of the model contract: train, predict"),
        ({"model_class": Linear}, ModelContractError, "Linear is an nn.Module without training_step"),
        ({"model_class": Linear()}, ModelContractError, "the model is a Linear, not a class"),
        ({"train_data": None}, DataError, "there is no train_data"),
        ({"train_data": (np.ones((3, 2)), np.ones(4))}, DataError, "different lengths: 3, 4"),
        ({"train_data": (np.ones((0, 2)), np.ones(0))}, DataError, "train_data is empty"),
        ({"val_data": (np.ones((0, 2)), np.ones(0))}, DataError, "val_data is empty"),
        ({"train_data": "absent.npz"}, DataError, "data.train 'absent.npz' does not exist"),
        ({"training": {"max_epoch": 1}}, UnknownKeyError, "did you mean training.max_epochs"),
        (
            {"model_class": WithStep, "training": {"mixed_precision": "fp16", "device": "cpu"}},
            TrainingError,
            "fp16, which needs a GPU",
        ),
        (
            {"model_class": WithStep, "training": {"optimizer": {"name": "adamv"}}},
            WrongTypeError,
            "training.optimizer.name 'adamv' is not in torch.optim; did you mean Adam",
        ),
        ({"model_class": Linear, "loss": "mce"}, ModelContractError, "there is no loss named 'mce'"),
        (
            {"model_class": WithStep, "training": {"checkpoint": {"monitor": "zeal"}}},
            WrongTypeError,
            "training.checkpoint.mode is auto, and the name 'zeal' does not tell",
        ),
        ({"training": {"num_processes": 2}}, TrainingError, "num_processes is 2, and training.distributed is false"),
        (
            {"model_class": WithStep, "training": {"distributed": True, "num_processes": 2}},
            TrainingError,
            "asks for 2 processes, and this is a single one that no launcher started; use 'kladml train --distributed",
        ),
    ],
)
def test_what_cannot_work_is_said_before_the_run_starts(backends, model_class, data, arguments, error, said):
    with pytest.raises(error, match=said):
        backends.runner().run(**({"model_class": model_class, "train_data": data} | arguments))
    assert backends.tracker.runs == {}
    assert backends.catalog.list_runs() == []


def test_a_missing_monitored_metric_is_said_before_an_epoch_is_spent(backends, data):
    training = {"early_stopping": {"enabled": True, "monitor": "val_accuracy"}}
    with pytest.raises(MissingMetricError, match=r"'val_accuracy' is not produced.*monitor one of: val_loss, val_mae"):
        backends.runner().run(WithStep, data, data, training=training)
    assert "epoch_ended" not in backends.events()


def test_two_storages_are_refused(backends, model_class, data):
    with pytest.raises(ConfigError, match="2 backends are selected as storage"):
        backends.runner(storage=[MemoryStorage(), MemoryStorage()]).run(model_class, data)


def test_what_is_no_backend_is_refused(backends, model_class, data):
    with pytest.raises(ConfigError, match="is no TrackerInterface"):
        backends.runner(tracker=backends.storage).run(model_class, data)


class Closing(MemoryStorage):
    closed = 0

    def close(self):
        Closing.closed += 1


def test_the_callers_own_backends_stay_open_and_the_runners_own_are_closed(backends, model_class, data):
    runner = backends.runner(storage=Closing())
    runner.run(model_class, data)
    assert str(runner.run(model_class, data).address).endswith("@2")
    assert Closing.closed == 0
    backends.runner(storage=Closing).run(model_class, data)
    assert Closing.closed == 1
