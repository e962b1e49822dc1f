"""What a checkpoint holds, read back without pickle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from kladml.errors import CheckpointError
from kladml.training.checkpointing.format import MODEL, OPTIMIZER, STATE, decode_json
from kladml.training.checkpointing.manifest import Manifest, verify

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The content of a checkpoint.

    Attributes:
        model: State dict of the module.
        optimizer: Tensors of the optimizer's state, by `<parameter index>.<name>`.
        state: Everything else, JSON-able.
        ranks: What belongs to single processes, by rank: the bytes of a safetensors file each.
    """

    model: Mapping[str, torch.Tensor]
    optimizer: Mapping[str, torch.Tensor]
    state: dict[str, Any]
    ranks: Sequence[bytes] = ()


def load(path: Path) -> Checkpoint:
    """Read a checkpoint after verifying it.

    Raises:
        CheckpointError: It is absent, incomplete or damaged.
    """
    verify(path)
    state = load_state(path)
    try:
        ranks = [(path / name).read_bytes() for name in Manifest.read(path).ranks]
        return Checkpoint(load_file(path / MODEL), load_file(path / OPTIMIZER), state, ranks)
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        problem = f"the checkpoint {path} cannot be read: {error}"
        raise CheckpointError(problem, next_step="use an older checkpoint") from error


def load_state(path: Path) -> dict[str, Any]:
    """Read what of a checkpoint is no tensor, without verifying the rest.

    Raises:
        CheckpointError: It cannot be read.
    """
    try:
        state: dict[str, Any] = decode_json((path / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError) as error:
        problem = f"the checkpoint {path} cannot be read: {error}"
        raise CheckpointError(problem, next_step="use an older checkpoint") from error
    return state


def optimizer_content(state: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Split an optimizer's state dict into tensors by `<index>.<name>` and JSON-able rest."""
    tensors: dict[str, torch.Tensor] = {}
    plain: dict[str, Any] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            (tensors if isinstance(value, torch.Tensor) else plain)[f"{index}.{name}"] = value
    return tensors, {"values": plain, **{key: value for key, value in state.items() if key != "state"}}


def optimizer_state(tensors: Mapping[str, torch.Tensor], rest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the optimizer's state dict that `optimizer_content` split."""
    state: dict[int | str, dict[str, Any]] = {}
    for key, value in {**tensors, **rest["values"]}.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index) if index.isdigit() else index, {})[name] = value
    return {"state": state, **{key: value for key, value in rest.items() if key != "values"}}
