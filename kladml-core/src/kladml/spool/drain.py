"""Moving what a spool holds to where it belongs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kladml.errors import TrackerError
from kladml.log import get_logger
from kladml.spool.events import Artifact, Batch, Status
from kladml.spool.reader import SpoolReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from kladml.spool.events import Sink, SpooledRun
    from kladml.spool.folder import Position, SpoolFolder
    from kladml.spool.writer import SpoolWriter

log = get_logger(__name__)


class Drain:
    """Moves the records of one run into a sink, a batch at a time.

    A batch is behind the run's position once the sink has it, and not before: a process that dies in between leaves
    it to the next one, which hands it over again.

    Args:
        folder: The run's folder.
        run: The run.
        sink: Where its records go.
        writer: Who records in this process, if anybody does.
        take_back: Called with the number of each segment that was delivered whole.

    Attributes:
        run: The run, as the sink knows it.
        status: The status that was delivered last; empty if none was.
        ended: The status at the run's end, if the record of that found no place on a full disk; else empty.
        last_ms: When the latest record was made or delivered, in milliseconds since the epoch of Unix.
    """

    def __init__(
        self,
        folder: SpoolFolder,
        run: SpooledRun,
        sink: Sink,
        *,
        writer: SpoolWriter | None = None,
        take_back: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._folder = folder
        self._sink = sink
        delivered = folder.delivered()
        self._reader = SpoolReader(folder, delivered.position, writer)
        self._take_back = take_back
        self._has_begun = False
        self._held = Batch()
        self.run = run
        self.status = delivered.status
        self.ended = delivered.ended if writer is None else ""
        self.last_ms = max(run.started_ms, delivered.at_ms)

    @property
    def batch_size(self) -> int:
        """How many records the sink takes at once, about."""
        return self._sink.batch_size

    @property
    def position(self) -> Position:
        """Where the next record begins."""
        return self._reader.position

    def is_behind(self) -> bool:
        """Tell whether a later segment waits, so that a small batch is but the end of one."""
        return self._reader.next_segment() is not None

    def step(self) -> int:
        """Deliver the next batch.

        Returns:
            How many records it had; 0 if there is none.

        Raises:
            TrackerError: The sink cannot take it now; the next step tries again.
        """
        if not self._has_begun:
            self._begin()
        if not len(self._held):
            self._held = self._with_files(self._reader.read(self._sink.batch_size))
        batch = self._held
        if len(batch):
            try:
                refusals = self._sink.write(self.run, batch)
            except TrackerError:
                self._has_begun = False  # the run may be gone from there, with the database even
                raise
            for refusal in refusals:
                log.warning(refusal)
            self._held = Batch()
            self._note(batch)
            self._folder.save_delivered(self._reader.position, self.status, self.ended)
            for event in batch.events:
                if isinstance(event, Artifact):  # not before: the batch would come again without its file
                    Path(event.file).unlink(missing_ok=True)
        while self._reader.left:
            self._take_back(self._reader.left.pop())
        return len(batch)

    def end(self, status: str) -> None:
        """Give the run a status that was not recorded, because its process died.

        Raises:
            TrackerError: The sink cannot take it now.
        """
        self._sink.write(self.run, Batch(events=[Status(status, self.last_ms)]))

    def close(self) -> None:
        """Let go of the sink and of the files."""
        self._reader.close()
        self._sink.close()

    def _begin(self) -> None:
        run = self._sink.begin(self.run)
        if run != self.run:
            try:
                self._folder.write_run(run)
            except OSError as error:  # a full disk: delivering makes room, and a sink may begin more than once
                log.debug(f"{self._folder.path} cannot be written: {error}")
            self.run = run
        self._has_begun = True

    def _with_files(self, batch: Batch) -> Batch:
        for index, event in enumerate(batch.events):
            if isinstance(event, Artifact):
                batch.events[index] = replace(event, file=str(self._folder.files / event.file))
        return batch

    def _note(self, batch: Batch) -> None:
        times = [point[2] for point in batch.points[-1:]]
        for event in batch.events:
            if isinstance(event, Status):
                self.status = event.status
                times.append(event.time_ms)
        self.last_ms = max([self.last_ms, *times])


def count_left(folder: SpoolFolder, writer: SpoolWriter | None = None) -> int:
    """Return how many records of a run were not delivered; nothing is changed by that."""
    reader = SpoolReader(folder, folder.delivered().position, writer, is_counting=True)
    count = 0
    while batch := len(reader.read(100_000)):
        count += batch
    reader.close()
    return count
