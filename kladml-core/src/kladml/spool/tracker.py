"""A tracker on a spool: quick, patient with its destination, and safe from the death of its process."""

from __future__ import annotations

import json
import uuid
from abc import abstractmethod
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from kladml.errors import TrackerError
from kladml.interfaces import RUN_STATUSES, TrackerInterface
from kladml.log import get_logger
from kladml.spool.drain import count_left
from kladml.spool.events import Artifact, DatasetInput, ExperimentTags, Params, Status, Tags
from kladml.spool.limits import LONGEST_PARAM, LONGEST_TAG, as_texts, check_names, check_run, shown
from kladml.spool.recording import Recording
from kladml.spool.recovery import deliver, left_behind
from kladml.spool.runs import belongs_elsewhere, new_run, undelivered_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kladml.interfaces import UndeliveredRun
    from kladml.spool.events import Event, MetricPoint, Sink, SpooledRun
    from kladml.spool.folder import SpoolFolder

_TEXTS_AT_ONCE = 100

log = get_logger(__name__)


class SpooledTracker(TrackerInterface):
    """A tracker whose calls append to a spool on the disk, and return; a thread moves it to where it belongs.

    A tracker for a service of your own brings the way there, a `Sink`, and nothing else:

    ```python
    from kladml.spool.tracker import SpooledTracker

    class AcmeTracker(SpooledTracker):
        owner = "acme-kladml-tracker"

        def __init__(self, url, spool):
            super().__init__(spool, destination=url)
            self.url = url

        def _make_sink(self):
            return AcmeSink(self.url)
    ```

    Metrics cost about a microsecond. Whatever was recorded is on the disk when the call returns, unless the disk takes
    nothing any more, and outlives the process; while its destination fails, nothing waits for it and nothing is lost.

    Args:
        spool: The tracker's folder of spooled runs; `.kladml/spool/<name of the tracker>` in a workspace, where
            `kladml sync` finds it.
        destination: Where runs belong, as people write it and without secrets; runs of another destination in the
            same folder are left alone.

    Attributes:
        owner: The distribution that the class belongs to, for errors.
        patience: How long the end of a run waits in seconds until everything is delivered.
        backpressure: Whether recording waits for a destination that works and does not keep up; else the disk fills.
    """

    capabilities: ClassVar[frozenset[str]] = frozenset({"artifacts", "resume", "sync"})
    owner: ClassVar[str] = "kladml-core"
    patience: float = 5.0
    backpressure: bool = False

    def __init__(self, spool: str | Path, *, destination: str) -> None:
        self._spool = Path(spool)
        self._destination = destination
        self._recording: Recording | None = None
        self._record: Callable[..., None] = self._no_run
        self._closed: SpooledRun | None = None
        self._params: dict[str, str] = {}
        self._last: UndeliveredRun | None = None

    @abstractmethod
    def _make_sink(self) -> Sink:
        """Return a new way to the destination; each run gets its own, as a thread of its own uses it."""

    def start_run(self, experiment_name: str, run_name: str | None = None) -> str:
        """Begin a run.

        Raises:
            TrackerError: A run is going on, the experiment's name is malformed, or the experiment was deleted.
        """
        self._require_none()
        return self._begin(new_run(uuid.uuid4().hex, experiment_name, run_name, self._destination))

    def resume_run(self, run_id: str) -> None:
        """Go on with a run.

        Raises:
            TrackerError: A run is going on, or another process has this one.
        """
        self._require_none()
        self._begin(new_run(run_id, "", "", self._destination, goes_on=True))

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record parameters as text, of which the first 6,000 characters are kept.

        Raises:
            TrackerError: A name is malformed, or a parameter was recorded with another value before.
        """
        self._current()
        texts = as_texts("parameter", params, LONGEST_PARAM, self.owner)
        changed = next((key for key, text in texts.items() if self._params.get(key, text) != text), None)
        if changed is not None:
            values = f"{shown(self._params[changed])}, and cannot become {shown(texts[changed])}"
            problem = f"the parameter '{changed}' was recorded as {values}"
            raise TrackerError(problem, owner=self.owner, next_step="record it under another name, or as a tag")
        self._params |= texts
        self._write_texts(Params, texts)

    def log_metric(self, key: str, value: float, step: int | None = None) -> None:
        """Record one value of a metric.

        Raises:
            TrackerError: No run is going on, the key is malformed, or the value is no number.
        """
        self._record(key, value, step)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record several metrics of one step. Errors are those of `log_metric`."""
        if metrics:
            self._current().writer.record_all(metrics, step)

    def log_points(self, points: Iterable[MetricPoint]) -> None:
        """Record metrics with times of their own, such as those of another run.

        Args:
            points: Key, value, time in milliseconds since the epoch of Unix, and step of each.
        """
        self._current().writer.record_points(points)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Label the run; the first 8,000 characters of a tag are kept."""
        self._current()
        self._write_texts(Tags, as_texts("tag", tags, LONGEST_TAG, self.owner))

    def set_experiment_tags(self, tags: Mapping[str, str]) -> None:
        """Label the experiment of the run."""
        self._current()
        self._write_texts(ExperimentTags, as_texts("tag", tags, LONGEST_TAG, self.owner))

    def log_dataset(self, name: str, digest: str, source: str, context: str) -> None:
        """Record which data the run uses, as an input of the run."""
        data = DatasetInput(name, digest[:36], "local", json.dumps({"uri": source}), context=context)
        self._write(data)

    def log_artifact(self, local_path: str | Path, name: str) -> None:
        """Keep a copy of a file with the run.

        Raises:
            TrackerError: The file cannot be read or copied, or the name is no relative path without `..`.
        """
        recording = self._current()
        if "\\" in name or any(part in ("", ".", "..") for part in name.split("/")):
            problem = f"the artifact name {name!r} is no relative path with '/' between its parts"
            raise TrackerError(problem, owner=self.owner, next_step="use a relative name such as plots/loss.png")
        try:
            file = recording.keep_file(Path(local_path))
        except OSError as error:
            problem = f"{local_path} cannot be kept as '{name}' of run '{recording.run_id}': {error}"
            raise TrackerError(
                problem, owner=self.owner, next_step="check the path and the space on the disk"
            ) from error
        self._write(Artifact(name, file))

    def flush(self) -> None:
        """Have what was recorded brought to the disk itself, soon; a process that is killed loses nothing anyway."""
        if self._recording is not None:
            self._recording.sync()

    def end_run(self, status: str = "FINISHED") -> None:
        """End the run, and wait for a while until everything is delivered; what is not then is kept for `sync`.

        Raises:
            TrackerError: No run is going on, or the status is not one of `RUN_STATUSES`.
        """
        recording = self._current()
        if status not in RUN_STATUSES:
            problem = f"'{status}' is no status of a run"
            raise TrackerError(problem, owner=self.owner, next_step=f"use one of {', '.join(RUN_STATUSES)}")
        self._recording, self._record = None, self._no_run
        left = recording.finish(status, self.patience)
        if recording.writer.lost:
            log.warning(f"{recording.writer.lost} records of run '{recording.run_id}' found no place and are lost")
        if left:
            failure = recording.failure
            reason = failure.problem if failure is not None else "more than could be delivered in time"
            since = None if failure is None else datetime.fromtimestamp(failure.since, UTC)
            self._last = undelivered_run(recording.run, left, reason, since)
            if not recording.was_told:
                log.warning(f"run '{recording.run_id}': {self._last}")

    def close(self) -> None:
        """Deliver what was recorded, as far as that is quick.

        A run that was not ended goes on with the next record, or in another process, which first marks it as killed.
        """
        if self._recording is not None:
            recording, self._recording, self._record = self._recording, None, self._record_again
            self._closed = recording.run
            recording.let_go(self.patience)

    def undelivered(self) -> list[UndeliveredRun]:
        """Return the runs of which something waits on this machine, wherever it belongs."""
        last = [] if self._last is None else [self._last]
        found = {run.run_id: run for run in last if (self._spool / run.run_id).exists()}
        for folder in left_behind(self._spool):
            run = folder.read_run()
            if run is not None and run.run_id not in found:
                found[run.run_id] = undelivered_run(run, count_left(folder))
        return list(found.values())

    def sync(self, run_id: str, progress: Callable[[int], None] = lambda _: None, *, redirect: bool = False) -> int:
        """Deliver what waits of a run; a run whose process died is marked as killed.

        Args:
            run_id: The run, one of `undelivered`.
            progress: Called with the number of records of each batch.
            redirect: Whether to deliver it here though it was recorded for another destination, such as the address
                that a server had before.

        Raises:
            TrackerError: It cannot be delivered now, another process records it, or it belongs elsewhere.
        """
        for folder in left_behind(self._spool):
            run = folder.read_run()
            if run is not None and run.run_id == run_id:
                if run.destination != self._destination:
                    self._redirect(folder, run, is_wanted=redirect)
                count = deliver(folder, self._make_sink(), progress=progress)
                if count is not None:
                    return count
        problem = f"nothing waits of run '{run_id}', or another process records it"
        raise TrackerError(problem, owner=self.owner)

    def _redirect(self, folder: SpoolFolder, run: SpooledRun, *, is_wanted: bool) -> None:
        if not is_wanted:
            raise belongs_elsewhere(run, self._destination, self.owner)
        folder.write_run(replace(run, destination=self._destination))

    def _begin(self, run: SpooledRun) -> str:
        """Begin to record a run, or go on, and return its identifier."""
        self._open(run)
        self._params = {}
        return run.run_id

    def _open(self, run: SpooledRun) -> Recording:
        check_run(run, self.owner)  # before a folder is named like it
        recording = Recording(
            self._spool,
            run,
            self._make_sink(),
            owner=self.owner,
            check_key=lambda key: check_names("metric", [key], self.owner),
            backpressure=self.backpressure,
        )
        if run.goes_on:
            recording.writer.record_event(Status("RUNNING", run.started_ms))
        self._prepare(recording)
        recording.start()
        self._recording, self._record, self._closed = recording, recording.writer.record, None
        return recording

    def _prepare(self, recording: Recording) -> None:
        """Do what has to be done before a run begins; nothing by default."""

    def _settle(self, seconds: float) -> bool:
        """Wait until what the current run recorded is delivered, and tell whether it is."""
        return self._recording is None or self._recording.settle(seconds)

    def _write_texts(self, kind: type[Params | Tags | ExperimentTags], texts: dict[str, str]) -> None:
        """Record texts, a hundred at a time: however long they are, such a record fits into a segment."""
        names = list(texts)
        for start in range(0, len(names), _TEXTS_AT_ONCE):
            self._write(kind({name: texts[name] for name in names[start : start + _TEXTS_AT_ONCE]}))

    def _write(self, event: Event) -> None:
        self._current().writer.record_event(event)

    def _require_none(self) -> None:
        going_on = self._recording or self._closed
        if going_on is not None:
            problem = f"run '{going_on.run_id}' is still going on"
            raise TrackerError(problem, owner=self.owner, next_step="end it first, or use another tracker object")

    def _current(self) -> Recording:
        if self._recording is not None:
            return self._recording
        if self._closed is None:
            self._no_run()
        return self._open(replace(self._closed, goes_on=True))

    def _record_again(self, key: str, value: float, step: int | None) -> None:
        self._current().writer.record(key, value, step)

    def _no_run(self, *_: Any) -> NoReturn:
        problem = "no run is going on"
        raise TrackerError(problem, owner=self.owner, next_step="call start_run first")
