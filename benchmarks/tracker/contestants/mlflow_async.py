"""MLflow's client with asynchronous logging, flushed at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contestants import _mlflow

if TYPE_CHECKING:
    from pathlib import Path

LABEL, ORDER = "MLflow 3.17.2, SQLite, asynchronous", 2
ENVIRONMENT = "mlflow"
CALLS = _mlflow.CALLS
count = _mlflow.count


class Tracker(_mlflow.Client):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder, synchronous=False)

    def close(self) -> None:
        # `mlflow.flush_async_logging` flushes the store of the global tracking URI, which may be another object.
        self.client._tracking_client.store.flush_async_logging()  # noqa: SLF001
        super().close()
