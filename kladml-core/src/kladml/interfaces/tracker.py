"""The tracker interface: the record of a run's parameters and metrics."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from kladml.interfaces.backend import Backend

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from kladml.interfaces.tracked_run import TrackedRun, UndeliveredRun


class TrackerInterface(Backend):
    """Records what a run was started with and what came out of it.

    A complete tracker, and the hook that offers it under a name:

    ```python
    import json, uuid
    from kladml import TrackerInterface

    class JsonlTracker(TrackerInterface):
        def __init__(self, path="runs.jsonl"):
            self.path = path

        def _write(self, **line):
            with open(self.path, "a") as file:
                print(json.dumps(line), file=file)

        def start_run(self, experiment_name, run_name=None):
            run_id = uuid.uuid4().hex
            self._write(start=run_id, experiment=experiment_name, name=run_name)
            return run_id

        def log_params(self, params):
            self._write(params=params)

        def log_metric(self, key, value, step=None):
            self._write(metric=key, value=value, step=step)

        def end_run(self, status="FINISHED"):
            self._write(end=status)
    ```
    ```python
    from kladml.plugins import hookimpl

    @hookimpl
    def kladml_register_tracker():
        from my_package.tracker import JsonlTracker
        return JsonlTracker
    ```

    An instance follows one run at a time: `start_run`, any number of records, `end_run`; then again.

    Capabilities: `artifacts` (`log_artifact`), `points` (`metric_points`), `read` (`get_run`, `metric_history`),
    `resume` (`resume_run`), `search` (`param_values`, `tag_values`), `sync` (`undelivered`, `sync`).
    """

    @abstractmethod
    def start_run(self, experiment_name: str, run_name: str | None = None) -> str:
        """Begin a run and return its identifier; this occurs before the model is built."""

    @abstractmethod
    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record parameters of the run; values are recorded as text where the tracker knows only text."""

    @abstractmethod
    def log_metric(self, key: str, value: float, step: int | None = None) -> None:
        """Record one value of a metric at a step, 0 if none is given; the same key and step may come again."""

    @abstractmethod
    def end_run(self, status: str = "FINISHED") -> None:
        """End the run with one of `RUN_STATUSES`; everything recorded so far is kept."""

    def resume_run(self, run_id: str) -> None:
        """Go on with a run that ended or was cut off, as if it had not ended. Capability `resume`.

        This occurs instead of `start_run`, most often in another process than the one that began the run. What
        was recorded stays, the status is `RUNNING` again, and what is recorded from now on is added.

        Args:
            run_id: What `start_run` returned.

        Raises:
            TrackerError: There is no such run.
        """
        raise self._lacks("resume", f"go on with run '{run_id}'")

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record several metrics of one step."""
        for key, value in metrics.items():
            self.log_metric(key, value, step)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Label the run; a tracker without tags records them as parameters `tags.<name>`."""
        self.log_params({f"tags.{key}": value for key, value in tags.items()})

    def set_experiment_tags(self, tags: Mapping[str, str]) -> None:
        """Label the experiment of the run; a tracker whose experiments have no tags leaves it."""

    def log_dataset(self, name: str, digest: str, source: str, context: str) -> None:
        """Record which data the run uses; a tracker that knows no data sets leaves it to the tags of the run.

        Args:
            name: Name of the data set.
            digest: Its fingerprint.
            source: Where it is from, as people write it.
            context: What it is used for, such as `training`.
        """

    def flush(self) -> None:
        """Make everything recorded so far durable; this occurs after each epoch."""

    def how_to_view(self, run_id: str) -> str | None:
        """Return the command or address (lines for several) with which a person looks at a run, or None."""
        del run_id
        return None

    def log_artifact(self, local_path: str | Path, name: str) -> None:
        """Keep a file with the run under a relative name. Capability `artifacts`.

        Raises:
            TrackerError: The file cannot be read or kept, or the name is no relative path without `..`.
        """
        raise self._lacks("artifacts", f"keep '{name}' ({local_path})")

    def get_run(self, run_id: str) -> TrackedRun:
        """Read a run back. Capability `read`.

        Raises:
            TrackerError: There is no such run.
        """
        raise self._lacks("read", f"read run '{run_id}' back")

    def metric_history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """Read all values of a metric back as (step, value), in the order of recording. Capability `read`.

        A metric that the run does not have has no values.
        """
        raise self._lacks("read", f"read '{key}' of run '{run_id}' back")

    def param_values(self, names: Collection[str]) -> dict[str, dict[str, str]]:
        """Read parameters of all runs at once. Capability `search`.

        Args:
            names: Their names; a name `lr` also stands for every name that ends in `.lr`.

        Returns:
            By identifier of the run, those of these parameters that it has.
        """
        raise self._lacks("search", f"read {', '.join(names)} of all runs")

    def tag_values(self, names: Collection[str]) -> dict[str, dict[str, str]]:
        """Read tags of all runs at once, by the identifiers of the runs. Capability `search`."""
        raise self._lacks("search", f"read the tags {', '.join(names)} of all runs")

    def metric_points(self, run_id: str) -> list[tuple[str, float, int, int]]:
        """Read all values of all metrics back as (key, value, time, step). Capability `points`.

        Times are milliseconds since the epoch of Unix. The values of one metric are in the order of recording.
        """
        raise self._lacks("points", f"read the metrics of run '{run_id}' back with their times")

    def undelivered(self) -> list[UndeliveredRun]:
        """Return the runs of which something waits on this machine for its server. Capability `sync`.

        Runs that another process records are left out.
        """
        return []

    def sync(self, run_id: str, progress: Callable[[int], None] = lambda _: None, *, redirect: bool = False) -> int:
        """Deliver what waits of a run. Capability `sync`.

        Args:
            run_id: The run, one of `undelivered`.
            progress: Called with the number of records of each batch.
            redirect: Whether to deliver it also if it was recorded for another destination.

        Returns:
            How many records were delivered.

        Raises:
            TrackerError: They cannot be delivered now, and are kept.
        """
        raise self._lacks("sync", f"deliver what waits of run '{run_id}'")
