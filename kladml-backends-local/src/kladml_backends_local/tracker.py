"""Runs in an MLflow database on this machine, which `mlflow ui` opens."""

from __future__ import annotations

import shlex
import uuid
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from kladml.errors import TrackerError
from kladml.log import get_logger
from kladml.spool.recovery import deliver, left_behind
from kladml.spool.runs import new_run
from kladml.spool.tracker import SpooledTracker
from kladml_backends_local.atomic import copy_into_place
from kladml_backends_local.confinement import EscapeError, confined_path
from kladml_backends_local.direct_sink import DirectSink
from kladml_backends_local.mlflow_database import check_database, database_uri, ensure_database
from kladml_backends_local.run_reader import RunReader
from kladml_backends_local.settings import OWNER, LocalTrackerSettings

if TYPE_CHECKING:
    from collections.abc import Collection

    from kladml.interfaces import BackendContext, TrackedRun
    from kladml.spool.events import Sink
    from kladml.spool.recording import Recording

DATABASE_NAME = "mlflow.db"
ARTIFACTS_NAME = "artifacts"

_READING_WAITS = 30.0

log = get_logger(__name__)


class LocalTracker(SpooledTracker):
    """Records runs in an SQLite database that MLflow makes and MLflow reads.

    Metrics, parameters and tags are appended to a spool beside the database and reach it within half a second, when
    something is read, or when the run ends. A process that is killed loses none of them: the next tracker on the same
    database delivers them, and marks the run as killed. Nothing is sent over a network, telemetry included.

    Args:
        database: The database, made at the first use; `.kladml/mlflow.db` in the workspace of the current
            folder by default, which is made a workspace if it is none.
        artifacts: Folder in which the runs of new experiments keep their files; `artifacts` beside the
            database by default.
    """

    settings_class: ClassVar[type[LocalTrackerSettings]] = LocalTrackerSettings
    capabilities: ClassVar[frozenset[str]] = frozenset({"artifacts", "points", "read", "resume", "search", "sync"})
    owner: ClassVar[str] = OWNER
    patience = 30.0
    backpressure = True

    def __init__(self, database: str | Path | None = None, artifacts: str | Path | None = None) -> None:
        if database is None:
            from kladml.workspace import Workspace

            database = Workspace.ensure().state / DATABASE_NAME
        self.database = Path(database).expanduser().absolute()
        folder = self.database.parent / ARTIFACTS_NAME if artifacts is None else Path(artifacts).expanduser()
        self._artifacts = folder.absolute()
        self._uri = database_uri(self.database)
        self._reader = RunReader(self.database)
        super().__init__(self.database.parent / "spool" / "local", destination=self.database.name)

    @classmethod
    def from_settings(cls, settings: LocalTrackerSettings, context: BackendContext) -> Self:
        """Build the tracker; relative paths are relative to the workspace."""
        paths = (settings.database, settings.artifacts)
        return cls(*(context.workspace / Path(path).expanduser() for path in paths))

    def __repr__(self) -> str:
        """Show the database."""
        return f"LocalTracker({str(self.database)!r})"

    def check(self) -> None:
        """Make the database if it is absent, prove that it can be written to, and deliver what dead runs left.

        Raises:
            TrackerError: It cannot be made or written.
        """
        ensure_database(self.database, self._artifacts)
        check_database(self.database, write=True)
        self._recover()

    def start_run(self, experiment_name: str, run_name: str | None = None) -> str:
        """Begin a run in the experiment with this name, which is made if there is none.

        Raises:
            TrackerError: A run is going on, or the experiment was deleted in MLflow.
        """
        self._require_none()
        self._recover()
        return self._begin(new_run(uuid.uuid4().hex, experiment_name, run_name, self._destination))

    def resume_run(self, run_id: str) -> None:
        """Go on with a run; MLflow shows it as running again.

        Raises:
            TrackerError: A run is going on, there is no such run, another process records it, or it was deleted in
                MLflow.
        """
        self._require_none()
        known = self.get_run(run_id)
        self._begin(new_run(run_id, known.experiment_name, None, self._destination, goes_on=True))
        self._params = known.params

    def log_artifact(self, local_path: str | Path, name: str) -> None:
        """Keep a copy of a file with the run, where `mlflow ui` shows it.

        Raises:
            TrackerError: The file cannot be read or written, or the name leaves the run's folder.
        """
        run_id, source = self._current().run_id, Path(local_path)
        try:
            target = confined_path(self._reader.artifact_folder(run_id), name)
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_into_place(source, target)
        except EscapeError as error:
            problem = f"the artifact name {name!r} {error}"
            raise TrackerError(problem, owner=OWNER, next_step="use a relative name such as plots/loss.png") from error
        except OSError as error:
            problem = f"{source} cannot be kept as '{name}' of run '{run_id}': {error}"
            raise TrackerError(problem, owner=OWNER, next_step="check the path and the space on the disk") from error

    def get_run(self, run_id: str) -> TrackedRun:
        """Read a run back, with everything that was recorded of it before.

        Raises:
            TrackerError: There is no such run.
        """
        self._deliver_all()
        return self._reader.get_run(run_id)

    def metric_history(self, run_id: str, key: str) -> list[tuple[int, float]]:
        """Read all values of a metric back as (step, value), in the order of recording."""
        self._deliver_all()
        return self._reader.history(run_id, key)

    def metric_points(self, run_id: str) -> list[tuple[str, float, int, int]]:
        """Read all values of all metrics back as (key, value, time in milliseconds, step), in the order of recording."""
        self._deliver_all()
        return self._reader.points(run_id)

    def param_values(self, names: Collection[str]) -> dict[str, dict[str, str]]:
        """Read parameters of all runs at once, by the identifiers of the runs."""
        self._deliver_all()
        return self._reader.texts("params", names, also_ends=True)

    def tag_values(self, names: Collection[str]) -> dict[str, dict[str, str]]:
        """Read tags of all runs at once, by the identifiers of the runs."""
        self._deliver_all()
        return self._reader.texts("tags", names)

    def search_runs(
        self,
        experiment_name: str | None = None,
        *,
        where: str | None = None,
        order_by: str | None = None,
        descending: bool = True,
        limit: int | None = None,
    ) -> list[TrackedRun]:
        """Return runs, by default the newest first; arguments and errors are those of `RunReader.search_runs`."""
        self._deliver_all()
        return self._reader.search_runs(
            experiment_name, where=where, order_by=order_by, descending=descending, limit=limit
        )

    def how_to_view(self, run_id: str) -> str:
        """Return the command that shows the database in a browser; mlflow-skinny does not bring the server it needs."""
        uri = self._uri
        if self.database.is_relative_to(Path.cwd()):
            uri = f"sqlite:///{self.database.relative_to(Path.cwd()).as_posix()}"
        command = f"mlflow ui --backend-store-uri {shlex.quote(uri)}"
        return command if find_spec("flask") else f"pip install mlflow\n{command}"

    def _make_sink(self) -> Sink:
        return DirectSink(self.database, self._artifacts)

    def _prepare(self, recording: Recording) -> None:
        recording.deliver_first()

    def _deliver_all(self) -> None:
        """See to it that what is read next has everything that was recorded."""
        self._recover()
        self._settle(_READING_WAITS)

    def _recover(self) -> None:
        """Deliver what processes left that are no more."""
        for folder in left_behind(self._spool, self._destination):
            try:
                count = deliver(folder, self._make_sink())
            except (TrackerError, OSError) as error:
                log.warning(f"what run '{folder.path.name}' left in {folder.path} cannot be delivered now: {error}")
            else:
                if count is not None:
                    log.info(
                        f"run '{folder.path.name}', whose process is no more, is in {self.database} as it was left"
                    )
