"""What is found out about files of each format, and what is said of broken ones."""

from __future__ import annotations

import sys
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest
from safetensors.numpy import save_file

from kladml.datasets.arrays import open_arrays
from kladml.datasets.describe import describe
from kladml.datasets.formats import DataFile, data_files
from kladml.datasets.schema import Schema
from kladml.datasets.tables import Table
from kladml.errors import DataError


def described(*paths, target=None):
    return describe([DataFile(path.name, path) for path in paths], target)


def types_of(schema):
    return {column.name: str(column) for column in schema.columns}


TABLE = pa.table(
    {
        "a": pa.array([1, 2, None], pa.int32()),
        "e": pa.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], pa.list_(pa.float32(), 2)),
        "label": ["cat", "dog", "cat"],
    }
)


def written(tmp_path, kind):
    path = tmp_path / f"table.{kind}"
    if kind == "parquet":
        pa.parquet.write_table(TABLE, path)
    elif kind == "feather":
        pa.feather.write_feather(TABLE, path)
    else:
        with pa.ipc.new_file(path, TABLE.schema) as writer:
            writer.write_table(TABLE)
    return path


@pytest.mark.parametrize("kind", ["parquet", "feather", "arrow"])
def test_tables_with_types(tmp_path, kind):
    schema = described(written(tmp_path, kind))
    assert schema.format == ("parquet" if kind == "parquet" else "arrow")
    assert (schema.rows, schema.target, schema.labels) == (3, "label", {"cat": 2, "dog": 1})
    assert types_of(schema) == {"a": "int32", "e": "float32[2]", "label": "string"}
    assert schema.columns[0].missing == 1
    assert Schema.from_dict(schema.as_dict()) == schema


def test_types_of_a_csv_file_come_from_all_of_its_rows(csv):
    path = csv("n,x,b,t,y", *(f"{n},{n},true,x{n},{n % 2}" for n in range(5000)), "1,0.5,false,last,NA")
    schema = described(path)
    assert types_of(schema) == {"n": "int64", "x": "float64", "b": "bool", "t": "string", "y": "int64"}
    assert (schema.rows, schema.target, schema.labels) == (5001, "y", {"0": 2500, "1": 2500})
    assert schema.column("y").missing == 1


def test_quotes_line_ends_and_a_mark_at_the_beginning(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes('\ufeffa,"b,c"\r\n1,"two\r\nlines"\r\n2,"say ""hi"""\r\n'.encode())
    assert types_of(described(path)) == {"a": "int64", "b,c": "string"}
    assert described(path).rows == 2


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["a,b", "1,2", "3"], r"data.csv:3 has 1 column instead of 2: column 'b' is missing"),
        (["a,b", "1,2", "3,4,5"], r"data.csv:3 has 3 columns instead of 2: '5' is more"),
        (["a,b", '1,"two', 'lines"', "3"], r"data.csv:4 has 1 column"),
        (["a,b", '"x" ,1', "2"], r"data.csv:3 has 1 column instead of 2"),
        (["a,a", "1,2"], r"data.csv:1 has two columns 'a'"),
        (["a,,b", "1,2,3"], r"data.csv:1 has no name for column 2"),
        ([""], "has no line with the names of its columns"),
    ],
)
def test_a_broken_csv_file_is_named_with_the_line_and_the_column(csv, lines, said):
    with pytest.raises(DataError, match=said):
        described(csv(*lines))


def test_a_csv_file_that_is_no_text_is_named_with_the_line_and_the_column(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(b"a,b\n1,x\n2,\xff\xfe\n")
    with pytest.raises(DataError, match=r"data.csv:3 has text in column 'b' that is not encoded in UTF-8"):
        described(path)


def test_a_cell_that_is_no_number_among_numbers_is_warned_about(csv, caplog, capsys):
    described(csv("a,y", *(f"{n},0" for n in range(30)), "abc,0", *(f"{n},0" for n in range(30))))
    said = capsys.readouterr().err + caplog.text
    assert "data.csv:32 has 'abc' in column 'a', which holds numbers as nearly all other rows" in said


def test_several_files_are_one_table_and_must_have_one_schema(csv):
    one, two = csv("a,y", "1,0", name="1.csv"), csv("a,y", "0.5,1", name="2.csv")
    schema = described(one, two)
    assert (schema.rows, types_of(schema)["a"]) == (2, "float64")
    with pytest.raises(DataError, match=r"1.csv has the column 'y' as int64, and 3.csv has no such column"):
        described(one, csv("a,z", "1,0", name="3.csv"))


def test_parquet_files_of_other_types_are_refused(tmp_path):
    pa.parquet.write_table(pa.table({"a": [1]}), tmp_path / "1.parquet")
    pa.parquet.write_table(pa.table({"a": ["x"]}), tmp_path / "2.parquet")
    with pytest.raises(DataError, match=r"1.parquet has the column 'a' as int64, and 2.parquet has it as string"):
        described(tmp_path / "1.parquet", tmp_path / "2.parquet")


@pytest.mark.parametrize("name", ["x.parquet", "x.arrow", "x.npz", "x.npy", "x.safetensors"])
@pytest.mark.parametrize("content", [b"", b"nothing of that kind", bytes(200)])
def test_damaged_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name} cannot be read"):
        described(tmp_path / name)


def stream(path, rows=10, batch=5):
    """Write an Arrow stream, and return it."""
    table = pa.table({"a": [*range(rows)], "y": ["no", "yes"] * (rows // 2)})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, batch)
    return path


def test_an_arrow_stream_is_read_like_a_file(tmp_path):
    path = stream(tmp_path / "x.arrow")
    schema = described(path)
    assert (schema.format, schema.rows, schema.labels) == ("arrow", 10, {"no": 5, "yes": 5})
    told = []
    table = Table([DataFile("x.arrow", path)])
    rows = [row for batch in table.batches(["y", "a"], told.append) for row in batch.to_pylist()]
    assert rows == [{"y": ["no", "yes"][row % 2], "a": row} for row in range(10)]
    assert (sum(told), len(told)) == (path.stat().st_size, 3)


def test_an_arrow_stream_that_was_cut_off_anywhere_is_refused(tmp_path):
    content = stream(tmp_path / "x.arrow").read_bytes()
    for size in range(0, len(content), 4):
        (tmp_path / "x.arrow").write_bytes(content[:size])
        with pytest.raises(DataError, match=r"^x.arrow .*; write it again, and close the writer$"):
            described(tmp_path / "x.arrow")


def test_an_arrow_file_that_was_cut_off_is_refused(tmp_path):
    table = pa.table({"a": [1, 2, 3]})
    with pa.OSFile(str(tmp_path / "x.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "x.arrow").write_bytes((tmp_path / "x.arrow").read_bytes()[:-4])
    with pytest.raises(DataError, match=r"x.arrow cannot be read as an Arrow file .* write it again"):
        described(tmp_path / "x.arrow")


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.arrow"])
def test_reading_tells_all_bytes_of_the_files(tmp_path, shown, name):
    table = pa.table({"a": [*range(100_000)], "y": [0, 1] * 50_000})
    path = tmp_path / name
    if name == "x.csv":
        pa.csv.write_csv(table, path)
    elif name == "x.parquet":
        pa.parquet.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table, 30_000)
    describe([DataFile(name, path)], None, shown, "numbers")
    total, told = shown.of("reading numbers")
    size = path.stat().st_size
    passes = 2 if name == "x.csv" else 1  # the first one is for the types
    assert (total, told) == (passes * size, passes * size)


def test_types_that_are_known_are_not_found_out_again(csv):
    path, told = csv("a,y", "1,0", "2,1"), []
    table = Table([DataFile("data.csv", path)], {"a": "float64", "y": "string"}, told.append)
    assert (table.types, told) == ({"a": "double", "y": "string"}, [])


def test_arrays(tmp_path, arrays):
    inputs, targets = arrays
    np.savez(tmp_path / "a.npz", X=inputs, y=targets)
    np.savez_compressed(tmp_path / "b.npz", X=inputs, y=targets)
    save_file({"X": inputs, "y": targets}, tmp_path / "c.safetensors")
    np.save(tmp_path / "X.npy", inputs)
    np.save(tmp_path / "y.npy", np.asfortranarray(targets))
    counts = {str(label): int((targets == label).sum()) for label in range(3)}
    for paths in (["a.npz"], ["b.npz"], ["c.safetensors"], ["X.npy", "y.npy"]):
        schema = described(*(tmp_path / path for path in paths))
        assert (schema.rows, schema.target, schema.labels) == (100, "y", counts)
        assert types_of(schema) == {"X": "float64[4]", "y": "int64"}
        found = open_arrays([DataFile(path, tmp_path / path) for path in paths])
        np.testing.assert_array_equal(found["X"], inputs)
        np.testing.assert_array_equal(found["y"], targets)
        assert isinstance(found["X"], np.memmap) == (paths != ["b.npz"])
        assert not found["X"].flags.writeable


def test_python_objects_are_refused_and_never_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return sys.exit, ("unpickled",)

    bomb = np.array([Bomb()], dtype=object)
    np.save(tmp_path / "x.npy", bomb, allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=bomb)
    np.savez_compressed(tmp_path / "z.npz", x=bomb)
    for name in ("x.npy", "x.npz", "z.npz"):
        with pytest.raises(DataError, match=rf"{name} holds Python objects, which are not read"):
            described(tmp_path / name)


def test_an_archive_that_claims_more_than_it_has_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(1000))
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-1])
    with pytest.raises(DataError, match=r"x.npy cannot be read: it ends before its data does"):
        described(tmp_path / "x.npy")
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", b"no array")
    with pytest.raises(DataError, match=r"x.npz cannot be read"):
        described(tmp_path / "x.npz")


def test_a_folder_of_images(tmp_path):
    names = ["train/cat/1.png", "train/cat/2.PNG", "train/dog/3.jpg", "README.md", "flat.png"]
    schema = describe([DataFile(name, tmp_path) for name in names])
    assert (schema.format, schema.rows, schema.labels) == ("images", 4, {"cat": 2, "dog": 1})


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["a.csv", "README.md"], "csv"),
        (["a.csv", "b.parquet"], "files"),
        (["a.bin"], "files"),
        (["a.json", "LICENSE"], "files"),
        (["a.feather", "b.ARROW"], "arrow"),
    ],
)
def test_the_format_is_that_of_all_data_files(tmp_path, names, kind):
    assert data_files([DataFile(name, tmp_path) for name in names])[0] == kind


@pytest.mark.parametrize("missing", ["pyarrow", "polars"])
def test_without_the_extra_it_is_said_how_to_install_it(csv, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(DataError, match=rf"tables need {missing}.*pip install 'kladml-core\[data\]'"):
        described(csv("a,y", "1,0"))
