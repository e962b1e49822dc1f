"""The values of a metric, as a tracking server has them."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kladml.spool.events import MetricPoint
    from kladml_backends_mlflow.server import TrackingServer

_PAGE = 25_000


def history(server: TrackingServer, remote_id: str, key: str) -> Iterator[MetricPoint]:
    """Yield all values of a metric of a run, from every page, as (key, value, time, step).

    Args:
        server: The server.
        remote_id: Its own identifier of the run.
        key: The metric.

    Raises:
        TrackerError: The server fails.
    """
    asked: dict[str, object] = {"run_id": remote_id, "metric_key": key, "max_results": _PAGE}
    while True:
        answer = server.get("metrics/get-history", None, **asked)
        for entry in answer.get("metrics", ()):
            yield key, as_number(entry["value"]), int(entry["timestamp"]), int(entry["step"])
        if not answer.get("next_page_token"):
            return
        asked["page_token"] = answer["next_page_token"]


def as_number(value: float | str) -> float:
    """Return a metric's value; MLflow's databases keep an infinity as the largest number."""
    number = float(value)
    return math.copysign(math.inf, number) if abs(number) == sys.float_info.max else number
