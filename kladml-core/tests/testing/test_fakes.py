import pytest

from kladml.errors import PublisherError, StorageError, TrackerError
from kladml.interfaces import ExperimentAddress
from kladml.testing.fakes import MemoryCatalog, MemoryConfig, MemoryPublisher, MemoryStorage, MemoryTracker


def test_storage_shows_its_files(tmp_path):
    storage = MemoryStorage()
    (tmp_path / "a").write_bytes(b"content")
    assert storage.upload_file(tmp_path / "a", "bucket", "runs/1/a") == "memory://bucket/runs/1/a"
    assert storage.files == {("bucket", "runs/1/a"): b"content"}


@pytest.mark.parametrize("key", ["", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/../b", "a/..", "a\0"])
def test_storage_refuses_what_is_no_key(tmp_path, key):
    storage = MemoryStorage()
    (tmp_path / "a").write_bytes(b"content")
    with pytest.raises(StorageError, match=r"is no key.*choose another key"):
        storage.upload_file(tmp_path / "a", "bucket", key)
    assert storage.files == {}


@pytest.mark.parametrize("key", ["a", "a/b", "...", ".a", "a..b", "-", "a b", "a\\b"])
def test_storage_takes_every_relative_path(tmp_path, key):
    storage = MemoryStorage()
    (tmp_path / "a").write_bytes(b"content")
    storage.upload_file(tmp_path / "a", "bucket", key)
    assert storage.list_files("bucket") == [key]


def test_failed_download_leaves_no_temporary_file(tmp_path):
    storage = MemoryStorage()
    storage.files["bucket", "a"] = b"content"
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="cannot write"):
        storage.download_file("bucket", "a", tmp_path / "folder")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_config_starts_with_values_of_its_own():
    values = {"training.max_epochs": 3}
    config = MemoryConfig(values)
    config.set("training.max_epochs", 4)
    assert values == {"training.max_epochs": 3}
    assert [(entry.key, entry.value, entry.origin) for entry in config.entries()] == [
        ("training.max_epochs", 4, "memory")
    ]


def test_tracker_shows_its_runs(tmp_path):
    tracker = MemoryTracker()
    (tmp_path / "a").write_bytes(b"content")
    run_id = tracker.start_run("experiment", "name")
    tracker.log_params({"layers": [1, 2]})
    tracker.set_tags({"commit": "0f3c"})
    tracker.log_artifact(tmp_path / "a", "weights/a")
    tracker.end_run("KILLED")
    run = tracker.runs[run_id]
    assert (run.experiment_name, run.run_name, run.status) == ("experiment", "name", "KILLED")
    assert (run.params, run.tags, run.artifacts) == (
        {"layers": [1, 2]},
        {"commit": "0f3c"},
        {"weights/a": b"content"},
    )
    assert tracker.get_run(run_id).params == {"layers": "[1, 2]"}


@pytest.mark.parametrize(
    "record",
    [
        lambda tracker: tracker.log_params({"a": 1}),
        lambda tracker: tracker.log_metric("loss", 1.0),
        lambda tracker: tracker.set_tags({"a": "b"}),
        lambda tracker: tracker.end_run(),
    ],
)
def test_tracker_refuses_records_outside_of_a_run(record):
    tracker = MemoryTracker()
    with pytest.raises(TrackerError, match=r"no run has been started.*call start_run first"):
        record(tracker)
    tracker.start_run("experiment")
    tracker.end_run()
    with pytest.raises(TrackerError, match="no run has been started"):
        record(tracker)


def test_tracker_refuses_a_second_run_before_the_first_has_ended():
    tracker = MemoryTracker()
    run_id = tracker.start_run("experiment")
    with pytest.raises(TrackerError, match=f"run '{run_id}' has not ended"):
        tracker.start_run("experiment")
    assert list(tracker.runs) == [run_id]


def test_publisher_refuses_what_is_not_json():
    publisher = MemoryPublisher()
    with pytest.raises(PublisherError, match=r"a message on 'channel' cannot be written as JSON"):
        publisher.publish("channel", {"event": "step", "loss": object()})
    assert publisher.messages == []


def test_catalog_shows_its_runs():
    catalog = MemoryCatalog()
    experiment = ExperimentAddress.parse("digits")
    address = catalog.add_run(experiment, "0f3c", {"storage": "memory"})
    assert str(address) == "default/default/digits@1"
    assert [run.run_id for run in catalog.runs] == ["0f3c"]
