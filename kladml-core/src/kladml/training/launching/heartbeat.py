"""Heartbeats: where each process of a training is, for a supervisor that looks on from outside."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from kladml.training.launching.rank_folder import own_rank
from kladml.training.launching.supervised import accept_supervision

if TYPE_CHECKING:
    from pathlib import Path

    from kladml.training.launching.rank_folder import RankFolder

_NUMBERS = struct.Struct("QQQ")  # beats so far, batch, phase; native, as only this machine reads them


class Phase(IntEnum):
    """What a process does; within a batch, in the order in which it happens."""

    STARTING = 0
    FETCHING = 1
    COMPUTING = 2
    BACKWARD = 3
    EXCHANGING = 4
    VALIDATING = 5
    SAVING = 6
    ENDED = 7

    def doing(self, count: int) -> str:
        """Say it of a batch, to follow 'while'."""
        return _DOING[self].format(count)


_DOING = {
    Phase.STARTING: "preparing the training",
    Phase.FETCHING: "fetching batch {}",
    Phase.COMPUTING: "computing the loss of batch {}",
    Phase.BACKWARD: "computing the gradients of batch {}",
    Phase.EXCHANGING: "waiting for the other ranks in batch {}",
    Phase.VALIDATING: "validating after batch {}",
    Phase.SAVING: "saving after batch {}",
    Phase.ENDED: "ending after batch {}",
}


class Heartbeat:
    """Notes where this process is; a note costs a fraction of a microsecond.

    Args:
        memory: At least 24 bytes that can be written to.
    """

    __slots__ = ("_beats", "_memory", "_pack")

    def __init__(self, memory: mmap.mmap | bytearray) -> None:
        self._memory = memory
        self._pack = _NUMBERS.pack_into
        self._beats = 0

    @classmethod
    def at(cls, path: Path) -> Heartbeat:
        """Return one in a file that others can read.

        Raises:
            OSError: It cannot be written.
        """
        with path.open("wb+") as file:
            file.truncate(_NUMBERS.size)
            return cls(mmap.mmap(file.fileno(), _NUMBERS.size))

    def beat(self, count: int, phase: int) -> None:
        """Note progress; each call counts as progress, also when both numbers are the same as before.

        Args:
            count: Number of the batch that the process works on, or of the last one.
            phase: One of `Phase`.
        """
        self._beats += 1
        self._pack(self._memory, 0, self._beats, count, phase)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a process is; the least position lags behind.

    Attributes:
        count: Number of the batch.
        phase: What it does with it.
        beats: How often it noted something; 0 before its training began.
    """

    count: int = 0
    phase: Phase = Phase.STARTING
    beats: int = 0

    @property
    def place(self) -> tuple[int, Phase]:
        """Batch and phase, which processes that are equally far share."""
        return self.count, self.phase

    @property
    def is_training(self) -> bool:
        """Whether the process is in its training, for which progress is expected."""
        return self.beats > 0 and self.phase not in (Phase.STARTING, Phase.ENDED)

    @property
    def doing(self) -> str:
        """What the process does, to follow 'while'."""
        return self.phase.doing(self.count)


def open_heartbeat() -> Heartbeat:
    """Return this process's heartbeat; without a supervisor, one that nobody sees.

    Raises:
        OSError: The supervisor's folder cannot be written to.
    """
    folder = accept_supervision()
    return Heartbeat(bytearray(_NUMBERS.size)) if folder is None else Heartbeat.at(folder.heartbeat(own_rank()))


def read_position(folder: RankFolder, rank: int) -> Position:
    """Return where a process is."""
    try:
        content = folder.heartbeat(rank).read_bytes()
    except FileNotFoundError:
        return Position()
    if len(content) < _NUMBERS.size:  # it is being made
        return Position()
    beats, count, phase = _NUMBERS.unpack(content)
    return Position(count, Phase(phase), beats)
