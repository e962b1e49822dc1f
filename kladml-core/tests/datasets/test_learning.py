"""What can be learnt from data in each format, and how that is known."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from kladml.datasets import DatasetReference, DatasetStore
from kladml.datasets.learning import learning_task
from kladml.errors import DataError

pyarrow = pytest.importorskip("pyarrow")


@pytest.fixture
def look(tmp_path):
    """Add files as a data set and say what can be learnt from it."""
    store = DatasetStore(tmp_path / ".kladml")

    def add(path, reference="it", *, added_target=None, **options):
        store.add("it", path, target=added_target)
        return learning_task(store, DatasetReference.parse(reference), **options)

    return add


@pytest.fixture
def csv(tmp_path):
    def write(header, *rows, name="it.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return tmp_path / name

    return write


def test_text_is_classes(look, csv):
    task = look(csv("a,b,kind", "1,2,x", "3,4,y", "5,6,x"), added_target="kind")
    assert (task.kind, task.target, task.inputs, task.outputs) == ("classification", "kind", (2,), 2)
    assert (task.labels, task.rows, str(task.train), task.val) == (("x", "y"), 3, "it@1", None)
    assert task.why == "the targets are text"


@pytest.mark.parametrize(
    ("values", "kind", "outputs"),
    [
        ([0, 1, 2] * 4, "classification", 3),
        ([1, 2, 3] * 4, "classification", 4),  # 0 does not occur
        ([0.0, 1.0] * 6, "classification", 2),  # a CSV file does not tell 1 from 1.0
        ([*range(12)] * 10, "classification", 12),
        ([*range(12)] * 2, "regression", 1),  # too few of each
        ([3 * value for value in range(12)] * 10, "regression", 1),
        ([0.5, 1.0, 2.25], "regression", 1),
    ],
)
def test_numbers_are_classes_where_there_are_few_of_them(look, csv, values, kind, outputs):
    task = look(csv("a,y", *(f"{row},{value}" for row, value in enumerate(values))))
    assert (task.kind, task.outputs) == (kind, outputs)
    if kind == "regression":
        assert task.mean == pytest.approx(np.mean(values))
        assert task.deviation == pytest.approx(np.std(values))


def test_what_is_asked_for_wins(look, csv):
    file = csv("a,b,y", "1,2,0", "3,4,1", "5,7,1")
    task = look(file, kind="regression", target="b")
    assert (task.kind, task.target, task.outputs, task.why) == ("regression", "b", 1, "it was asked for")
    assert task.mean == pytest.approx(13 / 3)


def test_targets_that_are_all_alike_have_a_deviation_to_divide_by(look, csv):
    assert look(csv("a,y", "1,2.5", "2,2.5")).deviation == 1


def test_arrays_of_any_format(look, tmp_path):
    inputs, labels = np.zeros((6, 4, 5), np.float32), np.array([0, 1, 2] * 2)
    np.savez(tmp_path / "it.npz", X=inputs, y=labels)
    save_file({"X": inputs, "y": labels}, tmp_path / "it.safetensors")
    for file in ("it.npz", "it.safetensors"):
        task = look(tmp_path / file)
        assert (task.kind, task.inputs, task.outputs, task.rows) == ("classification", (4, 5), 3, 6)


@pytest.mark.parametrize(
    ("targets", "outputs", "is_flat"),
    [(np.linspace(0, 1, 6), 1, True), (np.ones((6, 1)), 1, False), (np.arange(18.0).reshape(6, 3), 3, False)],
)
def test_arrays_of_numbers_are_a_regression(look, tmp_path, targets, outputs, is_flat):
    np.savez(tmp_path / "it.npz", X=np.zeros((6, 2)), y=targets)
    task = look(tmp_path / "it.npz")
    assert (task.kind, task.outputs, task.is_flat) == ("regression", outputs, is_flat)


def test_a_single_array_has_no_targets(look, tmp_path):
    np.save(tmp_path / "it.npy", np.zeros((6, 2)))
    task = look(tmp_path / "it.npy")
    assert (task.kind, task.target, task.outputs, task.inputs) == (None, None, 0, (2,))


@pytest.mark.parametrize("name", ["it.parquet", "it.arrow"])
def test_columns_of_lists_are_as_many_inputs(look, tmp_path, name):
    import pyarrow.feather
    import pyarrow.parquet

    pixels = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(np.arange(12.0)), 3)
    table = pyarrow.table({"pixels": pixels, "age": [1, 2, 3, 4], "label": [True, False, True, False]})
    if name.endswith("parquet"):
        pyarrow.parquet.write_table(table, tmp_path / name)
    else:
        pyarrow.feather.write_feather(table, tmp_path / name, compression="uncompressed")
    task = look(tmp_path / name)
    assert (task.kind, task.target, task.inputs, task.outputs) == ("classification", "label", (4,), 2)
    assert look(tmp_path / name, target="age", kind="regression").mean == 2.5


def test_images_have_the_size_of_the_first_and_the_labels_of_their_folders(look, tmp_path):
    image = pytest.importorskip("PIL.Image")
    for index, (label, mode, channels) in enumerate([("cat", "L", 1), ("dog", "L", 1)] * 2):
        (tmp_path / "pets" / label).mkdir(parents=True, exist_ok=True)
        image.new(mode, (12, 8)).save(tmp_path / f"pets/{label}/{index}.png")
        assert channels == 1
    task = look(tmp_path / "pets")
    assert (task.inputs, task.outputs, task.labels, task.rows) == ((1, 8, 12), 2, ("cat", "dog"), 4)
    assert task.target is None


def test_parts_for_training_and_validation_are_found(look, csv, tmp_path):
    csv("a,y", "1,x", "2,y", "3,z", name="parts/train.csv")
    csv("a,y", "1,x", name="parts/valid.csv")
    csv("a,y", "1,y", name="parts/test.csv")
    task = look(tmp_path / "parts")
    assert (str(task.train), str(task.val), task.rows) == ("it@1/train.csv", "it@1/valid.csv", 3)
    assert task.labels == ("x", "y", "z")
    only = look(tmp_path / "parts", "it@1/test.csv")
    assert (str(only.train), only.val, only.rows, only.outputs) == ("it@1/test.csv", None, 1, 3)


def test_parts_of_arrays_have_targets_of_their_own(look, tmp_path):
    (tmp_path / "parts").mkdir()
    for name, rows in (("train", 8), ("val", 2)):
        np.savez(tmp_path / f"parts/{name}.npz", X=np.zeros((rows, 3)), y=np.arange(rows) % 2)
    task = look(tmp_path / "parts")
    assert (str(task.train), str(task.val), task.rows, task.target) == ("it@1/train.npz", "it@1/val.npz", 8, "y")


def test_what_keeps_a_model_from_being_trained_is_told(look, csv):
    task = look(csv("name,size,age,y", "a,1,,0", "b,2,4,1"))
    assert task.obstacles == (
        "column 'name' of it@1 holds text, and a model takes numbers",
        "column 'age' of it@1 has missing values",
    )


@pytest.mark.parametrize(
    ("lines", "options", "said"),
    [
        (("a,b", "1,2"), {}, "nothing says which column or array of it@1 holds the targets; it has a, b; name one"),
        (("a,y", "1,2"), {"target": "z"}, "there is no column or array 'z'"),
        (("y", "1"), {}, "it@1 has no other column than 'y'"),
        (("a,y", "1,-1", "2,1"), {}, r"'y' of it@1 are no numbers of classes \(0, 1, 2, …\): -1, 1"),
        (("a,y", "1,0.5", "2,1"), {"kind": "classification"}, "no numbers of classes"),
        (("a,y", "1,x", "2,y"), {"kind": "regression"}, "are text, which is nothing for a regression"),
        (("a,y", "1,x", "2,x"), {}, "'y' of it@1 are all alike"),
    ],
)
def test_what_cannot_be_learnt_is_an_error(look, csv, lines, options, said):
    with pytest.raises(DataError, match=said):
        look(csv(*lines), **options)


def test_files_of_no_known_format_and_images_without_labels_are_errors(look, tmp_path):
    (tmp_path / "it.bin").write_bytes(b"x")
    with pytest.raises(DataError, match="no format that KladML reads"):
        look(tmp_path / "it.bin")
    image = pytest.importorskip("PIL.Image")
    image.new("L", (4, 4)).save(tmp_path / "one.png")
    with pytest.raises(DataError, match="have no labels"):
        look(tmp_path / "one.png")


def test_several_arrays_of_inputs_are_an_error(look, tmp_path):
    np.savez(tmp_path / "it.npz", a=np.zeros((2, 1)), b=np.zeros((2, 1)), y=np.zeros(2))
    with pytest.raises(DataError, match="holds the arrays a, b, y"):
        look(tmp_path / "it.npz")


def test_an_unknown_data_set_names_the_nearest(look, csv):
    with pytest.raises(DataError, match="it@3 is no version of 'it'"):
        look(csv("a,y", "1,2", "2,3"), "it@3")


def test_labels_that_only_the_validation_has_are_classes_too(look, csv, tmp_path):
    csv("x,y", "1,0", "2,1", name="parts/train.csv")
    csv("x,y", "1,2", "2,1", name="parts/val.csv")
    found = look(tmp_path / "parts")
    assert (found.outputs, found.labels) == (3, ("0", "1", "2"))


@pytest.mark.parametrize("kind", [None, "classification", "regression"])
@pytest.mark.parametrize("name", ["text.npz", "text.parquet"])
def test_text_that_no_training_takes_is_an_error(look, tmp_path, name, kind):
    path = tmp_path / name
    if name.endswith("npz"):
        np.savez(path, x=np.zeros((4, 2)), y=np.array([*"abab"]))
    else:
        import pyarrow.parquet

        labels = pyarrow.array([*"aba"]).dictionary_encode()
        pyarrow.parquet.write_table(pyarrow.table({"x": [1, 2, 3], "y": labels}), path)
    said = "which a model cannot be trained on" if kind == "regression" else "are no numbers of classes .*: a, b; store"
    with pytest.raises(DataError, match=said):
        look(path, kind=kind)
