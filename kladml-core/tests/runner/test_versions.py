"""Runs whose data is a version of a data set."""

from __future__ import annotations

import json
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image
from torch import nn

from kladml import ExperimentRunner
from kladml.datasets import DatasetReference, DatasetStore
from kladml.errors import DataError, TrainingError
from kladml.interfaces import ConfigEntry
from kladml.runner.versions import load_version, version_fingerprint
from kladml.workspace import Workspace

TRAINING = {"max_epochs": 2, "batch_size": 8, "seed": 1}


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(4, 2))


@pytest.fixture
def workspace(tmp_path):
    return Workspace.create(tmp_path / "workspace")


@pytest.fixture
def store(workspace):
    return DatasetStore(workspace.state)


@pytest.fixture
def arrays():
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(40, 4)).astype(np.float32)
    return inputs, (inputs[:, 0] > 0).astype(np.int64)


@pytest.fixture
def npz(tmp_path, arrays):
    path = tmp_path / "data.npz"
    np.savez(path, X=arrays[0], y=arrays[1])
    return path


@pytest.fixture
def train(workspace):
    def run(data=None, *, overrides=(), **options):
        runner = ExperimentRunner(
            tracker=None, publisher=None, storage=None, catalog=None, workspace=workspace, overrides=overrides
        )
        training = {**TRAINING, **options.pop("training", {})}
        return runner.run(Net, data, experiment_name="exp", loss="cross_entropy", training=training, **options)

    return run


def loaded(workspace, text, target=None):
    return load_version(DatasetReference.parse(text), workspace.state, target=target)


def test_the_fingerprint_is_that_of_the_loaded_version(workspace, store, npz, tmp_path):
    store.add("digits", npz)
    folder = tmp_path / "parts"
    folder.mkdir()
    for part in ("train", "val"):
        (folder / f"{part}.npz").write_bytes(npz.read_bytes())
    store.add("parts", folder)
    for text in ("digits", "digits@1", "parts@1/train.npz"):
        found = version_fingerprint(DatasetReference.parse(text), workspace.state)
        assert found == loaded(workspace, text).fingerprint


def record_of(workspace, result):
    return json.loads((workspace.state / "runs" / result.address.path / "run.json").read_text())


def test_a_run_records_the_version_and_its_fingerprint(train, store, workspace, npz):
    version, _ = store.add("digits", npz)
    result = train("digits")
    tags = record_of(workspace, result)["tags"]
    assert (tags["kladml.data"], tags["kladml.data_fingerprint"]) == ("digits@1", version.fingerprint)
    assert tags["kladml.val_fingerprint"] == "none"
    config = (workspace.state / "runs" / result.address.path / "config.yaml").read_text()
    assert "train: digits@1" in config


def test_every_format_trains_alike(train, store, workspace, tmp_path, arrays, npz):
    inputs, targets = arrays
    wide = inputs.astype(np.float64)
    np.savez(tmp_path / "wide.npz", X=wide, y=targets)
    np.savez_compressed(tmp_path / "packed.npz", X=inputs, y=targets)
    lines = [
        ",".join([*map(repr, map(float, row)), "pos" if label else "neg"]) for row, label in zip(*arrays, strict=True)
    ]
    (tmp_path / "table.csv").write_text("\n".join(["a,b,c,d,kind", *lines]))
    columns = {"e": pa.FixedSizeListArray.from_arrays(pa.array(wide.reshape(-1)), 4), "y": targets}
    pa.parquet.write_table(pa.table(columns), tmp_path / "table.parquet", row_group_size=7)
    store.add("csv", tmp_path / "table.csv", target="kind")
    found = {train(arrays).metrics["loss"], train("csv").metrics["loss"]}
    for name in ("data.npz", "wide.npz", "packed.npz", "table.parquet"):
        store.add(name.replace(".", "_"), tmp_path / name)
        found.add(train(name.replace(".", "_")).metrics["loss"])
    assert len(found) == 1


@pytest.fixture
def shown():
    """Show progress by noting, of each bar, its label, what was to be done and what was."""
    seen = []

    @contextmanager
    def show(label, total):
        told = []
        yield told.append
        seen.append((label, total, sum(told)))

    show.seen = seen
    return show


def test_what_is_written_to_the_cache_once_shows_its_progress(workspace, store, tmp_path, shown):
    path = tmp_path / "t.csv"
    path.write_text("a,y\n" + "".join(f"{row},{row % 2}\n" for row in range(10)))
    store.add("table", path)
    left = workspace.state / "cache/datasets/.0123.tmp"
    left.mkdir(parents=True)
    (left / "inputs.f32").write_bytes(b"of a process that was killed")
    overrides = [ConfigEntry("data.train", "table", "test")]
    for _ in range(2):
        ExperimentRunner(
            tracker=None,
            publisher=None,
            storage=None,
            catalog=None,
            workspace=workspace,
            overrides=overrides,
            progress=shown,
        ).run(nn.Linear, loss="cross_entropy", model_args={"in_features": 1, "out_features": 2}, training=TRAINING)
    size = path.stat().st_size
    assert shown.seen == [("preparing table@1", size, size)]  # once, as the types are known
    assert not left.exists()


def test_types_of_a_part_are_those_of_the_version(workspace, store, tmp_path):
    for name, rows in (("train", ["1,0", "2,1"]), ("val", ["0.5,1"])):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "rows.csv").write_text("\n".join(["a,y", *rows]))
    store.add("parts", tmp_path / "data")
    for part, inputs, targets in (("train", [[1], [2]], [0, 1]), ("val", [[0.5]], [1])):
        data = loaded(workspace, f"parts@1/{part}").data
        assert (data[0].tolist(), data[1].tolist(), data[1].dtype) == (inputs, targets, np.int64)


def test_arrays_and_rows_are_mapped_and_not_read(workspace, store, tmp_path, npz, arrays):
    store.add("arrays", npz)
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{row},{row % 2}\n" for row in range(10)))
    store.add("table", tmp_path / "t.csv")
    for name in ("arrays", "table"):
        version = loaded(workspace, name)
        assert all(isinstance(part, np.memmap) for part in version.data)
    np.testing.assert_array_equal(loaded(workspace, "arrays").data[0], arrays[0])
    inputs, targets = loaded(workspace, "table").data
    assert (inputs.dtype, inputs.shape, targets.dtype) == (np.float32, (10, 1), np.int64)
    cached = {path: path.stat().st_mtime_ns for path in (workspace.state / "cache").rglob("*") if path.is_file()}
    loaded(workspace, "table@1")
    assert {path: path.stat().st_mtime_ns for path in cached} == cached


def test_images_train_with_their_folders_as_labels(train, workspace, store, tmp_path, caplog):
    generator = np.random.default_rng(0)
    for number in range(20):
        path = tmp_path / f"images/{'cat' if number % 2 else 'dog'}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 255, (2, 2), dtype=np.uint8)).save(path)
    store.add("pets", tmp_path / "images")
    version = loaded(workspace, "pets")
    image, label = version.data[0]
    assert (tuple(image.shape), label, version.classes, len(version.data)) == ((1, 2, 2), 0, ("cat", "dog"), 20)
    assert 0 <= float(image.min()) <= float(image.max()) <= 1
    assert train("pets").status == "FINISHED"
    Image.fromarray(generator.integers(0, 255, (3, 2), dtype=np.uint8)).save(tmp_path / "images/dog/9.png")
    store.add("pets", tmp_path / "images")
    with pytest.raises(DataError, match=r"dog/9.png is 2x3 pixels, and cat/1.png 2x2 pixels"):
        train("pets")


def test_parts_of_a_version_share_their_labels(workspace, store, tmp_path):
    folder = tmp_path / "split"
    folder.mkdir()
    (folder / "train.csv").write_text("a,label\n1,dog\n2,cat\n")
    (folder / "val.csv").write_text("a,label\n3,dog\n")
    store.add("pets", folder)
    with pytest.raises(
        DataError, match=r"pets@1 holds train.csv, val.csv, which are not to be mixed.*pets@1/train.csv"
    ):
        loaded(workspace, "pets")
    train, val = loaded(workspace, "pets@1/train.csv"), loaded(workspace, "pets@latest/val.csv")
    assert (train.data[1].tolist(), val.data[1].tolist()) == ([1, 0], [1])
    assert (train.reference, val.reference) == ("pets@1/train.csv", "pets@1/val.csv")
    assert train.fingerprint != val.fingerprint
    with pytest.raises(DataError, match=r"pets@1 has no file 'test.csv'"):
        loaded(workspace, "pets@1/test.csv")


def test_validation_data_with_other_labels_is_refused(train, store, tmp_path):
    for name, labels in (("one", "ab"), ("two", "ac")):
        rows = "".join(f"1,2,3,4,{label}\n" for label in labels)
        (tmp_path / f"{name}.csv").write_text(f"w,x,y,z,label\n{rows}")
        store.add(name, tmp_path / f"{name}.csv", target="label")
    with pytest.raises(DataError, match=r"the targets of one@1 are 0 = a, 1 = b, and those of two@1 are 0 = a, 1 = c"):
        train("one", val_data="two")


@pytest.mark.parametrize(
    ("lines", "target", "said"),
    [
        (["a,y", "1,0", "NA,1"], None, "column 'a' of bad@1 has no value in row 2"),
        (["a,y", "1,0", "2,"], None, "column 'y' of bad@1 has no value in row 2"),
        (["a,y", "1,0", "two,1"], None, r"bad.csv:3 has 'two' in column 'a', which holds numbers if it is"),
        (["a,b", "1,0"], "y", r"bad@1 has no column 'y' \(it has a, b\)"),
    ],
)
def test_what_cannot_be_trained_on_is_named(workspace, store, tmp_path, lines, target, said):
    (tmp_path / "bad.csv").write_text("\n".join(lines))
    store.add("bad", tmp_path / "bad.csv")
    with pytest.raises(DataError, match=said):
        loaded(workspace, "bad", target)


def test_unknown_versions_and_formats_are_said_with_the_key(train, store, tmp_path):
    with pytest.raises(DataError, match=r"data.train: there is no data set 'digits'"):
        train("digits")
    (tmp_path / "x.bin").write_bytes(b"x")
    store.add("blobs", tmp_path / "x.bin")
    with pytest.raises(
        DataError, match=r"blobs@1 holds files of no format that KladML reads; read them with a function"
    ):
        train("blobs")


def test_resuming_on_another_version_is_refused_and_on_the_same_goes_on(train, store, npz, arrays):
    store.add("digits", npz)
    result = train("digits")
    address = str(result.address)
    np.savez(npz, X=arrays[0] + 1, y=arrays[1])
    store.add("digits", npz)
    longer = {"training": {"max_epochs": 3}, "resume": address}
    with pytest.raises(
        DataError, match=r"was trained on digits@1, and is to go on with digits@2.*data diff digits@1 digits@2"
    ):
        train("digits", **longer)
    assert train(**longer).status == "FINISHED"  # its own configuration says digits@1


def test_resuming_with_another_target_is_refused(train, store, tmp_path):
    rows = "".join(f"{n},{n},{n},{n % 2},{n % 2}\n" for n in range(16))
    (tmp_path / "t.csv").write_text(f"a,b,c,y,z\n{rows}")
    store.add("table", tmp_path / "t.csv")
    address = str(train("table", overrides=[ConfigEntry("data.target", "z", "--set")]).address)
    with pytest.raises(TrainingError, match=r"data.target was z and is now y"):
        train(resume=address, training={"max_epochs": 3}, overrides=[ConfigEntry("data.target", "y", "--set")])


@pytest.mark.parametrize("resume", [False, True])
def test_files_that_changed_under_a_version_are_found_before_the_training(train, store, npz, resume):
    version, _ = store.add("digits", npz)
    address = str(train("digits").address)
    path = store.objects.path(version.files[0].digest)
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[-300] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"digits@1 is not what was added: its file data.npz has another content"):
        train("digits", **({"resume": address, "training": {"max_epochs": 3}} if resume else {}))
