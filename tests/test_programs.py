"""Programs that users write, word for word: nothing of KladML but what `run` is given, and what is there afterwards."""

from __future__ import annotations

import os
import re
from contextlib import closing
from pathlib import Path

import boto3
import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from kladml import BaseModel, ExperimentRunner, MLTask, PublisherInterface, StorageInterface, TrackerInterface
from kladml.testing.fakes import MemoryCatalog, MemoryConfig, MemoryStorage, MemoryTracker
from kladml_backends_local import LocalStorage, LocalTracker, YamlConfig
from servers import s3_server

README = Path(__file__).parents[1] / "README.md"

S3_PROGRAM = """\
import boto3

from kladml import ExperimentRunner, StorageInterface


class S3Storage(StorageInterface):
    def __init__(self, bucket_name):
        self.bucket_name = bucket_name
        self.client = boto3.client("s3")

    def upload_file(self, local_path, bucket, key):
        self.client.upload_file(str(local_path), bucket, key)
        return f"s3://{bucket}/{key}"

    def download_file(self, bucket, key, local_path):
        self.client.download_file(bucket, key, str(local_path))
        return str(local_path)

    def list_files(self, bucket, prefix=""):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]


runner = ExperimentRunner(storage=S3Storage("my-bucket"))
result = runner.run(model_class=MyModel, train_data=(X_train, y_train))
"""

LOCAL_PROGRAM = """\
from kladml import ExperimentRunner
runner = ExperimentRunner(storage=LocalStorage(), config=YamlConfig(), tracker=LocalTracker())
result = runner.run(model_class=MyModel, train_data=(X_train, y_train), experiment_name="my-experiment")
"""

rng = np.random.default_rng(0)
X = rng.normal(size=(48, 4)).astype(np.float32)
y = (X @ np.array([1.0, -2.0, 0.5, 0.0], dtype=np.float32)).astype(np.float32)
labels = (y > 0).astype(np.int64)
COLUMN = y[:, None]


class MyModel(BaseModel):
    """A user's own model: a line through the origin."""

    @property
    def ml_task(self):
        return MLTask.REGRESSION

    def train(self, X_train, y_train=None, X_val=None, y_val=None):
        self.weights = np.linalg.lstsq(X_train, y_train, rcond=None)[0]
        for epoch in (1, 2):
            self.run.log_metric("residual", 1.0 / epoch, epoch)
        return self.evaluate(X_train, y_train)

    def predict(self, X):
        return X @ self.weights

    def evaluate(self, X_test, y_test=None):
        return {"mse": float(np.mean((self.predict(X_test) - y_test) ** 2))}

    def save(self, path):
        np.save(path, self.weights)

    def load(self, path):
        self.weights = np.load(f"{path}.npy")


class Net(nn.Sequential):
    def __init__(self, width=8, outputs=1):
        super().__init__(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, outputs))


class WithStep(nn.Module):
    """A module that brings its own step and its own optimizer with a schedule."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        inputs, target = batch
        error = self.line(inputs)[:, 0] - target
        return {"loss": (error**2).mean(), "mae": error.abs().mean()}

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder that is no workspace, and an environment without KladML's variables."""
    for name in [name for name in os.environ if name.startswith("KLADML_") and name != "KLADML_REQUIRE_SERVICES"]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def runner(folder):
    return ExperimentRunner(
        storage=MemoryStorage(), tracker=MemoryTracker(), publisher=None, catalog=MemoryCatalog(), config=MemoryConfig()
    )


def run_program(text, **names):
    """Run a program in a namespace that has what its reader is told to bring."""
    namespace = {"MyModel": MyModel, "X_train": X, "y_train": y, **names}
    exec(compile(text, "<program>", "exec"), namespace)  # noqa: S102 - the text of this file, as users type it
    return namespace


@pytest.fixture
def s3(monkeypatch, tmp_path_factory):
    """A private S3 server with an empty bucket `my-bucket`; `boto3.client("s3")` talks to it."""
    absent = str(tmp_path_factory.getbasetemp() / "absent")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, absent)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with s3_server(tmp_path_factory.mktemp("s3")) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with closing(boto3.client("s3")) as client:
            client.create_bucket(Bucket="my-bucket")
            yield client


def test_readme_shows_both_programs_word_for_word():
    text = README.read_text(encoding="utf-8")
    assert S3_PROGRAM in text
    assert LOCAL_PROGRAM in text


def test_a_users_own_storage_gets_the_artifacts(folder, s3, tmp_path_factory):
    result = run_program(S3_PROGRAM)["result"]
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket="my-bucket")["Contents"]]
    assert sorted(f"s3://my-bucket/{key}" for key in keys) == sorted(result.artifacts.values())
    assert sorted(result.artifacts) == ["config.yaml", "model/model.npy", "run.json"]
    local = tmp_path_factory.mktemp("download") / "model.npy"
    s3.download_file("my-bucket", result.artifacts["model/model.npy"].removeprefix("s3://my-bucket/"), str(local))
    np.testing.assert_array_equal(np.load(local), result.model.weights)
    stored = s3.get_object(Bucket="my-bucket", Key=result.artifacts["config.yaml"].removeprefix("s3://my-bucket/"))
    assert yaml.safe_load(stored["Body"].read())["training"]["max_epochs"] == 10
    # Nothing else was selected: the defaults recorded the run in the current folder.
    assert LocalTracker(folder / ".kladml" / "mlflow.db").get_run(result.run_id).status == "FINISHED"


def test_local_backends_keep_artifacts_params_and_metrics(folder):
    (folder / "kladml.yaml").write_text("training: {seed: 7}\n", encoding="utf-8")
    names = {"LocalStorage": LocalStorage, "YamlConfig": YamlConfig, "LocalTracker": LocalTracker}
    result = run_program(LOCAL_PROGRAM, **names)["result"]

    run_folder = folder / "data" / "runs" / "default" / "default" / "my-experiment" / "1"
    files = {path.relative_to(run_folder).as_posix() for path in run_folder.rglob("*") if path.is_file()}
    assert files == result.artifacts.keys()
    weights = np.load(run_folder / "model" / "model.npy")
    np.testing.assert_allclose(weights, [1.0, -2.0, 0.5, 0.0], atol=1e-5)
    resolved = yaml.safe_load((run_folder / "config.yaml").read_text(encoding="utf-8"))
    assert (resolved["experiment"], resolved["training"]["seed"]) == ("my-experiment", 7)

    assert (result.status, str(result.address)) == ("FINISHED", "default/default/my-experiment@1")
    assert result.metrics.keys() == {"mse", "train_mse"}
    for name in ("run_id", "status", "metrics", "artifacts"):
        assert result[name] is getattr(result, name)
    assert dict(result)["metrics"] == result.metrics
    with pytest.raises(KeyError):
        result["absent"]


def test_mlflow_reads_what_the_local_tracker_recorded(folder):
    from mlflow import MlflowClient

    (folder / "kladml.yaml").write_text("training: {seed: 7}\n", encoding="utf-8")
    names = {"LocalStorage": LocalStorage, "YamlConfig": YamlConfig, "LocalTracker": LocalTracker}
    result = run_program(LOCAL_PROGRAM, **names)["result"]
    client = MlflowClient(f"sqlite:///{folder / '.kladml' / 'mlflow.db'}")
    run = client.get_run(result.run_id)
    assert client.get_experiment(run.info.experiment_id).name == "my-experiment"
    assert run.info.status == "FINISHED"
    assert (run.data.params["training.seed"], run.data.params["experiment"]) == ("7", "my-experiment")
    assert run.data.metrics.items() >= result.metrics.items()
    history = client.get_metric_history(result.run_id, "residual")
    assert [(point.step, point.value) for point in history] == [(1, 1.0), (2, 0.5)]
    assert run.data.tags["kladml.address"] == "default/default/my-experiment@1"


def test_current_folder_becomes_the_workspace_and_that_is_said_once(folder, caplog):
    for number in (1, 2):
        runner = ExperimentRunner(publisher=None)
        result = runner.run(MyModel, (X, y), experiment_name="twice")
        assert str(result.address) == f"default/default/twice@{number}"
    assert sorted(path.name for path in folder.iterdir()) == [".kladml", "data"]
    said = [record.getMessage() for record in caplog.records if "is now a KladML workspace" in record.getMessage()]
    assert len(said) == 1
    assert str(folder) in said[0]


class ShortestTracker(TrackerInterface):
    """The abstract methods and no more."""

    def __init__(self):
        self.calls = []

    def start_run(self, experiment_name, run_name=None):
        self.calls.append(("start_run", experiment_name, run_name))
        return "run-of-mine"

    def log_params(self, params):
        self.calls += [("param", key, value) for key, value in params.items()]

    def log_metric(self, key, value, step=None):
        self.calls.append(("metric", key, value, step))

    def end_run(self, status="FINISHED"):
        self.calls.append(("end_run", status))


class ShortestPublisher(PublisherInterface):
    def __init__(self):
        self.events = []

    def publish(self, channel, message):
        self.events.append((channel, message["event"]))


class ShortestStorage(StorageInterface):
    def __init__(self):
        self.keys = []

    def upload_file(self, local_path, bucket, key):
        self.keys.append(key)
        return f"mine://{bucket}/{key}"

    def download_file(self, bucket, key, local_path):
        raise NotImplementedError

    def list_files(self, bucket, prefix=""):
        return [key for key in self.keys if key.startswith(prefix)]


def test_backends_with_only_their_abstract_methods(folder):
    tracker, publisher, storage = ShortestTracker(), ShortestPublisher(), ShortestStorage()
    runner = ExperimentRunner(storage=storage, tracker=tracker, publisher=publisher, catalog=None, config=None)
    result = runner.run(MyModel, (X, y), experiment_name="short", run_name="first")
    assert result.run_id == "run-of-mine"
    assert result.warnings == []
    assert tracker.calls[0] == ("start_run", "short", "first")
    assert tracker.calls[-1] == ("end_run", "FINISHED")
    assert ("param", "training.max_epochs", 10) in tracker.calls
    assert ("metric", "residual", 0.5, 2) in tracker.calls
    # Without tags of its own, a tracker gets them as parameters; without a catalog, a short label is the number.
    assert re.fullmatch(r"default/default/short@[0-9a-f]{8}", str(result.address))
    assert ("param", "tags.kladml.address", str(result.address)) in tracker.calls
    assert {name for _, name in publisher.events} == {"run_started", "run_ended"}
    assert {channel for channel, _ in publisher.events} == {f"kladml:{result.address}"}
    assert sorted(result.artifacts.values()) == sorted(f"mine://kladml/{key}" for key in storage.keys)


def test_bare_module_with_a_loss(runner, tmp_path):
    result = runner.run(
        Net, (X, COLUMN), (X, COLUMN), loss="mse", model_args={"width": 3}, training={"max_epochs": 3, "batch_size": 16}
    )
    assert result.metrics.keys() == {"loss", "lr", "val_loss", "eval_loss"}
    assert result.metrics["eval_loss"] == pytest.approx(result.metrics["val_loss"])
    assert {"model/model.safetensors", "checkpoint/step-00000009/model.safetensors"} <= result.artifacts.keys()
    storage = runner._arguments["storage"]
    storage.download_file("kladml", f"{result.address.path}/model/model.safetensors", tmp_path / "model.safetensors")
    weights = load_file(tmp_path / "model.safetensors")
    assert weights["0.weight"].shape == (3, 4)
    np.testing.assert_array_equal(weights["2.bias"], result.model.module.state_dict()["2.bias"].numpy())


def test_bare_module_that_classifies_reports_its_accuracy(runner):
    result = runner.run(Net, (X, labels), (X, labels), loss="cross_entropy", model_args={"outputs": 2})
    assert {"accuracy", "val_accuracy", "eval_accuracy"} <= result.metrics.keys()


def test_module_with_its_own_step_and_optimizers(runner):
    result = runner.run(WithStep, (X, y), (X, y), training={"max_epochs": 3, "batch_size": 16})
    assert {"loss", "mae", "val_loss", "val_mae", "eval_mae"} <= result.metrics.keys()
    # The schedule of the module: halved after each of three epochs.
    history = runner._arguments["tracker"].metric_history(result.run_id, "lr")
    assert [value for _, value in history] == pytest.approx([0.1, 0.05, 0.025])


@pytest.mark.parametrize(
    ("estimator", "target", "metric"),
    [(RandomForestClassifier, labels, "eval_accuracy"), (LinearRegression, y, "eval_r2")],
)
def test_scikit_learn_estimator(runner, estimator, target, metric):
    result = runner.run(estimator, (X, target), (X, target))
    assert result.metrics[metric] > 0.9
    assert "model/model.skops" in result.artifacts


class Rows(Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return X[index], y[index]


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(X, y, strict=True)


FORMS = {
    "arrays": (X, y),
    "tensors": (torch.from_numpy(X), torch.from_numpy(y)),
    "lists": (X.tolist(), y.tolist()),
    "tensor data set": TensorDataset(torch.from_numpy(X), torch.from_numpy(y)),
    "data set": Rows(),
    "iterable data set": Stream(),
    "loader": DataLoader(Rows(), batch_size=16),
    "list of batches": [(torch.from_numpy(X[:16]), torch.from_numpy(y[:16]))] * 3,
}


@pytest.mark.parametrize("form", FORMS)
def test_data_comes_in_many_forms(runner, form):
    result = runner.run(WithStep, FORMS[form], FORMS[form], training={"max_epochs": 2, "batch_size": 16})
    assert result.metrics["val_loss"] < np.mean(y**2)
    history = runner._arguments["tracker"].metric_history(result.run_id, "loss")
    assert [step for step, _ in history] == [1, 2]


def test_array_without_targets(runner):
    class Autoencoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = nn.Linear(4, 4)

        def training_step(self, batch):
            return ((self.line(batch) - batch) ** 2).mean()

    result = runner.run(Autoencoder, X, X, training={"max_epochs": 2})
    assert {"loss", "val_loss", "eval_loss"} <= result.metrics.keys()


def test_failing_model_keeps_its_traceback_and_the_run_is_marked(runner):
    class Broken(MyModel):
        def train(self, X_train, y_train):
            self.run.log_metric("residual", 1.0, 1)
            raise ZeroDivisionError("in the user's own code")

    with pytest.raises(ZeroDivisionError, match="in the user's own code") as caught:
        runner.run(Broken, (X, y))
    assert caught.traceback[-1].name == "train"
    (run,) = runner._arguments["tracker"].runs.values()
    assert (run.status, run.history) == ("FAILED", {"residual": [(1, 1.0)]})
    assert "default/default/default/1/config.yaml" in runner._arguments["storage"].list_files("kladml")


def test_interrupted_run_is_marked_killed(runner):
    class Interrupted(MyModel):
        def train(self, X_train, y_train):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runner.run(Interrupted, (X, y))
    (run,) = runner._arguments["tracker"].runs.values()
    assert run.status == "KILLED"
    (entry,) = runner._arguments["catalog"].list_runs()
    assert entry.status == "KILLED"
