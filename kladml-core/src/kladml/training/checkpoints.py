"""Checkpoints on the disk: safetensors and JSON, complete or absent, each file with its sha256.

```text
checkpoints/
  step-00000420/
    model.safetensors      the module's state dict, clean keys
    optimizer.safetensors  tensors of the optimizer's state
    state.json             everything else: counters, groups, schedule, monitors, versions
    MANIFEST.json          size and sha256 of each file; written last
  best.json                name of the best checkpoint
```
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from kladml.errors import CheckpointError
from kladml.log import get_logger

if TYPE_CHECKING:
    from pathlib import Path

    import torch

MANIFEST = "MANIFEST.json"
MODEL = "model.safetensors"
OPTIMIZER = "optimizer.safetensors"
STATE = "state.json"
BEST = "best.json"
_ITEMS = "items of a mapping"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The content of a checkpoint.

    Attributes:
        model: State dict of the module.
        optimizer: Tensors of the optimizer's state, by `<parameter index>.<name>`.
        state: Everything else, JSON-able.
    """

    model: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    state: dict[str, Any]


class CheckpointStore:
    """Writes, verifies and prunes the checkpoints of one run.

    Args:
        folder: Where the checkpoints are; it is made when needed.
        keep_last: How many of the newest stay; the best one stays as well.
    """

    def __init__(self, folder: Path, *, keep_last: int = 2) -> None:
        self.folder = folder
        self.keep_last = keep_last

    def save(self, checkpoint: Checkpoint, step: int, *, is_best: bool = False) -> Path:
        """Write a checkpoint, then make it the best one if it is, then prune.

        The files go to a temporary folder which is renamed when all of them are on the disk, so that a kill
        at any moment leaves the checkpoints before it whole.

        Args:
            checkpoint: What to keep.
            step: Optimizer steps taken so far; a checkpoint of the same step is replaced once the new one is whole.
            is_best: Whether it is the best one so far.

        Returns:
            Its folder.

        Raises:
            CheckpointError: It cannot be written.
        """
        final = self._free_name(step)
        temporary = self.folder / f".tmp-{step}-{secrets.token_hex(4)}"
        try:
            temporary.mkdir(parents=True)
            save_file(_contiguous(checkpoint.model), temporary / MODEL)
            save_file(_contiguous(checkpoint.optimizer), temporary / OPTIMIZER)
            _write_json(temporary / STATE, checkpoint.state)
            files = [temporary / name for name in (MODEL, OPTIMIZER, STATE)]
            for file in files:
                _fsync(file)
            manifest = {file.name: {"size": file.stat().st_size, "sha256": _sha256(file)} for file in files}
            _write_json(temporary / MANIFEST, {"files": manifest})
            _fsync(temporary / MANIFEST)
            _fsync(temporary)
            temporary.rename(final)
            _fsync(self.folder)
            if is_best:
                self._point_best_to(final)
        except (OSError, SafetensorError, TypeError, ValueError, KeyError, RuntimeError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            problem = f"the checkpoint of step {step} cannot be written to {self.folder}: {error}"
            on_disk = isinstance(error, OSError | SafetensorError)
            hint = (
                "free some space or choose another workspace" if on_disk else "keep tensors and plain values in states"
            )
            raise CheckpointError(problem, next_step=hint) from error
        self._prune(final)
        return final

    def all(self) -> list[Path]:
        """Return the folders of all checkpoints, the oldest first."""
        return sorted((path for path in self.folder.glob("step-*") if (path / MANIFEST).is_file()), key=_age)

    def latest(self) -> Path | None:
        """Return the newest checkpoint that verifies; one that does not is reported and passed over."""
        for path in reversed(self.all()):
            try:
                verify(path)
            except CheckpointError as error:
                log.warning(f"{error}; using an older one")
            else:
                return path
        return None

    def best(self) -> Path | None:
        """Return the best checkpoint, or None if none was marked; a pointer to nothing is reported."""
        file = self.folder / BEST
        if not file.exists():
            return None
        try:
            name = json.loads(file.read_text(encoding="utf-8"))["checkpoint"]
        except (OSError, ValueError, KeyError, TypeError):
            name = None
        best = next((path for path in self.all() if path.name == name), None)
        if best is None:
            log.warning(f"{file} names no checkpoint; none counts as the best one")
        return best

    def _free_name(self, step: int) -> Path:
        same_step = [age[1] for path in self.folder.glob("step-*") if (age := _age(path))[0] == step]
        return self.folder / (f"step-{step:08d}-{max(same_step) + 1}" if same_step else f"step-{step:08d}")

    def _point_best_to(self, checkpoint: Path) -> None:
        temporary = self.folder / f".tmp-best-{secrets.token_hex(4)}"
        _write_json(temporary, {"checkpoint": checkpoint.name})
        _fsync(temporary)
        temporary.replace(self.folder / BEST)
        _fsync(self.folder)

    def _prune(self, newest: Path) -> None:
        """Remove what is superseded, old or unfinished, but neither the newest checkpoint nor the best one."""
        latest_of_step = {_age(path)[0]: path for path in self.all()}
        replaced = [path for path in self.all() if path not in latest_of_step.values()]
        older = [path for path in latest_of_step.values() if path != newest]
        best = self.best()
        for path in (*replaced, *older[: max(0, len(older) - self.keep_last + 1)]):
            if path != best:
                with contextlib.suppress(OSError):  # such as one that is open on Windows; the next save tries again
                    path.rename(self.folder / f".tmp-old-{secrets.token_hex(4)}")
        for path in self.folder.glob(".tmp-*"):
            shutil.rmtree(path, ignore_errors=True)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def verify(path: Path) -> None:
    """Check every file of a checkpoint against its manifest.

    Raises:
        CheckpointError: The manifest or a file is absent, cut or changed.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["files"]
        for name in (MODEL, OPTIMIZER, STATE):
            file, expected = path / name, manifest[name]
            if file.stat().st_size != expected["size"] or _sha256(file) != expected["sha256"]:
                problem = f"the checkpoint {path} is damaged: {name} is not what was written"
                raise CheckpointError(problem, next_step="use an older checkpoint")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"the checkpoint {path} is incomplete: {error}"
        raise CheckpointError(problem, next_step="use an older checkpoint") from error


def load(path: Path) -> Checkpoint:
    """Read a checkpoint after verifying it.

    Raises:
        CheckpointError: It is absent, incomplete or damaged.
    """
    verify(path)
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"), object_hook=_mapping)
        return Checkpoint(load_file(path / MODEL), load_file(path / OPTIMIZER), state)
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        problem = f"the checkpoint {path} cannot be read: {error}"
        raise CheckpointError(problem, next_step="use an older checkpoint") from error


def optimizer_content(state: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Split an optimizer's state dict into tensors by `<index>.<name>` and JSON-able rest."""
    import torch

    tensors: dict[str, torch.Tensor] = {}
    plain: dict[str, Any] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            (tensors if isinstance(value, torch.Tensor) else plain)[f"{index}.{name}"] = value
    return tensors, {"values": plain, "param_groups": state["param_groups"]}


def optimizer_state(tensors: Mapping[str, torch.Tensor], rest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the optimizer's state dict that `optimizer_content` split."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **rest["values"]}.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": rest["param_groups"]}


def _contiguous(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return copies that share no memory, as safetensors requires."""
    for name, tensor in tensors.items():
        if not hasattr(tensor, "detach"):
            message = f"{name} is a {type(tensor).__name__}, not a tensor"
            raise TypeError(message)
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(_plain(value), indent=1, default=_number), encoding="utf-8")


def _plain(value: Any) -> Any:
    """Return data with mappings as JSON can keep them: one whose keys are no text becomes a list of its items."""
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value):
            return {key: _plain(inner) for key, inner in value.items()}
        return {_ITEMS: [[key, _plain(inner)] for key, inner in value.items()]}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _mapping(value: dict[str, Any]) -> dict[Any, Any]:
    return dict(value[_ITEMS]) if value.keys() == {_ITEMS} else value


def _age(path: Path) -> tuple[int, int]:
    """Return the step of a checkpoint, and how many of the same step came before it."""
    found = re.fullmatch(r"step-(\d+)(?:-(\d+))?", path.name)
    return (int(found[1]), int(found[2] or 0)) if found else (-1, 0)


def _number(value: Any) -> Any:
    if getattr(value, "shape", None) == ():  # tensors and NumPy numbers in schedules and metrics
        return value.item()
    message = f"{type(value).__name__} cannot be part of a checkpoint: {value!r}"
    raise TypeError(message)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows cannot open folders; renaming is journalled there
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
