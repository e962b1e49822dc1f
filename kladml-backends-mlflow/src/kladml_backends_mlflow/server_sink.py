"""A spool's way to an MLflow tracking server."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kladml.spool.events import Artifact, Batch, DatasetInput, ExperimentTags, Params, Status, Tags
from kladml.spool.limits import acceptable, changed_param
from kladml_backends_mlflow.artifact_upload import upload_artifact
from kladml_backends_mlflow.server import RefusedCallError
from kladml_backends_mlflow.server_runs import (
    as_text,
    begin_run,
    delete_doubles,
    no_such_run,
    require_active,
    run_info,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kladml.spool.events import Event, MetricPoint, SpooledRun
    from kladml_backends_mlflow.server import TrackingServer
    from kladml_backends_mlflow.server_runs import RunInfo

# MLflow's limits: https://mlflow.org/docs/latest/api_reference/rest-api.html#request-limits
_METRICS_PER_CALL = 1000
_TEXTS_PER_CALL = 100
_LONGEST_RUN_NAME = 250
_RUN_NAME_TAG = "mlflow.runName"
_CONTEXT_TAG = "mlflow.data.context"

_Call = tuple[str, dict[str, object]]
"""A path of the API, and what is sent to it."""


class ServerSink:
    """Writes batches to an MLflow tracking server; a `kladml.spool.events.Sink`.

    Each call of the server is tried once: to come again later is the caller's business.

    Args:
        server: The server.
    """

    batch_size = _METRICS_PER_CALL

    def __init__(self, server: TrackingServer) -> None:
        self._server = server
        self._infos: dict[str, RunInfo] = {}

    def begin(self, run: SpooledRun) -> SpooledRun:
        """Make the run and its experiment known unless they are; the run returned has the server's identifier.

        Raises:
            RefusedRunError: One of them was deleted, or a run that goes on is not there.
            TrackerError: One of them is malformed, or the server fails.
        """
        if run.remote_id is not None:
            return run
        info = begin_run(self._server, run)
        return replace(run, remote_id=str(info["run_id"]))

    def write(self, run: SpooledRun, batch: Batch) -> list[str]:
        """Keep a batch.

        Raises:
            TrackerError: There is no such run, it was deleted, or the server fails.
        """
        batch, refused = acceptable(run, batch)
        refused += self._write_points(run, batch.points)
        for event in _merged(batch.events):
            refused += self._write_event(run, event)
        return refused

    def close(self) -> None:
        """Forget what the server told; connections are MLflow's, which keeps them for the process."""
        self._infos.clear()

    def _write_points(self, run: SpooledRun, points: Sequence[MetricPoint]) -> list[str]:
        def call(points: Sequence[MetricPoint]) -> _Call:
            metrics = [
                {"key": key, "value": _json_number(value), "timestamp": time_ms, "step": step}
                for key, value, time_ms, step in points
            ]
            return "runs/log-batch", {"run_id": run.remote_id, "metrics": metrics}

        return self._keep(run, "metric", points, call, _METRICS_PER_CALL)

    def _write_event(self, run: SpooledRun, event: Event) -> list[str]:
        if isinstance(event, Params):
            return self._write_params(run, event.values)
        if isinstance(event, Tags):
            return self._write_texts(run, "tag", "tags", event.values)
        if isinstance(event, ExperimentTags):
            return self._write_experiment_tags(run, event.values)
        if isinstance(event, DatasetInput):
            return self._keep(run, "data set", [(event.name, event)], lambda some: _log_inputs(run, some[0][1]))
        if isinstance(event, Artifact):
            return self._write_artifact(run, event)
        return self._write_status(run, event)

    def _write_params(self, run: SpooledRun, values: dict[str, str]) -> list[str]:
        if not values:
            return []
        data = self._server.get("runs/get", "run", run_id=run.remote_id)["run"].get("data", {})
        kept = {param["key"]: param.get("value", "") for param in data.get("params", ())}
        texts = {key: as_text(value) for key, value in values.items()}
        changed = {key: text for key, text in texts.items() if kept.get(key, text) != text}
        new = {key: text for key, text in texts.items() if key not in kept}
        refused = [changed_param(run, key, kept[key], text) for key, text in changed.items()]
        return refused + self._write_texts(run, "parameter", "params", new)

    def _write_texts(self, run: SpooledRun, kind: str, field: str, values: dict[str, str]) -> list[str]:
        def call(texts: Sequence[tuple[str, str]]) -> _Call:
            entries = [{"key": key, "value": value} for key, value in texts]
            return "runs/log-batch", {"run_id": run.remote_id, field: entries}

        texts = [(key, _tag_text(key, value)) for key, value in values.items()]
        return self._keep(run, kind, texts, call, _TEXTS_PER_CALL)

    def _write_experiment_tags(self, run: SpooledRun, values: dict[str, str]) -> list[str]:
        experiment_id = self._info(run)["experiment_id"]

        def call(texts: Sequence[tuple[str, str]]) -> _Call:
            key, value = texts[0]
            body: dict[str, object] = {"experiment_id": experiment_id, "key": key, "value": as_text(value)}
            return "experiments/set-experiment-tag", body

        return self._keep(run, "experiment's tag", list(values.items()), call, 1)

    def _write_artifact(self, run: SpooledRun, event: Artifact) -> list[str]:
        what = f"the artifact '{event.name}' of run '{run.run_id}' is not kept"
        if any(part in ("", ".", "..") for part in event.name.split("/")):
            return [f"{what}: the name is no relative path"]
        file = Path(event.file)
        if not file.is_file():
            return [f"{what}: the spool's file {file} is not there"]
        info = self._info(run)
        try:
            upload_artifact(self._server, str(info["run_id"]), str(info["artifact_uri"]), file, event.name)
        except RefusedCallError as error:
            if not error.is_for_good:
                raise
            self._active(run)
            return [f"{what}: {error.reason}"]
        return []

    def _write_status(self, run: SpooledRun, event: Status) -> list[str]:
        body: dict[str, object] = {"run_id": run.remote_id, "status": event.status}
        if event.status != "RUNNING":
            body["end_time"] = event.time_ms
            if run.remote_id != run.run_id:
                delete_doubles(self._server, run, str(self._info(run)["experiment_id"]))
        return self._keep(run, "status", [(event.status, event)], lambda _: ("runs/update", body))

    def _keep(
        self,
        run: SpooledRun,
        kind: str,
        records: Sequence[Any],
        call: Callable[[Sequence[Any]], _Call],
        per_call: int = 1,
    ) -> list[str]:
        """Send records; return a sentence for each name under which the server refuses one for good.

        Args:
            run: The run.
            kind: What a record is.
            records: Tuples, the first item of each being a name.
            call: Returns the call for some of the records.
            per_call: How many of them one call takes.

        Raises:
            TrackerError: The run was deleted, or the server fails.
        """
        reasons = self._send(run, records, call, per_call)
        return [f"the {kind} {name!r} of run '{run.run_id}' is not kept: {why}" for name, why in reasons.items()]

    def _send(
        self, run: SpooledRun, records: Sequence[Any], call: Callable[[Sequence[Any]], _Call], per_call: int
    ) -> dict[str, str]:
        """Send records; return the names of those that the server refuses for good, with its reasons."""
        reasons: dict[str, str] = {}
        for start in range(0, len(records), per_call):
            some = records[start : start + per_call]
            try:
                self._server.post(*call(some))
            except RefusedCallError as error:
                if not error.is_for_good:
                    raise
                self._active(run)  # a run that was deleted takes nothing, and may be restored
                if len(some) == 1:
                    reasons.setdefault(some[0][0], error.reason)
                else:
                    reasons = self._send(run, some, call, (len(some) + 1) // 2) | reasons
        return reasons

    def _info(self, run: SpooledRun) -> RunInfo:
        """Return what the server told about the run, which it is asked once."""
        key = str(run.remote_id)
        if key not in self._infos:
            self._infos[key] = self._active(run)
        return self._infos[key]

    def _active(self, run: SpooledRun) -> RunInfo:
        """Ask the server about the run.

        Raises:
            RefusedRunError: It is not there or was deleted.
        """
        run_id = str(run.remote_id)
        info = run_info(self._server, run_id)
        if info is None:
            raise no_such_run(self._server, run_id)
        return require_active(self._server, info)


def _merged(events: Iterable[Event]) -> list[Event]:
    """Make one event of consecutive labels, of which the later ones count."""
    merged: list[Event] = []
    for kind, group in groupby(events, type):
        if kind is Tags:
            values: dict[str, str] = {}
            for event in group:
                values.update(event.values if isinstance(event, Tags) else {})
            merged.append(Tags(values))
        else:
            merged.extend(group)
    return merged


def _log_inputs(run: SpooledRun, data: DatasetInput) -> _Call:
    names = ("name", "digest", "source_type", "source", "schema", "profile")
    texts = {name: getattr(data, name) for name in names}
    dataset = {name: as_text(text) for name, text in texts.items() if text is not None}
    tags = [] if data.context is None else [{"key": _CONTEXT_TAG, "value": as_text(data.context)}]
    return "runs/log-inputs", {"run_id": run.remote_id, "datasets": [{"tags": tags, "dataset": dataset}]}


def _tag_text(key: str, value: str) -> str:
    """Return a text as the server takes it; the name of a run has less room than a tag."""
    return as_text(value, _LONGEST_RUN_NAME if key == _RUN_NAME_TAG else None)


def _json_number(value: float) -> float | str:
    """Return a metric's value in the JSON of Protocol Buffers, which MLflow's API speaks."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
