"""The settings of the MLflow tracker."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class MLflowSettings:
    """Settings of the tracker `mlflow`.

    Credentials are no settings: they come from MLflow's own variables, `MLFLOW_TRACKING_USERNAME` and
    `MLFLOW_TRACKING_PASSWORD`, or `MLFLOW_TRACKING_TOKEN`.
    """

    tracking_uri: str | None = field(
        default=None,
        metadata={"doc": "Address of the tracking server, http:// or https://; MLFLOW_TRACKING_URI if not given."},
    )
    timeout: float = field(default=10.0, metadata={"doc": "Longest time in seconds to wait for an answer."})
    spool: str = field(
        default=".kladml/spool/mlflow",
        metadata={"doc": "Folder in which runs wait for the server; a relative path is relative to the workspace."},
    )
