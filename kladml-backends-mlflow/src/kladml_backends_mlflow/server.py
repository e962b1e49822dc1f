"""Calls of a tracking server's REST API, none of which takes long.

`MlflowClient` repeats a failed call for minutes, and only the process's environment can tell it otherwise; it
also prints to the standard output when a run ends. So the calls of a run are made here, with limits of their
own, through the function that `MlflowClient` itself uses: authentication, certificates and proxies are MLflow's.

The API: https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from kladml.errors import TrackerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.utils.rest_utils import MlflowHostCreds
    from requests import Response

OWNER = "kladml-backends-mlflow"

_DENIED = (401, 403)
_BUSY = (429, 502, 503, 504)
_FIRST_PAUSE = 0.25
"""Seconds before the second attempt; each further pause is twice as long."""


class RefusedCallError(TrackerError):
    """The server understood the call and refuses it.

    Attributes:
        code: MLflow's error code, such as `RESOURCE_DOES_NOT_EXIST`.
    """

    code = ""


class TrackingServer:
    """A tracking server and how long to wait for it.

    Args:
        uri: Its address, `http://` or `https://`, without user and password.
        timeout: Longest time in seconds for a call, repeated attempts included.
        retry_after: Seconds after a failed call in which `record` does not try.

    Raises:
        TrackerError: The address is no such address, or the timeout is not positive.
    """

    def __init__(self, uri: str, timeout: float, retry_after: float) -> None:
        self.uri = _checked(uri)
        if not timeout > 0:
            problem = f"tracker.mlflow.timeout is {timeout} s"
            raise TrackerError(problem, owner=OWNER, next_step="choose more than 0")
        self._timeout = timeout
        self._retry_after = retry_after
        self._failure: str | None = None
        self._silent_until = 0.0

    def get(self, path: str, **parameters: object) -> dict[str, Any]:
        """Ask for something, more than once if the server is not there or busy.

        Args:
            path: The call, such as `runs/get`.
            parameters: Its arguments.

        Returns:
            The answer.

        Raises:
            RefusedCallError: The server refuses the call.
            TrackerError: The server cannot be reached, denies access, or is no tracking server.
        """
        return self._call("GET", path, {"params": parameters}, self._timeout)

    def probe(self, path: str, timeout: float, **parameters: object) -> None:
        """Ask for something once, within `timeout` seconds; errors are those of `get`."""
        self._call("GET", path, {"params": parameters}, min(timeout, self._timeout), repeat=False)

    def post(self, path: str, body: Mapping[str, object], *, repeat: bool = True) -> dict[str, Any]:
        """Change something; `repeat` tells whether doing it twice is harmless. Errors are those of `get`."""
        return self._call("POST", path, {"json": body}, self._timeout, repeat=repeat)

    def record(self, path: str, body: Mapping[str, object]) -> None:
        """Change something like `post`, but fail at once while the last failure is not `retry_after` old."""
        if self._failure is not None and time.monotonic() < self._silent_until:
            raise self._unreachable(self._failure)
        self.post(path, body)

    def _call(
        self, method: str, path: str, payload: Mapping[str, object], timeout: float, *, repeat: bool = True
    ) -> dict[str, Any]:
        credentials = self._credentials()
        deadline = time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while True:
            cause: MlflowException | None = None
            try:
                response = _send(credentials, method, path, payload, max(deadline - time.monotonic(), 0.1))
            except MlflowException as error:
                cause, failure = error, _innermost(error)
            else:
                if response.status_code not in _BUSY:
                    self._failure = None
                    return self._answer(response, path)
                failure = f"it answers {response.status_code}"
            if not repeat or time.monotonic() + pause >= deadline:
                self._failure = failure
                self._silent_until = time.monotonic() + self._retry_after
                raise self._unreachable(failure) from cause
            time.sleep(pause)
            pause *= 2

    def _credentials(self) -> MlflowHostCreds:
        try:
            credentials: MlflowHostCreds = get_default_host_creds(self.uri)
        except MlflowException as error:
            problem = f"MLflow's own settings for {self.uri} cannot be used: {_one_line(str(error))}"
            raise TrackerError(problem, owner=OWNER, next_step="check the variables MLFLOW_TRACKING_*") from error
        return credentials

    def _answer(self, response: Response, path: str) -> dict[str, Any]:
        if response.status_code in _DENIED:
            problem = f"the MLflow server at {self.uri} denies access ({response.status_code})"
            step = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            raise TrackerError(problem, owner=OWNER, next_step=step)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or not (response.ok or "error_code" in answer):
            problem = f"what answers {response.status_code} at {self.uri} is no MLflow tracking server"
            raise TrackerError(problem, owner=OWNER, next_step="check tracker.mlflow.tracking_uri")
        if response.ok:
            return answer
        problem = f"the MLflow server at {self.uri} refuses {path}: {_one_line(answer.get('message', ''))}"
        refused = RefusedCallError(problem, owner=OWNER)
        refused.code = str(answer["error_code"])
        raise refused

    def _unreachable(self, failure: str) -> TrackerError:
        problem = f"the MLflow server at {self.uri} cannot be reached: {failure}"
        return TrackerError(problem, owner=OWNER, next_step="start it, or check tracker.mlflow.tracking_uri")


def _send(
    credentials: MlflowHostCreds, method: str, path: str, payload: Mapping[str, object], timeout: float
) -> Response:
    response: Response = http_request(
        credentials,
        f"/api/2.0/mlflow/{path}",
        method,
        max_retries=0,
        retry_codes=(),
        raise_on_status=False,
        timeout=timeout,
        **payload,
    )
    return response


def _checked(uri: str) -> str:
    try:
        parts = urlsplit(uri)
        usable = parts.scheme in ("http", "https") and parts.hostname is not None and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        # The address is not shown: what went wrong in it may be a password.
        problem = "the address of the MLflow tracking server is no http:// or https:// address"
        step = "set tracker.mlflow.tracking_uri or MLFLOW_TRACKING_URI; for a local database take the tracker local"
        raise TrackerError(problem, owner=OWNER, next_step=step)
    if "@" in uri:
        problem = "the address of the MLflow tracking server has a user or password in it"
        step = "take them out and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead"
        raise TrackerError(problem, owner=OWNER, next_step=step)
    return uri.rstrip("/")


def _innermost(error: BaseException) -> str:
    """Return the one line among all those that HTTP libraries wrap around it that says what happened."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return _one_line(str(error)) or type(error).__name__


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]
