"""The folder of a spooled run: what it is, its segments, and how far they were delivered."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import struct
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any
from zlib import crc32

from kladml.files.whole import written_whole
from kladml.interfaces import RUN_STATUSES
from kladml.log import get_logger
from kladml.spool.events import SpooledRun
from kladml.spool.segments import segment_numbers, segment_path

if TYPE_CHECKING:
    from pathlib import Path

RUN = "run.json"
FILES = "files"
POSITION = "position"
GONE = ".gone"
"""How the name of a folder ends that is being removed."""

_PLACE = struct.Struct("<QQBB")
_CHECKSUM = struct.Struct("<I")
_STATUSES = ("", *RUN_STATUSES)

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a spool.

    Attributes:
        segment: Number of the segment, from 1.
        offset: Bytes before the place in it.
    """

    segment: int = 1
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Delivered:
    """What of a spool is where it belongs.

    Attributes:
        position: Where the first record begins that is not, or that may not be.
        status: The run's last status that is; empty if none is.
        at_ms: When this was written down, in milliseconds since the epoch of Unix; 0 if never.
        ended: The run's status at its end, if the record of that found no place on a full disk; else empty.
    """

    position: Position
    status: str = ""
    at_ms: int = 0
    ended: str = ""


class SpoolFolder:
    """The folder of one run.

    Args:
        path: The folder, named like the run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def files(self) -> Path:
        """The folder of the files that are to be kept with the run."""
        return self.path / FILES

    def read_run(self) -> SpooledRun | None:
        """Return whose folder it is, or None if it is nobody's or nothing in it says so."""
        try:
            content: dict[str, Any] = json.loads((self.path / RUN).read_text(encoding="utf-8"))
            known = {item.name for item in fields(SpooledRun)}
            return SpooledRun(**{name: value for name, value in content.items() if name in known})
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning(f"{self.path / RUN} cannot be read, and what was recorded beside it stays there: {error}")
            return None

    def write_run(self, run: SpooledRun) -> None:
        """Write down whose folder it is, whole or not at all.

        Raises:
            OSError: The disk refuses.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with written_whole(self.path / RUN) as temporary:
            temporary.write_text(json.dumps(asdict(run), indent=1), encoding="utf-8")

    def delivered(self) -> Delivered:
        """Return what was delivered, as far as it was written down: delivering more than once changes nothing."""
        try:
            content = (self.path / POSITION).read_bytes()
            at_ms = (self.path / POSITION).stat().st_mtime_ns // 1_000_000
        except OSError:
            content, at_ms = b"", 0
        place, checksum = content[: _PLACE.size], content[_PLACE.size :]
        if len(place) == _PLACE.size and checksum == _CHECKSUM.pack(crc32(place)):
            segment, offset, status, ended = _PLACE.unpack(place)
            return Delivered(Position(segment, offset), _STATUSES[status], at_ms, _STATUSES[ended])
        return Delivered(Position(min(self.numbers(), default=1)))

    def save_delivered(self, position: Position, status: str, ended: str = "") -> None:
        """Write down what was delivered, in one write that a process cannot leave half done.

        It needs no space but for the first time, so that a full disk takes it.
        """
        place = _PLACE.pack(position.segment, position.offset, _STATUSES.index(status), _STATUSES.index(ended))
        try:
            descriptor = os.open(self.path / POSITION, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, place + _CHECKSUM.pack(crc32(place)))
            finally:
                os.close(descriptor)
        except OSError as error:
            log.debug(f"{self.path / POSITION} cannot be written: {error}")

    def numbers(self) -> list[int]:
        """Return the numbers of the segments, in order."""
        return segment_numbers(self.path)

    def sync(self, first: int) -> None:
        """Bring segments to the disk itself, so that they outlive a loss of power.

        Args:
            first: Number of the first that may not be there yet.
        """
        for number in self.numbers():
            if number >= first:
                descriptor = os.open(segment_path(self.path, number), os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def remove(self) -> None:
        """Remove the folder with everything in it, at once for everybody who looks for it."""
        gone = self.path.with_name(f".{self.path.name}-{secrets.token_hex(4)}{GONE}")
        try:
            self.path.rename(gone)
        except OSError:  # somebody has a file of it open, where that matters
            gone = self.path
            with suppress(OSError):
                (gone / RUN).unlink(missing_ok=True)  # first: with what is left, the run would look like a killed one
        shutil.rmtree(gone, ignore_errors=True)


def spooled_runs(spool: Path) -> list[SpoolFolder]:
    """Return the folders of a spool that belong to a run, the oldest first."""
    paths = [path.parent for path in spool.glob(f"*/{RUN}") if not path.parent.name.endswith(GONE)]
    folders = [SpoolFolder(path) for path in paths]
    runs = [(run.started_ms, run.run_id, folder) for folder in folders if (run := folder.read_run()) is not None]
    return [folder for _, _, folder in sorted(runs, key=lambda entry: entry[:2])]
