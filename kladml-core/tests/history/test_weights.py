"""Whether files of weights hold the same."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from kladml.history.weights import same_content


def test_safetensors_are_the_same_in_another_order(tmp_path):
    one, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_file({"w": np.ones(3), "b": np.zeros(2)}, one, metadata={"x": "1"})
    content = one.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = dict(reversed(json.loads(content[8 : 8 + length]).items()))
    text = json.dumps(header).encode()
    other.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    assert one.read_bytes() != other.read_bytes()
    assert same_content(one, other)


@pytest.mark.parametrize(
    "tensors", [{"w": np.full(3, 1 + 1e-15)}, {"w": np.ones(3, np.float32)}, {"v": np.ones(3)}, {"w": np.ones((3, 1))}]
)
def test_safetensors_that_differ_in_a_bit(tmp_path, tensors):
    one, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_file({"w": np.ones(3)}, one)
    save_file(tensors, other)
    assert not same_content(one, other)


def test_zip_files_are_the_same_whenever_they_were_packed(tmp_path):
    files = []
    for year, content in ((2020, b"x"), (2021, b"x"), (2021, b"y")):
        files.append(tmp_path / f"{len(files)}.skops")
        with zipfile.ZipFile(files[-1], "w") as archive:
            archive.writestr(zipfile.ZipInfo("schema.json", (year, 1, 1, 0, 0, 0)), content)
    assert same_content(files[0], files[1])
    assert not same_content(files[1], files[2])


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, (5).to_bytes(8, "little") + b"[1,2]"])
def test_a_damaged_file_is_not_the_same(tmp_path, content):
    one, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_file({"w": np.ones(3)}, one)
    other.write_bytes(content)
    assert not same_content(one, other)
