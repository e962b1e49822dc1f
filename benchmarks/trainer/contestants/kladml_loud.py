"""KladML in a run: console with a live bar, local tracker, Redis publisher, local storage and catalog.

The Redis server is the benchmark's own and lives as long as its process; so does the run's workspace. The runner's
own work before and after the training is not in the times per step.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import DEVICE

import contestants
from contestants import kladml

if TYPE_CHECKING:
    from jobs import Job

    from kladml.workspace import Workspace

LABEL, ORDER = "KladML in a run (live bar, tracker, Redis)", 9
HIDDEN = True  # its logging is spread over many steps: report.py times it over longer fits
REFERENCE = kladml.REFERENCE

START_SECONDS = 20


class Terminal(io.StringIO):
    """A terminal that nobody looks at."""

    def isatty(self) -> bool:
        return True


def missing() -> str | None:
    if shutil.which("redis-server") is None:
        return "redis-server is not installed"
    packages = ("kladml", "kladml_backends_console", "kladml_backends_local", "kladml_backends_redis")
    return next((lacks for package in packages if (lacks := contestants.is_installed(package))), None)


def train(job: Job) -> None:
    from kladml import BaseModel, ExperimentRunner, MLTask
    from kladml.interfaces import ConfigEntry

    class Model(BaseModel):
        ml_task = MLTask.OTHER

        def train(self, X_train: Any) -> dict[str, float]:
            return self.run.trainer().fit(job.model, X_train, loss=job.loss_fn).metrics

        def predict(self, X: Any) -> Any:
            return job.model(X)

        def evaluate(self, X_test: Any) -> dict[str, float]:
            return {"batches": job.steps}  # a pass over the data would move the clock

        def save(self, path: str) -> None:
            Path(path).touch()

        def load(self, path: str) -> None:
            """Nothing was saved."""

    runner = ExperimentRunner(
        storage="local",
        tracker="local",
        publisher=["console", "redis"],
        catalog="sql",
        workspace=_workspace(),
        overrides=[ConfigEntry("publisher.redis.url", _redis_server(), "benchmark")],
    )
    training = {
        "max_epochs": 1,
        "device": DEVICE,
        "mixed_precision": "bf16" if job.bf16 else "no",
        "gradient_accumulation_steps": job.accum,
        "gradient_clipping": job.clip,
    }
    with contextlib.redirect_stderr(Terminal()):
        result = runner.run(Model, job.loader, experiment_name="bench", training=training)
    assert not result.warnings, result.warnings


@functools.cache
def _workspace() -> Workspace:
    from kladml.workspace import Workspace

    folder = Path(tempfile.mkdtemp(prefix="kladml-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Workspace.create(folder)


@functools.cache
def _redis_server() -> str:
    """Start a private Redis server and return its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(server.wait)
    atexit.register(server.kill)  # called first
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if server.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return f"redis://127.0.0.1:{port}/0"
