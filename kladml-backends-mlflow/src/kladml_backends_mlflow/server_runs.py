"""Runs and experiments of a tracking server: found again, or made once whatever happens to an answer.

MLflow chooses the identifier of a run. A run that a spool began has the spool's own as a tag, by which it is found
when the answer that told MLflow's was lost, and by people who know only that one.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kladml.errors import RefusedRunError
from kladml.spool.limits import check_run, storable
from kladml_backends_mlflow.server import OWNER, RefusedCallError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kladml.spool.events import SpooledRun
    from kladml_backends_mlflow.server import TrackingServer

SPOOL_RUN_TAG = "kladml.spool_run"

_LONGEST_NAME = 250
"""Characters of a run's name and its user that every database of MLflow takes."""
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_PAGE = 1000
_ABSENT = "RESOURCE_DOES_NOT_EXIST"

RunInfo = dict[str, Any]
"""What a server says about a run: `run_id`, `experiment_id`, `lifecycle_stage`, `artifact_uri`, and more."""


def as_text(text: str, longest: int | None = None) -> str:
    """Return a text that every database of MLflow takes; PostgreSQL has no place for a NUL."""
    return storable(text[:longest]).replace("\0", "\N{REPLACEMENT CHARACTER}")


def run_info(server: TrackingServer, run_id: str) -> RunInfo | None:
    """Return what the server says about a run of this identifier, its own; None if there is none."""
    try:
        info: RunInfo = server.get("runs/get", "run", run_id=run_id)["run"]["info"]
    except RefusedCallError as error:
        if error.code == _ABSENT or (error.is_for_good and not _RUN_ID.fullmatch(run_id)):
            return None
        raise
    return info


def find_run(server: TrackingServer, run_id: str) -> RunInfo | None:
    """Return what the server says about a run, by its own identifier or the spool's; None if there is none."""
    info = run_info(server, run_id)
    if info is not None or not _RUN_ID.fullmatch(run_id):
        return info
    for experiment_ids in _experiment_pages(server):
        found = _tagged(server, run_id, experiment_ids)
        if found:
            return found[0]
    return None


def require_active(server: TrackingServer, info: RunInfo) -> RunInfo:
    """Return what is known of a run, unless it was deleted.

    Raises:
        RefusedRunError: It was.
    """
    if info["lifecycle_stage"] == "active":
        return info
    run_id = info["run_id"]
    problem = f"the run '{run_id}' was deleted on the MLflow server at {server.uri}"
    restore = f"MLFLOW_TRACKING_URI={server.uri} mlflow runs restore --run-id {run_id}"
    raise RefusedRunError(problem, owner=OWNER, next_step=f"restore it with {restore}")


def no_such_run(server: TrackingServer, run_id: str) -> RefusedRunError:
    """Return the error for a run that is not there."""
    problem = f"there is no run '{run_id}' on the MLflow server at {server.uri}"
    return RefusedRunError(problem, owner=OWNER, next_step="check the identifier and tracker.mlflow.tracking_uri")


def begin_run(server: TrackingServer, run: SpooledRun) -> RunInfo:
    """Return the server's run for a spool's, which is made at the first time.

    Raises:
        RefusedRunError: The run or its experiment was deleted, a run that goes on is not there, or the server refuses
            to make it.
        TrackerError: The run is malformed, or the server fails.
    """
    if run.goes_on:
        info = find_run(server, run.run_id)
        if info is None:
            raise no_such_run(server, run.run_id)
        return require_active(server, info)
    check_run(run, OWNER)
    info = run_info(server, run.run_id)
    if info is None:
        with _refusing():
            experiment_id = _ensure_experiment(server, as_text(run.experiment_name))
            found = _tagged(server, run.run_id, [experiment_id])
            info = found[0] if found else _create(server, run, experiment_id)
    return require_active(server, info)


def create_run(server: TrackingServer, run: SpooledRun) -> RunInfo:
    """Make a run that the server was not asked for before.

    Raises:
        RefusedRunError: The experiment was deleted, or the server refuses to make the run.
        TrackerError: The server fails; it may have made the run, which `begin_run` finds.
    """
    with _refusing():
        return _create(server, run, _ensure_experiment(server, as_text(run.experiment_name)))


@contextmanager
def _refusing() -> Iterator[None]:
    """Tell apart what the server will never take."""
    try:
        yield
    except RefusedCallError as error:
        if error.is_for_good:
            raise RefusedRunError(error.problem, owner=OWNER) from error
        raise


def delete_doubles(server: TrackingServer, run: SpooledRun, experiment_id: str) -> None:
    """Delete runs that the server made for a spool's run besides the one that it uses.

    An attempt to make the run may have been given up while it waited in the server, which made the run after the
    next attempt had looked for it.
    """
    for info in _tagged(server, run.run_id, [experiment_id]):
        if info["run_id"] != run.remote_id and info["lifecycle_stage"] == "active":
            server.post("runs/delete", {"run_id": info["run_id"]})


def _create(server: TrackingServer, run: SpooledRun, experiment_id: str) -> RunInfo:
    tags = {
        "mlflow.user": run.user,
        "mlflow.source.name": run.source,
        "mlflow.source.type": "LOCAL",
        SPOOL_RUN_TAG: run.run_id,
    }
    body = {
        "experiment_id": experiment_id,
        "user_id": as_text(run.user, _LONGEST_NAME),
        "run_name": as_text(run.run_name, _LONGEST_NAME),
        "start_time": run.started_ms,
        "tags": [{"key": key, "value": as_text(value)} for key, value in tags.items()],
    }
    info: RunInfo = server.post("runs/create", body, "run", repeatable=False)["run"]["info"]
    return info


def _tagged(server: TrackingServer, run_id: str, experiment_ids: Sequence[str]) -> list[RunInfo]:
    """Return the runs that were made for a spool's run, deleted ones last."""
    body = {
        "experiment_ids": experiment_ids,
        "filter": f"tags.`{SPOOL_RUN_TAG}` = '{run_id}'",
        "run_view_type": "ALL",
        "max_results": _PAGE,
    }
    infos = [found["info"] for found in server.post("runs/search", body).get("runs", ())]
    return sorted(infos, key=lambda info: (info["lifecycle_stage"] != "active", info["run_id"]))


def _experiment_pages(server: TrackingServer) -> Iterator[list[str]]:
    body: dict[str, object] = {"max_results": _PAGE, "view_type": "ALL"}
    while True:
        answer = server.post("experiments/search", body)
        if answer.get("experiments"):
            yield [experiment["experiment_id"] for experiment in answer["experiments"]]
        if not answer.get("next_page_token"):
            return
        body["page_token"] = answer["next_page_token"]


def _ensure_experiment(server: TrackingServer, name: str) -> str:
    """Return the identifier of the experiment of a name, new or old."""
    experiment = _find_experiment(server, name)
    if experiment is None:
        try:
            return str(server.post("experiments/create", {"name": name}, "experiment_id")["experiment_id"])
        except RefusedCallError as error:
            experiment = _find_experiment(server, name)  # another run may have been quicker
            if experiment is None or error.code != "RESOURCE_ALREADY_EXISTS":
                raise
    experiment_id = str(experiment["experiment_id"])
    if experiment["lifecycle_stage"] != "active":
        problem = f"the experiment '{name}' was deleted on the MLflow server at {server.uri}"
        restore = f"MLFLOW_TRACKING_URI={server.uri} mlflow experiments restore -x {experiment_id}"
        raise RefusedRunError(problem, owner=OWNER, next_step=f"restore it with {restore}, or choose another name")
    return experiment_id


def _find_experiment(server: TrackingServer, name: str) -> dict[str, Any] | None:
    try:
        answer = server.get("experiments/get-by-name", "experiment", experiment_name=name)
    except RefusedCallError as error:
        if error.code == _ABSENT:
            return None
        raise
    experiment: dict[str, Any] = answer["experiment"]
    return experiment
