"""Copies of a checkpoint's content: they are complete, reused, and safetensors files as others read them."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import nn

from kladml.training.checkpointing.snapshot import Snapshot, TensorFile
from kladml.training.checkpointing.store import Checkpoint


def is_known(dtype):
    """Whether the installed safetensors keeps numbers of a type; older ones know fewer."""
    try:
        save({"tensor": torch.empty(0, dtype=dtype)})
    except (KeyError, SafetensorError):
        return False
    return True


DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint8, torch.bool),
    *filter(is_known, (torch.complex64, torch.uint16, torch.uint32, torch.uint64)),
    *filter(is_known, (torch.float8_e4m3fn, torch.float8_e5m2)),
]


def content(file):
    return b"".join(bytes(part) for part in file.parts())


def written(tensors, file=None):
    file = file or TensorFile()
    file.begin(tensors)
    return content(file)


def bits(tensor):
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).tolist()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=4)), max_size=8),
    st.lists(st.text(min_size=1, max_size=5), min_size=8, max_size=8, unique=True),
)
def test_safetensors_reads_every_type_and_shape_back_aligned(kinds, names):
    tensors = {
        name: torch.randint(0, 256, (math.prod(shape) * dtype.itemsize,), dtype=torch.uint8)
        .bitwise_and(1 if dtype == torch.bool else 255)
        .view(dtype)
        .view(shape)
        for name, (dtype, shape) in zip(names, kinds, strict=False)
    }

    data = written(tensors)

    found = load(data)
    assert {name: (value.dtype, value.shape, bits(value)) for name, value in found.items()} == {
        name: (value.dtype, value.shape, bits(value)) for name, value in tensors.items()
    }
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0
    for name, tensor in tensors.items():
        assert header[name]["data_offsets"][0] % tensor.dtype.itemsize == 0


def test_the_file_says_that_it_is_of_pytorch_as_transformers_demands(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(written({"weight": torch.ones(2)}))

    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_a_copy_does_not_change_with_what_it_was_copied_from():
    module = nn.Linear(3, 3)
    state, momentum = {"metrics": [1.0]}, torch.ones(3)
    snapshot = Snapshot()
    snapshot.take(Checkpoint(module.state_dict(), {"0.momentum": momentum}, state, [b"rank"]))
    before = {name: b"".join(bytes(part) for part in parts) for name, parts in snapshot.files().items()}

    with torch.no_grad():
        module.weight.fill_(7)
    momentum.fill_(7)
    state["metrics"].append(7.0)

    assert {name: b"".join(bytes(part) for part in parts) for name, parts in snapshot.files().items()} == before
    assert sorted(before) == ["model.safetensors", "optimizer.safetensors", "rank-00000.safetensors", "state.json"]


def test_memory_is_used_again_while_it_suffices_and_nothing_of_before_is_left():
    file = TensorFile()
    written({"a": torch.randn(1000), "b": torch.randn(10)}, file)
    memory = file._memory.data_ptr()

    for tensors in (
        {"a": torch.randn(1000), "b": torch.randn(10)},
        {"b": torch.randn(10), "a": torch.randn(1000)},
        {"a": torch.randn(10, 10)},
        {"c": torch.arange(3)},
        {},
        {"a": torch.randn(1000)},
    ):
        found = load(written(tensors, file))
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[name], tensors[name]) for name in tensors)
        assert file._memory.data_ptr() == memory

    larger = {"a": torch.randn(2000)}
    assert torch.equal(load(written(larger, file))["a"], larger["a"])


def test_memory_is_on_the_host_whatever_the_default_device_is():
    with torch.device("meta"):
        data = written({"a": torch.ones(3, device="cpu")})

    assert load(data)["a"].tolist() == [1.0] * 3


def test_after_content_that_cannot_be_kept_the_next_copy_is_right():
    file = TensorFile()
    written({"a": torch.ones(3)}, file)
    with pytest.raises(ValueError, match="b is not a plain, dense tensor"):
        file.begin({"a": torch.zeros(3), "b": torch.eye(2).to_sparse()})

    assert load(written({"a": torch.full((3,), 2.0)}, file))["a"].tolist() == [2.0] * 3


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"_extra_state": {"a": 1}}, TypeError),
        ({"__metadata__": torch.ones(1)}, ValueError),
        ({"meta": torch.ones(1, device="meta")}, ValueError),
        ({"sparse": torch.eye(2).to_sparse()}, ValueError),
        ({"complex": torch.ones(1, dtype=torch.complex128)}, ValueError),
        ({"packed": torch.empty(2, dtype=torch.float4_e2m1fn_x2)}, ValueError)
        if hasattr(torch, "float4_e2m1fn_x2")
        else ({"none": None}, TypeError),
    ],
    ids=["mapping", "reserved name", "meta", "sparse", "complex128", "packed"],
)
def test_what_the_format_cannot_hold_is_refused(value, error):
    with pytest.raises(error):
        written(value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: copies from one go to pinned memory")
def test_tensors_of_a_cuda_device_are_whole_in_pinned_memory_when_the_copy_returns():
    device = torch.device("cuda")
    weights, momentum = (torch.randn(2000, 2000, device=device) for _ in range(2))
    expected = weights @ weights
    snapshot = Snapshot()
    for _ in range(3):
        product = weights @ weights  # still running when the copy begins
        snapshot.take(Checkpoint({"product": product}, {"0.momentum": momentum, "0.step": torch.ones(())}, {}))
        product.zero_()
        found = load(b"".join(bytes(part) for part in snapshot.files()["model.safetensors"]))
        assert torch.equal(found["product"], expected.cpu())
    assert snapshot._model._memory.is_pinned()
