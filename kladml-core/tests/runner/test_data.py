"""Data from files and functions, and its fingerprint."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors.numpy import save_file
from torch.utils.data import DataLoader, TensorDataset

from kladml.errors import DataError
from kladml.runner.data import fingerprint, load_data


def load(folder, reference, target="y", **arguments):
    return load_data(reference, [folder], key="data.train", target=target, arguments=arguments)


def test_npz_and_safetensors_give_inputs_and_targets(tmp_path):
    inputs, targets = np.arange(6.0).reshape(3, 2), np.array([0, 1, 0])
    np.savez(tmp_path / "d.npz", X=inputs, y=targets)
    save_file({"images": inputs, "label": targets}, tmp_path / "d.safetensors")
    for found in (load(tmp_path, "d.npz"), load(tmp_path, "d.safetensors", target="label")):
        assert np.array_equal(found[0], inputs)
        assert np.array_equal(found[1], targets)


def test_csv_gives_whole_targets_as_class_numbers(tmp_path):
    (tmp_path / "d.csv").write_text("a,label,b\n1,0,2.5\n3,1,4\n")
    inputs, targets = load(tmp_path, "d.csv", target="label")
    assert inputs.tolist() == [[1, 2.5], [3, 4]]
    assert targets.dtype == np.int64
    (tmp_path / "r.csv").write_text("a,y\n1,0.5\n")
    assert load(tmp_path, "r.csv")[1].dtype == np.float32


def test_csv_as_spreadsheets_write_it(tmp_path):
    (tmp_path / "d.csv").write_bytes(b'\xef\xbb\xbf"y","a"\r\n"1","2.5"\r\n\r\n0,"3"\r\n\r\n')
    inputs, targets = load(tmp_path, "d.csv")
    assert (inputs.tolist(), targets.tolist()) == ([[2.5], [3]], [1, 0])


def test_a_function_is_called_with_the_arguments(tmp_path):
    (tmp_path / "data.py").write_text("def train(rows): return [[1.0]] * rows, [0] * rows\n")
    assert load(tmp_path, "data.py:train", rows=2) == ([[1.0], [1.0]], [0, 0])


def test_arguments_that_the_function_does_not_take_are_refused(tmp_path):
    (tmp_path / "data2.py").write_text("def train(rows): return rows\n")
    with pytest.raises(DataError, match=r"cannot be called with data\.args: missing a required argument: 'rows'"):
        load(tmp_path, "data2.py:train", row=2)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("d.csv", "a,b\n1,2\n", "has no column 'y'"),
        ("d.csv", "", "has no column 'y' .it has none."),
        ("d.csv", "a,y\n1,2\n1,x\n", r"d\.csv:3 has 'x' in column 'y', which is no number"),
        ("d.csv", "a,y\n1,2\n,1\n", r"d\.csv:3 has no value in column 'a'"),
        ("d.csv", ",y\n1,2\nx,1\n", r"d\.csv:3 has 'x' in column 1, which"),
        ("d.csv", "a,y\n1,2\n" + "x" * 99 + ",1\n", r"d\.csv:3 has 'x{40}…' in column 'a'"),
        ("d.csv", "a,y\n1\n", r"d\.csv:2 has 1 column instead of 2: column 'y' is missing"),
        ("d.csv", "a,y\n\n1,2,9\n", r"d\.csv:3 has 3 columns instead of 2: '9' is more"),
        ("d.csv", 'a,y\n1,2\n1,"3\n4,5\n6,7\n', r"d\.csv:3 has a quote in column 'y' that is not closed"),
        ("d.csv", 'a,y\n1,2\n1,"3', r"d\.csv:3 has a quote in column 'y' that is not closed"),
        ("d.csv", 'a,y\n1,2\n"' + "3\n" * 100_000, r"d\.csv:3 has a quote in column 'a' that is not closed"),
        ("d.csv", 'a,y\n1,2\n1,"' + "3\n" * 100_000 + '"\n', r"d\.csv:3 is no row .* in column 'y'; correct"),
        ("d.csv", "a,y\n1,2\n1,\udce9\n", r"d\.csv:3 has text in column 'y' that is not encoded in UTF-8"),
        ("d.npz", "not a zip", "cannot be read"),
        ("d.safetensors", "nonsense", "cannot be read"),
        ("d.txt", "", "neither a data file nor a reference"),
        ("data.py:missing", "", "names a file that does not exist"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, text, said):
    if ":" not in name:
        (tmp_path / name).write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(DataError, match=said):
        load(tmp_path, name)


def test_a_pickled_array_is_refused(tmp_path):
    np.savez(tmp_path / "d.npz", X=np.array([{}], dtype=object), y=np.zeros(1))
    with pytest.raises(DataError, match=r"cannot be read.*allow_pickle=False"):
        load(tmp_path, "d.npz")


def test_a_single_array_is_no_archive(tmp_path):
    with (tmp_path / "d.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match="holds a single array"):
        load(tmp_path, "d.npz")


def test_a_file_with_other_arrays_says_which(tmp_path):
    np.savez(tmp_path / "d.npz", a=np.zeros(1), b=np.zeros(1), y=np.zeros(1))
    with pytest.raises(DataError, match="holds the arrays a, b, y"):
        load(tmp_path, "d.npz")


any_array = arrays.arrays(
    dtype=st.sampled_from([np.float32, np.int64, np.uint8, np.bool_]), shape=arrays.array_shapes()
)


@given(any_array)
def test_the_fingerprint_depends_on_content_shape_and_type(array):
    same = fingerprint((array, [1, 2]))
    assert same == fingerprint((array.copy(), [1, 2]))
    assert same != fingerprint((array, [2, 1]))
    assert same != fingerprint((array[None], [1, 2]))
    assert same != fingerprint((array.astype(np.float64), [1, 2]))
    if array.ndim > 1:
        assert fingerprint(array) == fingerprint(np.asfortranarray(array))


def test_tensors_have_the_fingerprint_of_their_arrays():
    array = np.arange(4.0)
    dataset = TensorDataset(torch.tensor(array))
    assert fingerprint(dataset) == fingerprint((array,))


def test_data_that_is_not_in_memory_has_none():
    assert fingerprint(DataLoader(TensorDataset(torch.ones(3)))) is None
    assert fingerprint(np.array([{}], dtype=object)) is None
