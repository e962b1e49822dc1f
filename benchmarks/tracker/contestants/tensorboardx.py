"""Event files of TensorBoard, by tensorboardX."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LABEL, ORDER = "tensorboardX 2.6.5", 8
ENVIRONMENT = "peers"
CALLS = {"one": 5_000, "ten": 500, "paced": 300}

# A record is its length, a checksum of that, the content, a checksum of that.
_LENGTH = struct.Struct("<Q")
_CHECKSUMS = 8


class Tracker:
    def __init__(self, folder: Path) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder / "events"))

    def log_metric(self, key: str, value: float, step: int) -> None:
        self._writer.add_scalar(key, value, step)

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        for key, value in metrics.items():
            self._writer.add_scalar(key, value, step)

    def close(self) -> None:
        self._writer.close()


def count(folder: Path) -> int:
    (path,) = folder.glob("events/*")
    data, offset, records = path.read_bytes(), 0, 0
    while offset < len(data):
        (length,) = _LENGTH.unpack_from(data, offset)
        offset += _LENGTH.size + length + _CHECKSUMS
        records += 1
    return records - 1  # the first says what kind of file it is
