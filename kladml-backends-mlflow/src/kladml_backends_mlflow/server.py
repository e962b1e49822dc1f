"""Calls of a tracking server's REST API, each of which takes `timeout` seconds at most.

`MlflowClient` repeats a failed call for minutes, and only the process's environment can tell it otherwise; it
also prints to the standard output when a run ends. So the calls of a run are made here, with limits of their
own, through the function that `MlflowClient` itself uses: authentication, certificates and proxies are MLflow's.
To try again is the caller's business.

The API: https://mlflow.org/docs/latest/api_reference/rest-api.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from kladml.errors import TrackerError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlflow.utils.rest_utils import MlflowHostCreds
    from requests import Response

OWNER = "kladml-backends-mlflow"

_DENIED = (401, 403)
_TOO_LARGE = 413
_BUSY = (408, 429, 502, 503, 504)
_FOR_GOOD = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")


class UnreachableServerError(TrackerError):
    """The server does not answer, or is too busy; it may later."""


class RefusedCallError(TrackerError):
    """The server understood the call and refuses it.

    Attributes:
        code: MLflow's error code, such as `RESOURCE_DOES_NOT_EXIST`.
        reason: What the server says about it.
    """

    code = ""
    reason = ""

    @property
    def is_for_good(self) -> bool:
        """Whether the server would refuse the same call again, as it does not like what is in it."""
        return self.code in _FOR_GOOD


class TrackingServer:
    """A tracking server and how long to wait for it.

    Args:
        uri: Its address, `http://` or `https://`, without user and password.
        timeout: Longest time in seconds to wait for an answer.

    Attributes:
        uri: The address, without a slash at its end.
        timeout: Longest time in seconds to wait for an answer.

    Raises:
        TrackerError: The address is no such address, or the timeout is not positive.
    """

    def __init__(self, uri: str, timeout: float) -> None:
        self.uri = _checked(uri)
        if not timeout > 0:
            problem = f"tracker.mlflow.timeout is {timeout} s"
            raise TrackerError(problem, owner=OWNER, next_step="choose more than 0")
        self.timeout = timeout

    def within(self, timeout: float) -> TrackingServer:
        """Return the same server, with at most this much patience."""
        return TrackingServer(self.uri, min(timeout, self.timeout))

    def get(self, path: str, wanted: str | None = None, **parameters: object) -> dict[str, Any]:
        """Ask for something.

        Args:
            path: The call, such as `runs/get`.
            wanted: What every answer to it has, such as `run`.
            parameters: Its arguments.

        Returns:
            The answer.

        Raises:
            RefusedCallError: The server refuses the call.
            UnreachableServerError: The server cannot be reached, or is busy.
            TrackerError: The server denies access, or is no tracking server.
        """
        return self._wanted(self._call("GET", f"mlflow/{path}", {"params": parameters}), wanted)

    def post(
        self, path: str, body: Mapping[str, object], wanted: str | None = None, *, repeatable: bool = True
    ) -> dict[str, Any]:
        """Change something; `repeatable` tells whether doing it twice is harmless. Errors are those of `get`."""
        return self._wanted(self._call("POST", f"mlflow/{path}", {"json": body}, repeatable=repeatable), wanted)

    def upload(self, place: str, file: Path) -> None:
        """Send a file to where the server keeps artifacts.

        The server may hand it on to a slow store before it answers, so it has the time that MLflow gives it:
        `MLFLOW_HTTP_REQUEST_TIMEOUT`, two minutes if not set. Errors are those of `get`.

        Args:
            place: Name in the server's store, with `/`.
            file: The file.

        Raises:
            OSError: The file cannot be read.
        """
        timeout = max(self.timeout, float(MLFLOW_HTTP_REQUEST_TIMEOUT.get()))
        with file.open("rb") as content:
            path = f"mlflow-artifacts/artifacts/{quote(place)}"
            self._call("PUT", path, {"data": content}, timeout=timeout, repeatable=False)

    def _call(
        self,
        method: str,
        path: str,
        payload: Mapping[str, object],
        *,
        timeout: float | None = None,
        repeatable: bool = True,
    ) -> dict[str, Any]:
        credentials = self._credentials()
        try:
            response = _send(credentials, method, path, payload, timeout or self.timeout)
        except MlflowException as error:
            cause = _innermost(error)
            if repeatable and isinstance(cause, ConnectionResetError | BrokenPipeError):
                # A server closes connections that were idle, and may do so just as one is used again.
                return self._call(method, path, payload, timeout=timeout, repeatable=False)
            said = cause.strerror if isinstance(cause, OSError) else None
            raise self._unreachable(_one_line(said or str(cause)) or type(cause).__name__) from error
        if response.status_code in _BUSY:
            failure = f"it answers {response.status_code}"
            raise self._unreachable(failure)
        return self._answer(response, path.removeprefix("mlflow/"))

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
        if response.status_code == _TOO_LARGE:  # a proxy's word, seldom in JSON
            raise self._refused(path, "BAD_REQUEST", "the request is too large (413)")
        if response.ok and response.request.method == "PUT" and not response.content:
            return {}
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or not (response.ok or "error_code" in answer):
            raise self._something_else(response.status_code)
        if response.ok:
            return answer
        raise self._refused(path, str(answer["error_code"]), _one_line(str(answer.get("message", ""))))

    def _wanted(self, answer: dict[str, Any], wanted: str | None) -> dict[str, Any]:
        if wanted is not None and wanted not in answer:
            raise self._something_else(200)
        return answer

    def _something_else(self, status: int) -> TrackerError:
        problem = f"what answers {status} at {self.uri} is no MLflow tracking server"
        return TrackerError(problem, owner=OWNER, next_step="check tracker.mlflow.tracking_uri")

    def _refused(self, path: str, code: str, reason: str) -> RefusedCallError:
        problem = f"the MLflow server at {self.uri} refuses {path}: {reason}"
        refused = RefusedCallError(problem, owner=OWNER)
        refused.code, refused.reason = code, reason
        return refused

    def _unreachable(self, failure: str) -> UnreachableServerError:
        problem = f"the MLflow server at {self.uri} cannot be reached: {failure}"
        return UnreachableServerError(problem, owner=OWNER, next_step="start it, or check tracker.mlflow.tracking_uri")


def _send(
    credentials: MlflowHostCreds, method: str, path: str, payload: Mapping[str, object], timeout: float
) -> Response:
    response: Response = http_request(
        credentials,
        f"/api/2.0/{path}",
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


def _innermost(error: BaseException) -> BaseException:
    """Return the one among all the errors that HTTP libraries wrap around it that says what happened."""
    while True:
        wrapped = [arg for arg in error.args if isinstance(arg, BaseException)]
        inner = error.__cause__ or error.__context__ or (wrapped[-1] if wrapped else None)
        if inner is None:
            return error
        error = inner


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]
