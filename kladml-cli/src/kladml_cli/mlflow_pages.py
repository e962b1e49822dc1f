"""MLflow's own pages in a browser, on the runs of the workspace."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from kladml.errors import PluginError, TrackerError, WorkspaceError

if TYPE_CHECKING:
    from pathlib import Path

    from kladml_backends_local import LocalTracker
    from kladml_cli.run_place import RunPlace


def serve(place: RunPlace, host: str, port: int) -> None:
    """Run MLflow's server on the database of the local tracker until Ctrl-C.

    Args:
        place: Where the runs are.
        host: Where it listens.
        port: On which port.

    Raises:
        PluginError: MLflow's server is not installed.
        TrackerError: The tracker keeps its runs elsewhere, or the server ends by itself.
        WorkspaceError: There is no workspace, or it cannot be written to.
    """
    from kladml.workspace import Workspace
    from kladml_cli.configuration import Configuration

    workspace = Workspace.find(place.workspace)
    loaded = Configuration(
        workspace, source=place.config_source, profile=place.profile, overrides=list(place.overrides)
    )
    names = loaded.resolved.selected("tracker")
    name = "local" if names is None else next(iter(names), "")
    if name != "local":
        problem = f"the runs are recorded by {f'the tracker {name!r}' if name else 'no tracker'}, not in the workspace"
        raise TrackerError(problem, next_step="open the pages of its server, or say --set tracker.use=local")
    if find_spec("mlflow") is None or find_spec("flask") is None:
        problem = "kladml ui --web needs MLflow's server, which is not installed"
        raise PluginError(problem, owner="kladml-cli", next_step="pip install mlflow")
    tracker: LocalTracker = loaded.select("tracker", name)
    with tracker:
        tracker.check()  # makes the database where there is none yet, and delivers what killed runs left
        command = server_command(tracker, host, port)
    click.echo(f"MLflow's pages: http://{host}:{port} in a few seconds (Ctrl-C ends them)", err=True)
    _run(command, workspace.state / "mlflow-server.log")


def server_command(tracker: LocalTracker, host: str, port: int) -> list[str]:
    """Return the command that starts the server on the database of a local tracker."""
    uri = f"sqlite:///{tracker.database.as_posix()}"
    where = ["--backend-store-uri", uri, "--host", host, "--port", str(port), "--workers", "1"]
    return [sys.executable, "-m", "mlflow", "server", *where]


def server_environment() -> dict[str, str]:
    """Return this process's variables; unless they say otherwise, what pages of runs need not is off.

    Telemetry writes to the home folder, and the jobs are eight processes more.
    """
    return {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **os.environ}


def _run(command: list[str], log: Path) -> None:
    """Run the server until Ctrl-C.

    Raises:
        TrackerError: It ends by itself; says what it said last.
        WorkspaceError: Its log cannot be written.
    """
    from kladml_cli.server_process import run_server

    try:
        status = run_server(command, log, server_environment())
    except OSError as error:
        problem = f"{error.filename or command[0]} cannot be opened: {error.strerror or error}"
        raise WorkspaceError(problem, next_step="see that you may write to the workspace") from error
    if status:
        said = log.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((f": {line.strip()}" for line in reversed(said) if line.strip()), "")
        problem = f"MLflow's server ended with the status {status}{last}"
        raise TrackerError(problem, next_step=f"see {log}; another --port may be free")
