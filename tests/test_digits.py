"""The main job: 1,797 real handwritten digits, by the command alone, on a laptop and in production."""

from __future__ import annotations

import filecmp
import json
import os
import subprocess
import sys
import threading
import warnings
from contextlib import ExitStack, closing
from pathlib import Path

import boto3
import pytest
import redis
from mlflow import MlflowClient
from safetensors.torch import load as load_safetensors

from kladml_backends_local import LocalStorage
from servers import mlflow_server, redis_server, s3_server

ROOT = Path(__file__).parents[1]


def kladml(*arguments, cwd, **variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KLADML_", "MLFLOW_"))}
    done = subprocess.run(
        [sys.executable, "-m", "kladml_cli", *arguments],
        cwd=cwd,
        env={**environment, "COLUMNS": "80", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A workspace made by `kladml init --example digits`."""
    folder = tmp_path_factory.mktemp("digits")
    kladml("init", str(folder), "--example", "digits", cwd=folder)
    return folder


def test_the_example_in_the_repository_is_the_one_that_init_writes(project):
    files = sorted(path.name for path in (ROOT / "examples" / "digits").iterdir() if path.is_file())
    assert {"model.py", "data.py", "train.yaml"} <= set(files)
    same, different, absent = filecmp.cmpfiles(ROOT / "examples" / "digits", project, files, shallow=False)
    assert (sorted(same), different, [name for name in absent if name != "README.md"]) == (
        [name for name in files if name in same],
        [],
        [],
    )


def test_it_reaches_97_percent_on_the_embedded_defaults(project):
    done = kladml("train", "train.yaml", "--json", cwd=project)
    result = json.loads(done.stdout)
    assert result["status"] == "FINISHED"
    assert result["metrics"]["eval_accuracy"] >= 0.97
    first = done.stderr.splitlines()[0]
    assert "storage" in done.stderr
    assert "kladml-backends-local 0.20.0" in done.stderr, first

    storage = LocalStorage(project / "data")
    keys = storage.list_files("runs")
    assert any(key.endswith("/model/model.safetensors") for key in keys)
    assert any(key.endswith("/config.yaml") for key in keys)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own use of SQLAlchemy
        client = MlflowClient(f"sqlite:///{project / '.kladml' / 'mlflow.db'}")
        run = client.get_run(result["run_id"])
        history = client.get_metric_history(result["run_id"], "val_accuracy")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["eval_accuracy"] == result["metrics"]["eval_accuracy"]
    assert [point.step for point in history] == list(range(1, len(history) + 1))
    listed = json.loads(kladml("runs", "list", "--json", cwd=project).stdout)
    assert str(result["address"]) in json.dumps(listed)


def test_the_same_in_production_by_flags_and_settings_alone(project, tmp_path, monkeypatch):
    variables = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with (
        s3_server(tmp_path) as s3_url,
        mlflow_server(tmp_path) as mlflow_url,
        redis_server(tmp_path) as redis_url,
        closing(boto3.client("s3", endpoint_url=s3_url)) as s3,
        redis.Redis.from_url(redis_url) as subscriber,
        subscriber.pubsub() as channel,
        ExitStack() as stack,
    ):
        s3.create_bucket(Bucket="kladml-runs")
        channel.psubscribe("kladml:*")
        received: list[dict] = []
        over = threading.Event()
        listener = threading.Thread(target=_receive, args=(channel, received, over))
        listener.start()
        stack.callback(listener.join)
        stack.callback(over.set)
        done = kladml(
            *("train", "train.yaml", "--storage", "s3", "--tracker", "mlflow", "--publisher", "redis", "--json"),
            *("--set", "storage.s3.bucket=kladml-runs", "--set", f"storage.s3.endpoint_url={s3_url}"),
            *("--set", "training.max_epochs=2"),
            cwd=project,
            KLADML_TRACKER__MLFLOW__TRACKING_URI=mlflow_url,
            KLADML_PUBLISHER__REDIS__URL=redis_url,
        )
        result = json.loads(done.stdout)

        uri = result["artifacts"]["model/model.safetensors"]
        assert uri.startswith("s3://kladml-runs/")
        body = s3.get_object(Bucket="kladml-runs", Key=uri.removeprefix("s3://kladml-runs/"))["Body"].read()
        assert load_safetensors(body)

        run = MlflowClient(mlflow_url).get_run(result["run_id"])
        assert run.info.status == "FINISHED"
        assert run.data.params["training.max_epochs"] == "2"
        assert run.data.tags["kladml.artifact.model/model.safetensors"] == uri

        over.set()
        listener.join()
        events = [message["event"] for message in received]
        assert events[0] == "run_started"
        assert events.count("epoch_ended") == 2
        assert events[-1] == "run_ended"
    for owner in ("kladml-backends-aws", "kladml-backends-mlflow", "kladml-backends-redis"):
        assert f"{owner} 0.20.0" in done.stderr


def _receive(channel, received, over):
    """Keep what is published until the run is over and nothing has come for a second."""
    while True:
        message = channel.get_message(timeout=1)
        if message is not None and message["type"] == "pmessage":
            received.append(json.loads(message["data"]))
        elif message is None and over.is_set():
            return
