"""What ServerSink makes of batches, on real tracking servers and on faulty ones."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from kladml.errors import RefusedRunError, TrackerError
from kladml.spool.events import Artifact, Batch, DatasetInput, ExperimentTags, Params, SpooledRun, Status, Tags
from kladml_backends_mlflow.server import RefusedCallError, TrackingServer, UnreachableServerError
from kladml_backends_mlflow.server_runs import SPOOL_RUN_TAG
from kladml_backends_mlflow.server_sink import ServerSink

STARTED = 1_700_000_000_000
LARGEST = 1.7976931348623157e308  # an infinity, as MLflow's databases keep it
TRAINING = DatasetInput("digits", "d1", "local", '{"uri": "data/digits"}', '{"columns": []}', '{"rows": 9}', "training")


def new_run(experiment="digits", **changes):
    run = SpooledRun(uuid.uuid4().hex, experiment, "first try", "ada", "train.py", STARTED)
    return replace(run, **changes)


def sink_of(server, timeout=60.0):  # machines that run tests are busy
    return ServerSink(TrackingServer(getattr(server, "url", server), timeout))


def batches(folder):
    (folder / "one").write_bytes(b"content")
    (folder / "two").write_bytes(b"")
    return [
        Batch(
            [
                ("loss", 0.5, 1_000, 0),
                ("loss", math.nan, 1_001, 1),
                ("accuracy", math.inf, 1_001, 1),
                ("loss", 0.5, 1_000, 0),  # the same again
                ("accuracy", -math.inf, 1_002, 2),
                ("loss", 0.125, 1_003, 0),  # backward
                ("small", 5e-324, 1_003, 0),
                ("val/a b:c", -1.5, 1_003, -3),
            ],
            [
                Params({"lr": "0.001", "empty": ""}),
                Tags({"kind": "x", "nul": "a\0b"}),
                Tags({"kind": "z", "é": "naïve"}),
            ],
        ),
        Batch(
            [(f"many_{number % 7}", number / 3, 2_000 + number, number) for number in range(2_345)],
            [Params({f"p{number}": "x" * 6_000 for number in range(230)})],
        ),
        Batch([], [TRAINING, replace(TRAINING, name="more", context=None, schema=None)]),
        Batch([], [Artifact("weights/best 1.bin", str(folder / "one")), Artifact("empty", str(folder / "two"))]),
        Batch([("loss", 0.0, 5_000, 5)], [ExperimentTags({"project": "p", "family": "f"}), Status("FAILED", 6_000)]),
        Batch([], [Status("RUNNING", 7_000), Tags({"kind": "y", "mlflow.runName": "n" * 300})]),
        Batch([], [ExperimentTags({"family": "g"}), Status("FINISHED", 8_000)]),
    ]


def history(client, run_id, key):
    """Time, step and value, with NaN in a form that is equal to itself."""
    points = client.get_metric_history(run_id, key)
    return sorted((point.timestamp, point.step, repr(point.value)) for point in points)


@pytest.fixture
def client(server):
    """MLflow's own view of the server."""
    return MlflowClient(server.url)


def runs_of(client, experiment):
    found = client.get_experiment_by_name(experiment)
    return [] if found is None else client.search_runs([found.experiment_id], run_view_type=ViewType.ACTIVE_ONLY)


@pytest.mark.parametrize("kind", ["server", pytest.param("postgresql_server", marks=pytest.mark.service)])
def test_batches_that_come_twice_are_kept_once(kind, request, tmp_path):
    server = request.getfixturevalue(kind)
    client = MlflowClient(server.url)
    run = new_run("replayed")
    for batch in batches(tmp_path):
        for _ in range(2):
            sink = sink_of(server)  # as another process would
            begun = sink.begin(run)
            assert sink.begin(begun) == begun
            assert sink.write(begun, batch) == []
            assert sink.write(begun, batch) == []
            sink.close()

    [found] = runs_of(client, "replayed")
    run_id = begun.remote_id
    assert (found.info.run_id, found.info.user_id) == (run_id, "ada")
    assert (found.info.start_time, found.info.end_time, found.info.status) == (STARTED, 8_000, "FINISHED")
    assert history(client, run_id, "loss") == [
        (1_000, 0, "0.5"),
        (1_001, 1, "nan"),
        (1_003, 0, "0.125"),
        (5_000, 5, "0.0"),
    ]
    assert history(client, run_id, "accuracy") == [(1_001, 1, repr(LARGEST)), (1_002, 2, repr(-LARGEST))]
    assert history(client, run_id, "val/a b:c") == [(1_003, -3, "-1.5")]
    assert history(client, run_id, "small") == [(1_003, 0, "5e-324")]
    assert sum(len(history(client, run_id, f"many_{number}")) for number in range(7)) == 2_345
    assert found.data.metrics["loss"] == 0.0
    assert found.data.params == {"lr": "0.001", "empty": "", **{f"p{number}": "x" * 6_000 for number in range(230)}}
    tags = found.data.tags
    assert (tags["kind"], tags["nul"], tags["é"], tags[SPOOL_RUN_TAG]) == (
        "y",
        "a\N{REPLACEMENT CHARACTER}b",
        "naïve",
        run.run_id,
    )
    assert (tags["mlflow.user"], tags["mlflow.source.name"], tags["mlflow.source.type"]) == ("ada", "train.py", "LOCAL")
    assert found.info.run_name == tags["mlflow.runName"] == "n" * 250
    inputs = {item.dataset.name: item for item in found.inputs.dataset_inputs}
    assert len(found.inputs.dataset_inputs) == len(inputs) == 2
    data = inputs["digits"].dataset
    assert (data.digest, data.source_type, data.source) == ("d1", "local", TRAINING.source)
    assert (data.schema, data.profile) == (TRAINING.schema, TRAINING.profile)
    assert [(tag.key, tag.value) for tag in inputs["digits"].tags] == [("mlflow.data.context", "training")]
    assert not inputs["more"].tags
    assert client.get_experiment(found.info.experiment_id).tags == {"project": "p", "family": "g"}
    assert [(item.path, item.is_dir) for item in client.list_artifacts(run_id)] == [("empty", False), ("weights", True)]
    assert [item.path for item in client.list_artifacts(run_id, "weights")] == ["weights/best 1.bin"]
    kept = client.download_artifacts(run_id, "weights", str(tmp_path))
    assert (Path(kept) / "best 1.bin").read_bytes() == b"content"


def test_run_that_the_server_has_is_the_one(server, client):
    experiment_id = client.create_experiment("begun elsewhere")
    run_id = client.create_run(experiment_id).info.run_id
    assert sink_of(server).begin(new_run("begun elsewhere", run_id=run_id)).remote_id == run_id
    assert len(runs_of(client, "begun elsewhere")) == 1


def test_run_with_the_servers_identifier_costs_no_call(nobody):
    run = new_run(remote_id="f" * 32)
    assert sink_of(nobody).begin(run) is run


def test_resumed_run_is_found_in_any_experiment(server, client, monkeypatch):
    monkeypatch.setattr("kladml_backends_mlflow.server_runs._PAGE", 2)
    first = sink_of(server).begin(new_run("made offline"))
    for number in range(5):  # more recent experiments come first
        client.create_experiment(f"another {number}")
    resumed = new_run("", run_id=first.run_id, goes_on=True)
    assert sink_of(server).begin(resumed).remote_id == first.remote_id
    by_server = new_run("", run_id=first.remote_id, goes_on=True)
    assert sink_of(server).begin(by_server).remote_id == first.remote_id


@pytest.mark.parametrize("run_id", ["0" * 32, "no' run"])
def test_run_that_goes_on_and_is_not_there_is_refused(server, run_id):
    with pytest.raises(RefusedRunError, match=f"there is no run '{run_id}'"):
        sink_of(server).begin(new_run("", run_id=run_id, goes_on=True))


def test_malformed_run_is_refused(nobody):
    with pytest.raises(TrackerError, match="no name of an experiment"):
        sink_of(nobody).begin(new_run(""))


def test_experiment_begun_by_many_at_once_is_made_once(server, client):
    begun, begin = [], threading.Barrier(6)

    def work():
        sink = sink_of(server)
        begin.wait()
        begun.append(sink.begin(new_run("at once")))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({run.remote_id for run in begun}) == len(runs_of(client, "at once")) == 6


def test_lost_answer_leaves_one_run(server, client, forwarding):
    lost = []

    def loses(request):
        if request.path.endswith(("runs/create", "experiments/create")) and request.path not in lost:
            lost.append(request.path)
            return True
        return False

    with forwarding(server.url, loses) as proxy:
        run, sink = new_run("lost answer"), sink_of(proxy)
        with pytest.raises(UnreachableServerError, match="cannot be reached"):
            sink.begin(run)
        begun = sink.begin(run)
    assert len(lost) == 2
    assert [found.info.run_id for found in runs_of(client, "lost answer")] == [begun.remote_id]


def test_connection_that_was_closed_is_opened_again(server, client, forwarding):
    lost = []

    def loses(request):
        lost.append(request)
        return len(lost) % 2 == 1

    with forwarding(server.url, loses) as proxy:
        run, sink = sink_of(server).begin(new_run("closed connections")), sink_of(proxy)
        assert sink.write(run, Batch([("loss", 0.5, 1_000, 0)])) == []
    assert len(lost) == 2
    assert history(client, run.remote_id, "loss") == [(1_000, 0, "0.5")]


def test_run_that_a_hung_server_makes_later_is_deleted(server, client):
    run = new_run("made later")
    sink_of(server).begin(new_run("made later"))
    begun = sink_of(server).begin(run)
    experiment_id = client.get_experiment_by_name("made later").experiment_id
    later = client.create_run(experiment_id, tags={SPOOL_RUN_TAG: run.run_id})
    assert len(runs_of(client, "made later")) == 3
    assert sink_of(server).write(begun, Batch([], [Status("FINISHED", 2_000)])) == []
    assert later.info.run_id not in [found.info.run_id for found in runs_of(client, "made later")]
    assert len(runs_of(client, "made later")) == 2


def test_deleted_experiment_is_refused_with_a_way_out(server, client):
    experiment_id = client.create_experiment("deleted for sinks")
    client.delete_experiment(experiment_id)
    run = new_run("deleted for sinks")
    with pytest.raises(RefusedRunError, match=f"was deleted.*mlflow experiments restore -x {experiment_id}"):
        sink_of(server).begin(run)
    client.restore_experiment(experiment_id)
    assert sink_of(server).begin(run).remote_id


@pytest.mark.parametrize("what", ["run", "experiment"])
def test_deleted_run_takes_nothing_and_drops_nothing(server, client, tmp_path, what):
    run = new_run(f"deleted {what}")
    sink = sink_of(server)
    begun = sink.begin(run)
    experiment_id = client.get_experiment_by_name(f"deleted {what}").experiment_id
    if what == "run":
        client.delete_run(begun.remote_id)
    else:
        client.delete_experiment(experiment_id)
    (tmp_path / "file").write_bytes(b"content")
    everything = [
        Batch([("loss", 0.5, 1_000, 0), ("loss", 0.25, 1_001, 1)]),
        *[
            Batch([], [event])
            for event in (
                Params({"lr": "1"}),
                Tags({"a": "b"}),
                ExperimentTags({"a": "b"}),
                TRAINING,
                Artifact("file", str(tmp_path / "file")),
                Status("FINISHED", 2_000),
            )
        ],
    ]
    for batch in everything:
        with pytest.raises(RefusedRunError, match=f"'{begun.remote_id}' was deleted.*mlflow runs restore --run-id"):
            sink.write(begun, batch)
    with pytest.raises(RefusedRunError, match="was deleted"):
        sink_of(server).begin(run)

    client.restore_run(begun.remote_id) if what == "run" else client.restore_experiment(experiment_id)
    for batch in everything:
        assert sink.write(begun, batch) == []
    [found] = runs_of(client, f"deleted {what}")
    assert found.info.status == "FINISHED"
    assert len(history(client, begun.remote_id, "loss")) == 2


def test_run_that_is_gone_keeps_its_records(server):
    with pytest.raises(TrackerError, match="Run with id=0"):
        sink_of(server).write(new_run(remote_id="0" * 32), Batch([("loss", 0.5, 1_000, 0)]))


def test_changed_parameter_is_refused_and_named(server, client):
    sink = sink_of(server)
    run = sink.begin(new_run("changed"))
    values = {f"p{number}": "1" for number in range(250)}
    assert sink.write(run, Batch([], [Params({"lr": "0.1", "kept": ""})])) == []
    refused = sink.write(run, Batch([], [Params({"lr": "0.2", "kept": "", **values}), Params({"p7": "2"})]))
    assert refused == [
        f"the parameter 'lr' of run '{run.run_id}' stays '0.1', and '0.2' is not kept",
        f"the parameter 'p7' of run '{run.run_id}' stays '1', and '2' is not kept",
    ]
    assert client.get_run(run.remote_id).data.params == {"lr": "0.1", "kept": "", **values}


def test_poison_is_named_and_everything_else_is_kept(server, client, tmp_path):
    """What our own limits let through, and the server does not."""
    sink = sink_of(server)
    run = sink.begin(new_run("poison"))
    points = [(f"m{number}", float(number), 1_000, 0) for number in range(999)]
    points[400:400] = [("poison", 1.0, -1, 0), ("poison", 2.0, -1, 0), ("bad*name", 1.0, 1, 0)]
    (tmp_path / "file").write_bytes(b"content")
    events = [
        Params({"lr": "1"}),
        Artifact("a#b", str(tmp_path / "file")),
        Artifact("a/../../b", str(tmp_path / "file")),
        Artifact("gone", str(tmp_path / "gone")),
        Tags({"a": "b"}),
    ]
    refused = sink.write(run, Batch(points, events))
    assert [sentence for sentence in refused if f"of run '{run.run_id}' is not kept: " not in sentence] == []
    starts = ["the metric 'bad*name'", "the metric 'poison'", "the artifact 'a#b'"]
    starts += ["the artifact 'a/../../b'", "the artifact 'gone'"]
    assert [sentence.startswith(start) for sentence, start in zip(refused, starts, strict=True)] == [True] * 5
    found = client.get_run(run.remote_id)
    assert found.data.metrics == {f"m{number}": float(number) for number in range(999)}
    assert (found.data.params, found.data.tags["a"]) == ({"lr": "1"}, "b")


def test_call_that_is_too_large_is_cut(server, client):
    """MLflow takes a megabyte at a time."""
    sink = sink_of(server)
    run = sink.begin(new_run("large"))
    tags = {f"t{number}": "ü" * 8_000 for number in range(100)}
    assert sink.write(run, Batch([], [Tags(tags)])) == []
    found = client.get_run(run.remote_id).data.tags
    assert {key: found[key] for key in tags} == tags


def test_proxy_that_takes_nothing_large_is_believed(server, serving, forwarding):
    with serving(200, b'{"run": {"info": {"lifecycle_stage": "active"}}}', POST=(413, b"<html>no</html>")) as proxy:
        refused = sink_of(proxy).write(new_run(remote_id="0" * 32), Batch([("a", 1.0, 1, 1), ("b", 1.0, 1, 1)]))
    assert [sentence.rpartition(": ")[2] for sentence in refused] == ["the request is too large (413)"] * 2


def test_file_in_another_store_is_kept_under_its_name(server, client, tmp_path):
    experiment_id = client.create_experiment("a store of its own", (tmp_path / "store").as_uri())
    sink = sink_of(server)
    run = sink.begin(new_run("a store of its own"))
    (tmp_path / "0123").write_bytes(b"content")
    events = [Artifact("weights/best.bin", str(tmp_path / "0123")), Artifact("0123", str(tmp_path / "0123"))]
    for _ in range(2):
        assert sink.write(run, Batch([], events)) == []
    folder = tmp_path / "store" / run.remote_id / "artifacts"
    assert client.get_experiment(experiment_id).artifact_location.startswith("file:")
    assert (folder / "weights" / "best.bin").read_bytes() == (folder / "0123").read_bytes() == b"content"


def test_store_that_fails_is_a_tracker_error(server, client, tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    client.create_experiment("no store", (tmp_path / "file").as_uri())
    sink = sink_of(server)
    run = sink.begin(new_run("no store"))
    with pytest.raises(TrackerError, match=r"cannot keep 'a/b' with run .*file"):
        sink.write(run, Batch([], [Artifact("a/b", str(tmp_path / "file"))]))


def test_large_file_is_uploaded_by_mlflow(server, client, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", "3")
    (tmp_path / "file").write_bytes(b"content")
    sink = sink_of(server)
    run = sink.begin(new_run("large file"))
    assert sink.write(run, Batch([], [Artifact("a/b", str(tmp_path / "file"))])) == []
    assert [item.path for item in client.list_artifacts(run.remote_id, "a")] == ["a/b"]


EVERYTHING = Batch([("loss", 0.5, 1_000, 0)], [Params({"lr": "1"}), Status("FINISHED", 2_000)])
CALLS = [lambda sink: sink.begin(new_run()), lambda sink: sink.write(new_run(remote_id="0" * 32), EVERYTHING)]


@pytest.mark.parametrize("call", CALLS)
def test_silent_server_costs_one_timeout(hung_server, call):
    with pytest.raises(UnreachableServerError, match="timed out"):
        call(sink_of(hung_server, timeout=0.3))


@pytest.mark.parametrize("call", CALLS)
def test_absent_server_is_unreachable(nobody, call):
    with pytest.raises(UnreachableServerError, match="refused"):
        call(sink_of(nobody))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("status", "body", "match"),
    [
        (401, b"You are not authenticated", "denies access"),
        (403, b'{"error_code": "PERMISSION_DENIED", "message": "no"}', "denies access"),
        (429, b"", "cannot be reached: it answers 429"),
        (503, b"", "cannot be reached: it answers 503"),
        (503, b'{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "the database"}', "it answers 503"),
        (500, b'{"error_code": "INTERNAL_ERROR", "message": "the database"}', "the database"),
        (200, b"<html>a blog</html>", "is no MLflow"),
        (200, b"", "is no MLflow"),
        (200, b"[1]", "is no MLflow"),
        (404, b"<html>nothing here</html>", "is no MLflow"),
        (400, b"bad request", "is no MLflow"),
    ],
)
def test_answers_that_say_nothing_about_the_records_drop_none(serving, status, body, match, call):
    with serving(status, body) as server, pytest.raises(TrackerError, match=match) as caught:
        call(sink_of(server))
    assert not isinstance(caught.value, RefusedRunError)
    assert len(server.requests) == 1


def test_upload_that_fails_drops_nothing(server, serving, tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    batch = Batch([], [Artifact("file", str(tmp_path / "file"))])
    answer = b'{"run": {"info": {"run_id": "0", "lifecycle_stage": "active", "artifact_uri": "mlflow-artifacts:/0"}}}'
    for status in (401, 404, 500, 503):
        with serving(200, answer, PUT=(status, b"oops")) as broken, pytest.raises(TrackerError):
            sink_of(broken).write(new_run(remote_id="0" * 32), batch)


def test_server_that_was_stopped_takes_the_batch_again(server, client):
    sink = sink_of(server, timeout=1.0)
    run = sink.begin(new_run("stopped"))
    batch = Batch([("loss", float(step), step, step) for step in range(1_000)], [Status("FINISHED", 2_000)])
    server.send(signal.SIGSTOP)
    try:
        with pytest.raises(UnreachableServerError, match="timed out"):
            sink.write(run, batch)
    finally:
        server.send(signal.SIGCONT)
    assert sink_of(server).write(run, batch) == []
    assert len(history(client, run.remote_id, "loss")) == 1_000


def test_credentials_and_the_environment_are_left_alone(serving, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
    before = dict(os.environ)
    with serving(403) as server, pytest.raises(TrackerError) as caught:
        sink_of(server).begin(new_run())
    assert server.requests[0].headers["Authorization"].startswith("Basic ")
    assert "hunter2" not in str(caught.value)
    assert dict(os.environ) == before


def test_nothing_is_printed_nor_logged(server, capfd, caplog, tmp_path):
    caplog.set_level(logging.INFO)
    sink = sink_of(server)
    run = sink.begin(new_run("quiet"))
    for batch in batches(tmp_path):
        assert sink.write(run, batch) == []
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


def test_refusals_tell_what_may_be_tried_again():
    refused = RefusedCallError("no")
    assert not refused.is_for_good
    refused.code = "INVALID_PARAMETER_VALUE"
    assert refused.is_for_good
