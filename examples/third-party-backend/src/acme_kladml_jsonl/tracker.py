"""A tracker that appends JSON lines, one file per run."""

from __future__ import annotations

import json
import math
import os
import re
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from acme_kladml_jsonl.settings import JsonlSettings
from kladml import TrackedRun, TrackerInterface
from kladml.errors import TrackerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TextIO

    from kladml.interfaces import BackendContext

OWNER = "acme-kladml-jsonl"

_RUN_ID = re.compile(r"[0-9a-f]{32}")


class JsonlTracker(TrackerInterface):
    """Records each run in a file of its own, a JSON object per line, readable while the run goes on.

    Args:
        folder: Where the files are; it is made when needed.
        sync: Whether `flush` waits for the disk.
    """

    settings_class: ClassVar[type[JsonlSettings]] = JsonlSettings
    capabilities: ClassVar[frozenset[str]] = frozenset({"read"})

    def __init__(self, folder: str | Path = ".kladml/jsonl", *, sync: bool = False) -> None:
        self.folder = Path(folder)
        self.sync = sync
        self._file: TextIO | None = None

    @classmethod
    def from_settings(cls, settings: JsonlSettings, context: BackendContext) -> Self:
        """Build the tracker; a relative folder is relative to the workspace, not to the current folder."""
        return cls(context.workspace / Path(settings.folder).expanduser(), sync=settings.sync)

    def check(self) -> None:
        """Make the folder and prove that it can be written to.

        Raises:
            TrackerError: It cannot.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / f".probe-{uuid.uuid4().hex}"
            probe.touch(exist_ok=False)
            probe.unlink()
        except OSError as error:
            problem = f"the folder {self.folder} cannot be written to: {error.strerror or error}"
            raise TrackerError(problem, owner=OWNER, next_step="set tracker.jsonl.folder to another one") from error

    def close(self) -> None:
        """Close the file of a run that was not ended."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def start_run(self, experiment_name: str, run_name: str | None = None) -> str:
        """Begin a run in a new file.

        Raises:
            TrackerError: A run is going on, or the file cannot be made.
        """
        if self._file is not None:
            problem = f"a run is going on in {self._file.name}"
            raise TrackerError(problem, owner=OWNER, next_step="end it first, or use another JsonlTracker")
        run_id = uuid.uuid4().hex
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path(run_id).open("x", encoding="utf-8")
        except OSError as error:
            problem = f"the run cannot be recorded in {self.folder}: {error.strerror or error}"
            raise TrackerError(problem, owner=OWNER, next_step="set tracker.jsonl.folder to another one") from error
        self._write(start=run_id, experiment=experiment_name, name=run_name)
        return run_id

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record parameters as text."""
        self._write(params={key: str(value) for key, value in params.items()})

    def log_metric(self, key: str, value: float, step: int | None = None) -> None:
        """Record one value of a metric."""
        self.log_metrics({key: value}, step)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record the metrics of one step in one line."""
        self._write(metrics={key: _to_json(value) for key, value in metrics.items()}, step=step or 0)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record tags."""
        self._write(tags=dict(tags))

    def flush(self) -> None:
        """Wait for the disk, where the settings ask for it; readers see every line at once anyway."""
        if self.sync and self._file is not None:
            os.fsync(self._file.fileno())

    def end_run(self, status: str = "FINISHED") -> None:
        """Record the end and close the file."""
        self._write(end=status)
        self.close()

    def how_to_view(self, run_id: str) -> str:
        """Return the file of the run."""
        return str(self._path(run_id))

    def get_run(self, run_id: str) -> TrackedRun:
        """Read a run back.

        Raises:
            TrackerError: There is no such run.
        """
        experiment, status = "", "RUNNING"
        params: dict[str, str] = {}
        metrics: dict[str, float] = {}
        tags: dict[str, str] = {}
        for line in self._lines(run_id):
            experiment = line.get("experiment", experiment)
            status = line.get("end", status)
            params |= line.get("params", {})
            tags |= line.get("tags", {})
            metrics |= {key: float(value) for key, value in line.get("metrics", {}).items()}
        return TrackedRun(run_id, experiment, status, params, metrics, tags)

    def metric_history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """Read all values of a metric back."""
        lines = self._lines(run_id)
        return [(line["step"], float(line["metrics"][key])) for line in lines if key in line.get("metrics", {})]

    def _path(self, run_id: str) -> Path:
        return self.folder / f"{run_id}.jsonl"

    def _write(self, **line: Any) -> None:
        if self._file is None:
            problem = "no run is going on"
            raise TrackerError(problem, owner=OWNER, next_step="call start_run first")
        try:
            # One write of a whole line: a reader sees all of it or nothing.
            self._file.write(json.dumps({**line, "time": time.time()}, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            problem = f"{self._file.name} cannot be written: {error.strerror or error}"
            raise TrackerError(problem, owner=OWNER, next_step="free some space on the disk") from error

    def _lines(self, run_id: str) -> Iterator[dict[str, Any]]:
        # An identifier becomes part of a path, so it has to be one of ours.
        if not _RUN_ID.fullmatch(run_id) or not self._path(run_id).is_file():
            problem = f"there is no run '{run_id}' in {self.folder}"
            raise TrackerError(problem, owner=OWNER, next_step="check the identifier and tracker.jsonl.folder")
        with self._path(run_id).open(encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):  # a process that was killed leaves half a line at the end
                    yield json.loads(line)


def _to_json(value: float) -> float | str:
    """Return NaN and infinity as text, which JSON has no numbers for; `float` reads it back."""
    number = float(value)
    return number if math.isfinite(number) else repr(number)
