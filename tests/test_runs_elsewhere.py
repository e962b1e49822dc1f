"""Runs are copied to an S3 server and an MLflow server, and read from there, whatever happens on the way."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import ExitStack, closing

import boto3
import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from kladml_backends_local import LocalTracker
from servers import mlflow_server, proxy_before, s3_server

BUCKET = "team-runs"
RUNS = 5
MODEL = """\
import torch
from torch import nn


class Net(nn.Linear):
    def __init__(self):
        super().__init__(2, 1)


def data():
    inputs = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    return inputs, inputs.sum(1, keepdim=True)
"""
TRAIN = """\
experiment: sums
model:
  ref: model.py:Net
  loss: mse
data:
  train: model.py:data
  val: model.py:data
training:
  max_epochs: 2
  batch_size: 8
  log_every: 1
publisher: none
"""
MANY = f"""\
import sys
from kladml_cli.main import main
sys.exit(max(main(["train", "train.yaml"]) for _ in range({RUNS})))
"""


class Team:
    """A workspace with runs, and the servers that they go to, each behind a proxy."""

    def __init__(self, folder, s3, mlflow, environment):
        self.folder, self.s3, self.mlflow, self.environment = folder, s3, mlflow, environment

    def start(self, *arguments, program=("-m", "kladml_cli"), **variables):
        return subprocess.Popen(
            [sys.executable, *program, *arguments],
            cwd=self.folder,
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kladml(self, *arguments, status=0, **variables):
        """Run a command, expect its exit status, and return what it printed; its errors if it fails."""
        with self.start(*arguments, **variables) as process:
            output, errors = process.communicate(timeout=300)
        assert process.returncode == status, output + errors
        return errors if status else output

    def copy(self, run, *, to="tracker=mlflow", **expected):
        return json.loads(self.kladml("runs", "copy", run, "--to", to, "--json", **expected))

    def client(self):
        return MlflowClient(self.mlflow.url)

    def copies(self, run):
        """The copies of a run on the MLflow server that were not deleted."""
        experiment = self.client().get_experiment_by_name("sums")
        found = self.client().search_runs([experiment.experiment_id], run_view_type=ViewType.ACTIVE_ONLY)
        return [each for each in found if each.data.tags.get("kladml.copied_from") == f"default/default/sums{run}"]

    def points(self, run_id):
        """Key, value, time and step of everything that the MLflow server has of a run."""
        client = self.client()
        keys = client.get_run(run_id).data.metrics
        histories = [client.get_metric_history(run_id, key) for key in keys]
        return sorted((point.key, point.value, point.timestamp, point.step) for of_one in histories for point in of_one)

    def local_points(self, run):
        (entry,) = [each for each in json.loads(self.kladml("runs", "list", "--json")) if each["address"].endswith(run)]
        with LocalTracker(self.folder / ".kladml" / "mlflow.db") as tracker:
            return sorted(tracker.metric_points(entry["run_id"]))

    def objects(self, bucket=BUCKET):
        """The SHA-256 of every object in a bucket."""
        with closing(self.s3_client()) as s3:
            keys = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket).get("Contents", ())]
            return {key: sha256(s3.get_object(Bucket=bucket, Key=key)["Body"].read()) for key in keys}

    def s3_client(self):
        return boto3.client(
            "s3",
            endpoint_url=f"http://{self.s3.behind}",
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
        )


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """The addresses of an S3 server, which `TEST_S3_URL` may name, and of an MLflow server."""
    folder = tmp_path_factory.mktemp("servers")
    with ExitStack() as stack:
        s3 = os.environ.get("TEST_S3_URL") or stack.enter_context(s3_server(folder))
        mlflow = stack.enter_context(mlflow_server(folder))
        yield [stack.enter_context(proxy_before(url)) for url in (s3, mlflow)]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, servers):
    folder = tmp_path_factory.mktemp("team")
    (folder / "model.py").write_text(MODEL)
    (folder / "train.yaml").write_text(TRAIN)
    s3, mlflow = servers
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KLADML_", "MLFLOW_", "AWS_"))}
    environment = {
        **kept,
        "OMP_NUM_THREADS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": mlflow.url,
        "AWS_ACCESS_KEY_ID": os.environ.get("TEST_S3_KEY", "testing"),
        "AWS_SECRET_ACCESS_KEY": os.environ.get("TEST_S3_SECRET", "testing"),
        "AWS_DEFAULT_REGION": "us-east-1",
        "KLADML_STORAGE__S3__BUCKET": BUCKET,
        "KLADML_STORAGE__S3__ENDPOINT_URL": s3.url,
    }
    team = Team(folder, s3, mlflow, environment)
    with closing(team.s3_client()) as client:
        for bucket in (BUCKET, f"{BUCKET}-2"):
            client.create_bucket(Bucket=bucket)
    team.kladml("init")
    with team.start(program=("-c", MANY)) as training:
        _, errors = training.communicate(timeout=300)
    assert training.returncode == 0, errors
    return team


@pytest.fixture
def team(workspace):
    yield workspace
    workspace.s3.reset()
    workspace.mlflow.reset()


def test_copy_has_everything_and_a_second_one_changes_nothing(team):
    local = team.folder / "data" / "runs" / "default" / "default" / "sums" / "1"
    files = {path.relative_to(local.parents[3]).as_posix(): path for path in local.rglob("*") if path.is_file()}
    expected = {key: sha256(path.read_bytes()) for key, path in files.items()}

    first = team.copy("@1", to="tracker=mlflow,storage=s3")
    assert len(expected) > 5
    assert first["storage"]["sha256"] == team.objects() == expected
    copied = first["tracker"]
    assert (copied["with_times"], copied["verified"], copied["waiting"]) == (True, True, None)
    assert team.points(copied["run_id"]) == team.local_points("@1")
    run = team.client().get_run(copied["run_id"])
    shown = json.loads(team.kladml("runs", "show", "@1", "--json"))
    assert run.info.status == "FINISHED"
    assert run.data.params == {key: str(value) for key, value in shown["params"].items()}
    assert shown["tags"].items() <= run.data.tags.items()
    assert run.data.tags["kladml.started_at"] == shown["started_at"]
    assert team.client().get_experiment(run.info.experiment_id).name == "sums"

    again = team.copy("@1", to="tracker=mlflow,storage=s3")
    assert again["storage"]["already_there"] == sorted(expected)
    assert again["tracker"] == {**copied, "already_there": True}
    assert team.objects() == expected
    assert team.points(copied["run_id"]) == team.local_points("@1")
    assert [found.info.run_id for found in team.copies("@1")] == [copied["run_id"]]


def test_a_file_that_is_damaged_on_the_way_does_not_stay(team):
    def damage(method, path, body):
        if method == "PUT" and "model.safetensors" in path:
            return body[:-20] + bytes([body[-20] ^ 1]) + body[-19:]
        return body

    team.s3.alter = damage
    settings = ("--set", f"storage.s3.bucket={BUCKET}-2")
    errors = team.kladml("runs", "copy", "@2", "--to", "storage=s3", *settings, status=5)
    # boto3's checksum tells it, Ceph's, or KladML's own.
    assert re.search(r"it arrives damaged|is damaged, and was deleted: its SHA-256 is|answers \w+: ", errors), errors
    damaged = re.search(r"2/\S*model.safetensors", errors).group()
    assert not any(damaged in key for key in team.objects(f"{BUCKET}-2"))
    team.s3.reset()
    output = team.kladml("runs", "copy", "@2", "--to", "storage=s3", *settings)
    assert "each was read back, and its SHA-256 is the same" in output
    assert any(damaged in key for key in team.objects(f"{BUCKET}-2"))


def test_a_copy_that_was_killed_is_completed_and_not_made_twice(team):
    held, never = threading.Event(), threading.Event()

    def hold(method, path, body):
        if path.endswith("runs/log-batch") and b'"metrics"' in body:
            held.set()
            never.wait(60)
            raise ConnectionAbortedError  # what the killed process had sent does not arrive
        return body

    team.mlflow.alter = hold
    copying = team.start("runs", "copy", "@3", "--to", "tracker=mlflow")
    assert held.wait(120)
    with copying:
        copying.kill()
    before = team.copies("@3")  # where its tags were there before its values
    never.set()
    team.mlflow.reset()

    copied = team.copy("@3")["tracker"]
    assert copied["verified"]
    assert {run.info.run_id for run in before} <= {copied["run_id"]}
    (run,) = team.copies("@3")
    assert (run.info.run_id, run.info.status) == (copied["run_id"], "FINISHED")
    assert team.points(copied["run_id"]) == team.local_points("@3")


def test_servers_that_are_away_are_named_with_what_to_do(team):
    team.s3.is_away = team.mlflow.is_away = True
    errors = team.kladml("runs", "copy", "@4", "--to", "storage=s3,tracker=mlflow", status=5)
    assert f"{team.s3.url} " in errors
    assert "check the network and storage.s3.endpoint_url" in errors
    assert team.kladml("sync", "--json") == "[]\n"  # nothing was begun elsewhere

    errors = team.kladml("runs", "copy", "@4", "--to", "tracker=mlflow", status=5)
    assert "the copy of default/default/sums@4 is not on tracker mlflow yet: the MLflow server at" in errors
    assert "what is left waits here; kladml sync delivers it" in errors
    errors = team.kladml("runs", "copy", "@4", "--to", "tracker=mlflow", status=5)
    assert "start it, or check tracker.mlflow.tracking_uri" in errors

    team.mlflow.reset()
    assert team.copy("@4")["tracker"]["verified"]
    (run,) = team.copies("@4")
    assert team.points(run.info.run_id) == team.local_points("@4")
    assert "nothing waits" in team.kladml("sync") or json.loads(team.kladml("sync", "--json")) == []


def test_a_copy_that_was_deleted_there_is_made_again(team):
    first = team.copy("@5")["tracker"]["run_id"]
    team.client().delete_run(first)
    second = team.copy("@5")["tracker"]
    assert second["verified"]
    assert second["run_id"] != first
    assert [run.info.run_id for run in team.copies("@5")] == [second["run_id"]]


def test_a_run_that_is_only_on_servers_is_shown_and_compared(team):
    production = ("--storage", "s3", "--tracker", "mlflow", "--set", "training.optimizer.lr=0.25")
    team.kladml("train", "train.yaml", *production, "--experiment", "far")
    folder = team.folder / ".kladml" / "runs" / "default" / "default" / "far"
    here = json.loads(team.kladml("runs", "show", "far@1", "--json"))
    assert here["metrics"]["val_loss"]["last_step"] == 2
    assert len(here["artifacts"]) > 5
    shutil.move(folder, team.folder / "away")  # as on a machine of another person

    page = team.kladml("runs", "show", "far@1")
    assert "is not on this machine: what is known of it is from storage s3" in page
    there = json.loads(team.kladml("runs", "show", "far@1", "--json"))
    assert {**there, "code_diff": None} == {**here, "code_diff": None}
    comparison = json.loads(team.kladml("compare", "sums@1", "far@1", "--json"))
    assert "training.optimizer.lr" in json.dumps(comparison)
    assert "val_loss" in json.dumps(comparison)

    with closing(team.s3_client()) as s3:
        s3.delete_object(Bucket=BUCKET, Key="default/default/far/1/run.json")
    page = team.kladml("runs", "show", "far@1")
    assert "what is known of it is from tracker mlflow" in page
    from_tracker = json.loads(team.kladml("runs", "show", "far@1", "--json"))
    assert (from_tracker["params"], from_tracker["metrics"]) == (here["params"], here["metrics"])

    team.s3.is_away = team.mlflow.is_away = True
    with team.start("runs", "show", "far@1") as process:
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "only the catalog knows it" in output
    assert "cannot be read" in errors
    assert "val_loss" in output  # the catalog has the last values
