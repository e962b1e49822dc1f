"""Runs on an MLflow tracking server."""

from __future__ import annotations

import math
import os
import uuid
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from kladml.errors import RefusedRunError, TrackerError
from kladml.interfaces import TrackedRun
from kladml.log import get_logger
from kladml.spool.folder import SpoolFolder
from kladml.spool.limits import check_run
from kladml.spool.recovery import left_behind
from kladml.spool.runs import new_run
from kladml.spool.tracker import SpooledTracker
from kladml_backends_mlflow.server import OWNER, RefusedCallError, TrackingServer, UnreachableServerError
from kladml_backends_mlflow.server_history import as_number, history
from kladml_backends_mlflow.server_runs import create_run, find_run, no_such_run, require_active, run_info
from kladml_backends_mlflow.server_sink import ServerSink
from kladml_backends_mlflow.settings import MLflowSettings

if TYPE_CHECKING:
    from kladml.interfaces import BackendContext
    from kladml.spool.events import MetricPoint, Sink
    from kladml.spool.recording import Recording
    from kladml_backends_mlflow.server_runs import RunInfo

SPOOL_NAME = "mlflow"

_SHORT_TIMEOUT = 5.0
"""Seconds that the preflight and the beginning of a run wait for an answer."""
_READING_WAITS = 30.0

log = get_logger(__name__)


class MLflowTracker(SpooledTracker):
    """Records runs on an MLflow tracking server, as `mlflow` itself would.

    ```python
    tracker = MLflowTracker("http://127.0.0.1:5000")
    run_id = tracker.start_run("digits")
    tracker.log_metric("loss", 0.25, step=10)
    tracker.end_run()
    ```

    What is recorded, files included, is on this machine's disk when a call returns, and on the server within half a
    second. While the server is away nothing waits for it and nothing is lost: it is delivered when the server is back,
    or by `kladml sync` once the run has ended. Nothing of MLflow's global state is used or changed.

    A run that begins while the server answers has the server's identifier. Another one has its own, which the server
    knows as the tag `kladml.spool_run`; both may be used.

    Args:
        tracking_uri: Address of the server; the environment variable `MLFLOW_TRACKING_URI` if None. Credentials
            come from MLflow's own variables.
        timeout: Longest time in seconds to wait for an answer.
        spool: Folder in which runs wait for the server; `.kladml/spool/mlflow` in the workspace of the current
            folder by default, which is made a workspace if it is none.

    Raises:
        TrackerError: There is no address, it is malformed or has a password in it.
    """

    api_version = 1
    settings_class: ClassVar[type[Any]] = MLflowSettings
    capabilities: ClassVar[frozenset[str]] = frozenset({"artifacts", "points", "read", "resume", "sync"})
    owner: ClassVar[str] = OWNER
    patience = 60.0  # for files; a server that fails is not waited for

    def __init__(self, tracking_uri: str | None = None, timeout: float = 10.0, spool: str | Path | None = None) -> None:
        uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            problem = "the tracker mlflow has no server"
            step = "set tracker.mlflow.tracking_uri or the environment variable MLFLOW_TRACKING_URI"
            raise TrackerError(problem, owner=OWNER, next_step=step)
        self._server = TrackingServer(uri, timeout)
        if spool is None:
            from kladml.workspace import Workspace

            spool = Workspace.ensure().state / "spool" / SPOOL_NAME
        super().__init__(Path(spool).expanduser().absolute(), destination=self._server.uri)
        self._is_away = self._was_told = False
        self._infos: dict[str, RunInfo] = {}

    @classmethod
    def from_settings(cls, settings: MLflowSettings, context: BackendContext) -> Self:
        """Build the tracker; a relative folder is relative to the workspace."""
        return cls(settings.tracking_uri, settings.timeout, context.workspace / Path(settings.spool).expanduser())

    def __repr__(self) -> str:
        """Show the server."""
        return f"MLflowTracker({self._server.uri!r})"

    def check(self) -> None:
        """Ask within about five seconds whether an MLflow server answers and accepts the credentials.

        A server that is away is no error, as the run's records wait for it.

        Raises:
            TrackerError: The server denies access, or something else answers.
        """
        try:
            self._server.within(_SHORT_TIMEOUT).get("experiments/search", max_results=1)
        except (UnreachableServerError, RefusedCallError) as error:
            self._is_away = self._was_told = True
            log.warning(f"{error} (runs are kept in {self._spool} until it takes them)")
            return
        self._is_away = self._was_told = False
        if waiting := left_behind(self._spool, self._destination):
            log.info(f"records of {len(waiting)} runs wait in {self._spool}; kladml sync delivers them")

    def start_run(self, experiment_name: str, run_name: str | None = None) -> str:
        """Begin a run in an experiment, which is made if there is none of that name.

        The server is asked for a few seconds, unless it was away a moment ago.

        Returns:
            MLflow's identifier of the run, or one of the tracker's own if the server does not answer.

        Raises:
            RefusedRunError: The experiment's name is malformed, or it was deleted.
            TrackerError: A run is going on.
        """
        self._require_none()
        run = new_run(uuid.uuid4().hex, experiment_name, run_name, self._destination)
        check_run(run, OWNER)
        if not self._is_away:
            try:
                info = create_run(self._server.within(_SHORT_TIMEOUT), run)
            except RefusedRunError:
                raise
            except TrackerError as error:
                self._note_away(error)
            else:
                run_id = str(info["run_id"])
                self._infos[run_id] = info
                run = replace(run, run_id=run_id, remote_id=run_id)
        return self._begin(run)

    def resume_run(self, run_id: str) -> None:
        """Go on with a run, which the server shows as running again as soon as it knows.

        Raises:
            RefusedRunError: There is no such run, or it was deleted.
            TrackerError: A run is going on, or another process records this one.
        """
        self._require_none()
        run = new_run(run_id, "", "", self._destination, goes_on=True)
        check_run(run, OWNER)
        params: dict[str, str] = {}
        if not self._is_away and self._spooled(run_id) is None:
            self._infos.pop(run_id, None)  # it may have been deleted since
            try:
                remote_id = str(require_active(self._server, self._find(run_id, _SHORT_TIMEOUT))["run_id"])
                known = self._read(run_id, _SHORT_TIMEOUT)
            except RefusedRunError:
                raise
            except TrackerError as error:
                self._note_away(error)
            else:
                run = replace(run, remote_id=remote_id, experiment_name=known.experiment_name)
                params = known.params
        self._begin(run)
        self._params = params

    def end_run(self, status: str = "FINISHED") -> None:
        """End the run with one of `RUN_STATUSES`, and wait for a while until the server has it.

        Raises:
            TrackerError: No run is going on, or there is no such status.
        """
        recording = self._current()
        super().end_run(status)
        self._is_away = recording.failure is not None
        self._was_told &= self._is_away

    def how_to_view(self, run_id: str) -> str | None:
        """Return the address of the run in the server's web interface.

        Returns:
            The server's own address if the server cannot tell the run's now; None for a run that is not there.
        """
        if self._is_away and run_id not in self._infos:
            return self._server.uri
        try:
            info = self._find(run_id, _SHORT_TIMEOUT)
        except RefusedRunError:
            return None
        except TrackerError:
            return self._server.uri
        return f"{self._server.uri}/#/experiments/{info['experiment_id']}/runs/{info['run_id']}"

    def get_run(self, run_id: str) -> TrackedRun:
        """Read a run back, with what this object recorded; `metrics` has the value of the last step.

        Raises:
            RefusedRunError: There is no such run.
            TrackerError: The server fails.
        """
        self._deliver(run_id)
        return self._read(run_id)

    def metric_history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """Read all values of a metric back, from every page, as (step, value) in the order of recording.

        Raises:
            RefusedRunError: There is no such run.
            TrackerError: The server fails.
        """
        self._deliver(run_id)
        return [(step, value) for _, value, _, step in history(self._server, self._remote_id(run_id), key)]

    def metric_points(self, run_id: str) -> list[MetricPoint]:
        """Read all values of all metrics back as (key, value, time, step), the oldest first; none of a run not there.

        Each metric is asked for by itself, as the server has no other way to all values.

        Raises:
            TrackerError: The server fails.
        """
        self._deliver(run_id)
        try:
            remote_id = self._remote_id(run_id)
        except RefusedRunError:
            return []
        data = self._server.get("runs/get", "run", run_id=remote_id)["run"].get("data", {})
        keys = [entry["key"] for entry in data.get("metrics", ())]
        return sorted((point for key in keys for point in history(self._server, remote_id, key)), key=itemgetter(2))

    def _make_sink(self) -> Sink:
        return ServerSink(self._server)

    def _prepare(self, recording: Recording) -> None:
        recording.was_told = self._was_told

    def _deliver(self, run_id: str) -> None:
        """See to it that what is read next of a run has what this object recorded, as far as the server takes it."""
        if self._recording is not None and self._recording.run_id == run_id:
            self._settle(_READING_WAITS)

    def _read(self, run_id: str, timeout: float = math.inf) -> TrackedRun:
        server, info = self._server.within(timeout), self._find(run_id, timeout)
        run = server.get("runs/get", "run", run_id=info["run_id"])["run"]
        experiment = server.get("experiments/get", "experiment", experiment_id=info["experiment_id"])["experiment"]
        data = run.get("data", {})
        return TrackedRun(
            run_id=run_id,
            experiment_name=experiment["name"],
            status=run["info"]["status"],
            params={entry["key"]: entry.get("value", "") for entry in data.get("params", ())},
            metrics={entry["key"]: as_number(entry["value"]) for entry in data.get("metrics", ())},
            tags={entry["key"]: entry.get("value", "") for entry in data.get("tags", ())},
            is_deleted=run["info"]["lifecycle_stage"] != "active",
        )

    def _remote_id(self, run_id: str) -> str:
        return str(self._find(run_id)["run_id"])

    def _find(self, run_id: str, timeout: float = math.inf) -> RunInfo:
        """Return what the server said of a run, by its own identifier or the tracker's.

        Raises:
            RefusedRunError: There is no such run.
            TrackerError: The server fails.
        """
        if run_id not in self._infos:
            server, remote_id = self._server.within(timeout), self._spooled(run_id)
            info = run_info(server, remote_id) if remote_id else find_run(server, run_id)
            if info is None:
                raise no_such_run(server, run_id)
            self._infos[run_id] = info
        return self._infos[run_id]

    def _spooled(self, run_id: str) -> str | None:
        """Return what the server calls a run of which something waits here; empty if the server does not know it."""
        run = SpoolFolder(self._spool / run_id).read_run()
        return None if run is None else run.remote_id or ""

    def _note_away(self, error: TrackerError) -> None:
        """Remember that the server does not answer; the run's thread is the one to tell people."""
        log.debug(str(error))
        self._is_away = True
