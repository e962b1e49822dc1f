"""Weights & Biases without a server: a program of its own writes a file."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LABEL, ORDER = "wandb 0.31.0, offline", 7
ENVIRONMENT = "peers"
CALLS = {"one": 3_000, "ten": 1_500, "paced": 500}

# The file is a log in LevelDB's format after a short head.
_HEAD = 7
_BLOCK = 32_768
_RECORD = struct.Struct("<IHB")
_WHOLE, _LAST = 1, 4


class Tracker:
    def __init__(self, folder: Path) -> None:
        import wandb

        settings = wandb.Settings(console="off", x_disable_stats=True)
        self._run = wandb.init(project="bench", mode="offline", dir=folder, settings=settings)

    def log_metric(self, key: str, value: float, step: int) -> None:
        self._run.log({key: value}, step=step)

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self._run.log(metrics, step=step)

    def close(self) -> None:
        self._run.finish()


def count(folder: Path) -> int:
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    points = 0
    for data in _records(path.read_bytes()):
        items = Record.FromString(data).history.item
        points += sum(not name.startswith("_") for item in items for name in item.nested_key)
    return points


def _records(data: bytes) -> Iterator[bytes]:
    offset, parts = _HEAD, []
    while offset + _RECORD.size <= len(data):
        left = _BLOCK - offset % _BLOCK
        if left < _RECORD.size:
            offset += left
            continue
        _, length, kind = _RECORD.unpack_from(data, offset)
        offset += _RECORD.size + length
        parts.append(data[offset - length : offset])
        if kind in {_WHOLE, _LAST}:
            yield b"".join(parts)
            parts = []
