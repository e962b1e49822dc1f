"""A file's way into the store of a run's artifacts, which is the server or whatever its experiments name."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE

from kladml.errors import TrackerError
from kladml_backends_mlflow.server import OWNER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kladml_backends_mlflow.server import TrackingServer

_SERVER_ITSELF = "mlflow-artifacts:/"


def upload_artifact(server: TrackingServer, run_id: str, artifact_uri: str, file: Path, name: str) -> None:
    """Keep a file with a run; doing so again changes nothing.

    MLflow itself uploads to stores other than the server, and large files, which it cuts into parts; how often it
    tries is set by its variables `MLFLOW_HTTP_REQUEST_*`.

    Args:
        server: The server that has the run.
        run_id: The run, as the server calls it.
        artifact_uri: Where the run's artifacts are, as the server tells.
        file: The file.
        name: Its relative name in the run, with `/`.

    Raises:
        RefusedCallError: The server refuses it.
        TrackerError: It cannot be kept now.
    """
    try:
        # With two slashes it is the address of another server.
        by_server = artifact_uri.startswith(_SERVER_ITSELF) and not artifact_uri.startswith(f"{_SERVER_ITSELF}/")
        if by_server and file.stat().st_size < MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE.get():
            folder = artifact_uri.removeprefix(_SERVER_ITSELF).rstrip("/")
            server.upload(f"{folder}/{name}", file)
            return
        above, _, file_name = name.rpartition("/")
        with _file_named(file_name, file) as path:
            MlflowClient(server.uri).log_artifact(run_id, str(path), above or None)
    except TrackerError:
        raise
    except Exception as error:  # each artifact store raises errors of its own
        problem = f"cannot keep '{name}' with run {run_id}: {' '.join(str(error).split())}"
        raise TrackerError(problem, owner=OWNER) from error


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
