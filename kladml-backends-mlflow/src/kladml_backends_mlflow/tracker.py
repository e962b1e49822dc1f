"""Runs on an MLflow tracking server."""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

from mlflow import MlflowClient

from kladml.errors import TrackerError
from kladml.interfaces import RUN_STATUSES, TrackedRun, TrackerInterface
from kladml.log import get_logger
from kladml_backends_mlflow.server import OWNER, RefusedCallError, TrackingServer
from kladml_backends_mlflow.settings import MLflowSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

log = get_logger(__name__)

# MLflow's limits: https://mlflow.org/docs/latest/api_reference/rest-api.html#request-limits
_METRICS_PER_CALL = 1000
_PARAMS_PER_CALL = 100
_LONGEST_PARAM = 6000
_LONGEST_TAG = 8000
_HISTORY_PAGE = 25_000

_CHECK_TIMEOUT = 5.0
"""Seconds that the preflight may take."""


class MLflowTracker(TrackerInterface):
    """Records runs on an MLflow tracking server, as `mlflow` itself would.

    ```python
    tracker = MLflowTracker("http://127.0.0.1:5000")
    run_id = tracker.start_run("digits")
    tracker.log_metric("loss", 0.25, step=10)
    tracker.end_run()
    ```

    Every record is on the server when its call returns. A server that is down or hangs costs a call `timeout` at
    most; for `retry_after` seconds after that, records are dropped at once. Nothing of MLflow's global state is
    used or changed.

    Args:
        tracking_uri: Address of the server; the environment variable `MLFLOW_TRACKING_URI` if None. Credentials
            come from MLflow's own variables.
        timeout: Longest time in seconds to wait for an answer, repeated attempts included.
        retry_after: Seconds after a failure in which records are dropped without asking the server.

    Raises:
        TrackerError: There is no address, it is malformed or has a password in it.
    """

    api_version = 1
    settings_class: ClassVar[type[Any]] = MLflowSettings
    capabilities = frozenset({"artifacts", "read", "resume"})

    def __init__(self, tracking_uri: str | None = None, timeout: float = 10.0, retry_after: float = 60.0) -> None:
        uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            problem = "the tracker mlflow has no server"
            step = "set tracker.mlflow.tracking_uri or the environment variable MLFLOW_TRACKING_URI"
            raise TrackerError(problem, owner=OWNER, next_step=step)
        self._server = TrackingServer(uri, timeout, retry_after)
        self._run_id: str | None = None
        self._experiment_ids: dict[str, str] = {}
        self._last_time = 0
        self._warned = False

    def start_run(self, experiment_name: str, run_name: str | None = None) -> str:
        """Begin a run in an experiment, which is made if there is none of that name.

        Args:
            experiment_name: Name of the experiment.
            run_name: Name of the run; MLflow makes one up if None.

        Returns:
            MLflow's identifier of the run.

        Raises:
            TrackerError: A run is going on, the experiment was deleted, or the server fails.
        """
        self._require_none()
        experiment_id = self._experiment_id(experiment_name)
        body: dict[str, object] = {"experiment_id": experiment_id, "start_time": _now()}
        if run_name is not None:
            body["run_name"] = run_name
        # An attempt whose answer was lost would leave a run behind that never ends.
        answer = self._server.post("runs/create", body, repeat=False)
        run_id = str(answer["run"]["info"]["run_id"])
        self._run_id = run_id
        self._experiment_ids[run_id] = experiment_id
        return run_id

    def resume_run(self, run_id: str) -> None:
        """Go on with a run, which the server shows as running again.

        Raises:
            TrackerError: A run is going on, there is no such run, it was deleted, or the server fails.
        """
        self._require_none()
        self._server.post("runs/update", {"run_id": run_id, "status": "RUNNING"})
        self._run_id = run_id

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record parameters as text, cut off at the 6,000 characters that MLflow keeps.

        Raises:
            TrackerError: No run was started, a parameter has another value already, or the server fails.
        """
        entries = [{"key": key, "value": self._cut(key, str(value), _LONGEST_PARAM)} for key, value in params.items()]
        self._log("params", entries, _PARAMS_PER_CALL)

    def log_metric(self, key: str, value: float, step: int | None = None) -> None:
        """Record one value of a metric; without a step, at step 0. Errors are those of `log_metrics`."""
        self.log_metrics({key: value}, step)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record several metrics of one step; NaN and infinities too.

        Raises:
            TrackerError: No run was started, a value is no number, or the server fails.
        """
        # Never the same twice: MLflow keeps one of two equal records, and orders a history by time.
        self._last_time = max(_now(), self._last_time + 1)
        common = {"timestamp": self._last_time, "step": step or 0}
        entries = [{"key": key, "value": _json_number(key, value), **common} for key, value in metrics.items()]
        self._log("metrics", entries, _METRICS_PER_CALL)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Label the run; values are cut off at the 8,000 characters that MLflow keeps."""
        entries = [{"key": key, "value": self._cut(key, str(value), _LONGEST_TAG)} for key, value in tags.items()]
        self._log("tags", entries, _PARAMS_PER_CALL)

    def end_run(self, status: str = "FINISHED") -> None:
        """End the run with one of `RUN_STATUSES`.

        The server is asked even if it failed a moment ago; the tracker is ready for another run in any case.

        Raises:
            TrackerError: No run was started, there is no such status, or the server fails.
        """
        if status not in RUN_STATUSES:
            problem = f"'{status}' is no status of a run"
            raise TrackerError(problem, owner=OWNER, next_step=f"choose one of {', '.join(RUN_STATUSES)}")
        run_id, self._run_id = self._active_run(), None
        self._server.post("runs/update", {"run_id": run_id, "status": status, "end_time": _now()})

    def how_to_view(self, run_id: str) -> str | None:
        """Return the address of the run in the server's web interface, or None for a run that is not there."""
        if run_id not in self._experiment_ids:
            try:
                answer = self._server.get("runs/get", run_id=run_id)
            except TrackerError:
                return None
            self._experiment_ids[run_id] = str(answer["run"]["info"]["experiment_id"])
        return f"{self._server.uri}/#/experiments/{self._experiment_ids[run_id]}/runs/{run_id}"

    def log_artifact(self, local_path: str | Path, name: str) -> None:
        """Keep a file with the run, in the artifact store of the experiment.

        MLflow uploads it: how often it tries is set by its variables `MLFLOW_HTTP_REQUEST_*`.

        Args:
            local_path: The file.
            name: Its name in the run, a relative path with `/` between its parts.

        Raises:
            TrackerError: No run was started, the name is no relative path, or the file cannot be read or kept.
        """
        run_id = self._active_run()
        if "\\" in name or any(part in ("", ".", "..") for part in name.split("/")):
            problem = f"'{name}' is no name for an artifact"
            raise TrackerError(problem, owner=OWNER, next_step="take a relative path with '/' between its parts")
        if not Path(local_path).is_file():
            problem = f"there is no file {local_path} to keep as '{name}'"
            raise TrackerError(problem, owner=OWNER)
        # MLflow's patience with a server that is down is a matter of minutes, so that is found out first.
        self._server.get("runs/get", run_id=run_id)
        folder, _, file_name = name.rpartition("/")
        try:
            with _file_named(file_name, Path(local_path)) as path:
                MlflowClient(self._server.uri).log_artifact(run_id, str(path), folder or None)
        except Exception as error:  # each artifact store raises errors of its own
            problem = f"cannot keep {local_path} as '{name}' with run {run_id}: {' '.join(str(error).split())}"
            raise TrackerError(problem, owner=OWNER) from error

    def get_run(self, run_id: str) -> TrackedRun:
        """Read a run back; `metrics` has the value of the last step.

        Raises:
            TrackerError: There is no such run, or the server fails.
        """
        run = self._server.get("runs/get", run_id=run_id)["run"]
        info, data = run["info"], run.get("data", {})
        experiment = self._server.get("experiments/get", experiment_id=info["experiment_id"])["experiment"]
        return TrackedRun(
            run_id=run_id,
            experiment_name=experiment["name"],
            status=info["status"],
            params={entry["key"]: entry["value"] for entry in data.get("params", ())},
            metrics={entry["key"]: _number(entry["value"]) for entry in data.get("metrics", ())},
            tags={entry["key"]: entry["value"] for entry in data.get("tags", ())},
        )

    def metric_history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """Read all values of a metric back, from every page, as (step, value) in the order of recording.

        Raises:
            TrackerError: There is no such run, or the server fails.
        """
        history: list[tuple[int, float]] = []
        page: dict[str, object] = {}
        while True:
            answer = self._server.get(
                "metrics/get-history", run_id=run_id, metric_key=key, max_results=_HISTORY_PAGE, **page
            )
            history += [(int(entry["step"]), _number(entry["value"])) for entry in answer.get("metrics", ())]
            if not answer.get("next_page_token"):
                return history
            page = {"page_token": answer["next_page_token"]}

    def check(self) -> None:
        """Prove within about five seconds that an MLflow server answers and accepts the credentials.

        Raises:
            TrackerError: It does not.
        """
        self._server.probe("experiments/search", _CHECK_TIMEOUT, max_results=1)

    def _experiment_id(self, name: str) -> str:
        """Return the identifier of the experiment of a name, new or old."""
        experiment = self._find_experiment(name)
        if experiment is None:
            try:
                return str(self._server.post("experiments/create", {"name": name})["experiment_id"])
            except RefusedCallError as error:
                experiment = self._find_experiment(name)  # another run may have been quicker
                if experiment is None or error.code != "RESOURCE_ALREADY_EXISTS":
                    raise
        experiment_id = str(experiment["experiment_id"])
        if experiment["lifecycle_stage"] != "active":
            problem = f"the experiment '{name}' was deleted on the MLflow server at {self._server.uri}"
            step = f"restore it (`mlflow experiments restore -x {experiment_id}`) or choose another name"
            raise TrackerError(problem, owner=OWNER, next_step=step)
        return experiment_id

    def _find_experiment(self, name: str) -> dict[str, Any] | None:
        try:
            answer = self._server.get("experiments/get-by-name", experiment_name=name)
        except RefusedCallError as error:
            if error.code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        experiment: dict[str, Any] = answer["experiment"]
        return experiment

    def _log(self, what: str, entries: Sequence[object], per_call: int) -> None:
        run_id = self._active_run()
        for start in range(0, len(entries), per_call):
            self._server.record("runs/log-batch", {"run_id": run_id, what: entries[start : start + per_call]})

    def _require_none(self) -> None:
        if self._run_id is not None:
            problem = f"the run {self._run_id} has not ended"
            raise TrackerError(problem, owner=OWNER, next_step="end it, or start the new run on another tracker")

    def _active_run(self) -> str:
        if self._run_id is None:
            problem = "there is no run to record"
            raise TrackerError(problem, owner=OWNER, next_step="call start_run first")
        return self._run_id

    def _cut(self, key: str, value: str, longest: int) -> str:
        if len(value) > longest and not self._warned:
            self._warned = True
            log.warning(f"'{key}' is cut off: MLflow keeps {longest} of its {len(value)} characters ({OWNER})")
        return value[:longest]


def _now() -> int:
    return time.time_ns() // 1_000_000


def _json_number(key: str, value: float) -> float | str:
    """Return a metric's value in the JSON of Protocol Buffers, which MLflow's API speaks."""
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError) as error:
        problem = f"the metric '{key}' is no number: {value!r}"
        raise TrackerError(problem, owner=OWNER) from error
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _number(value: float | str) -> float:
    """Return a metric's value; MLflow's databases keep an infinity as the largest number."""
    number = float(value)
    return math.copysign(math.inf, number) if abs(number) == sys.float_info.max else number


@contextmanager
def _file_named(name: str, path: Path) -> Iterator[Path]:
    """Give a file another name for a while: MLflow keeps artifacts under the name of the local file."""
    if path.name == name:
        yield path
        return
    with TemporaryDirectory(prefix="kladml-") as folder:
        named = Path(folder, name)
        try:
            named.symlink_to(path.resolve())
        except (OSError, NotImplementedError):
            # Windows allows links to few users.
            shutil.copyfile(path, named)
        yield named
