"""A run's events on a Redis channel."""

from __future__ import annotations

import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Overdue
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.exceptions import TimeoutError as NoAnswer
from redis.retry import Retry

from kladml.errors import PublisherError
from kladml.interfaces import PublisherInterface
from kladml_backends_redis.listener import RedisListener
from kladml_backends_redis.messages import encode
from kladml_backends_redis.settings import OWNER, PASSWORD_VARIABLE, RedisSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

_START = "start it, or set publisher.redis.url"
_DATABASE = re.compile(r"(/\d*)?")
_CHECK_TIMEOUT = 3.0
"""Seconds that the preflight may take; no training waits for it."""


class RedisPublisher(PublisherInterface):
    """Publishes a run's events with PUBLISH, one JSON object each.

    ```python
    publisher = RedisPublisher("redis://127.0.0.1:6379/0")
    publisher.publish("kladml:default/default/digits@3", {"event": "step", "loss": 0.25})
    ```

    A call takes `timeout` at most, whatever the server or the name service does: it waits that long for a
    thread that does the talking. After a failure, messages are dropped at once for `retry_after` seconds, and as
    long as that thread is stuck. Subscribers get the messages in order, but none from before they subscribed.

    Args:
        url: Address of the server: `redis://[user@]host:port/db`, `rediss://` for TLS, `unix://path`. The
            password comes from the environment variable `KLADML_REDIS_PASSWORD`.
        timeout: Longest time in seconds, below 1, that a call may take.
        retry_after: Seconds after a failure in which the server is left alone.

    Raises:
        PublisherError: The address is malformed or has a password in it, or the timeout is out of range.
    """

    api_version = 1
    settings_class: ClassVar[type[Any]] = RedisSettings
    capabilities: ClassVar[frozenset[str]] = frozenset({"listen"})

    def __init__(self, url: str = "redis://127.0.0.1:6379/0", timeout: float = 0.5, retry_after: float = 5.0) -> None:
        if not 0 < timeout < 1:
            problem = f"publisher.redis.timeout is {timeout} s"
            raise PublisherError(problem, owner=OWNER, next_step="choose more than 0 and less than 1")
        self._server = _checked_server(url)
        self._url = url
        self._client = _new_client(url, timeout)
        self._timeout = timeout
        self._retry_after = retry_after
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kladml-redis")
        self._stuck: Future[Any] | None = None
        self._failure: tuple[str, str | None] | None = None
        self._silent_until = 0.0

    def publish(self, channel: str, message: Mapping[str, Any]) -> None:
        """Send one message and wait until the server has it, no longer than `timeout`.

        Args:
            channel: Name of the Redis channel.
            message: A JSON-able mapping; NaN and infinities are sent as the strings `"NaN"`, `"Infinity"` and
                `"-Infinity"`.

        Raises:
            PublisherError: The message is not JSON-able, the server does not take it, or it failed less than
                `retry_after` ago.
        """
        try:
            payload = encode(message)
        except (TypeError, ValueError) as error:
            problem = f"a message for '{channel}' cannot be written as JSON: {error}"
            raise PublisherError(problem, owner=OWNER) from error
        if self._failure is not None and (self._is_stuck() or time.monotonic() < self._silent_until):
            problem, step = self._failure
            raise PublisherError(problem, owner=OWNER, next_step=step)
        try:
            self._call(lambda: self._client.publish(channel, payload), self._timeout)
        except PublisherError as error:
            self._failure = (error.problem, error.next_step)
            self._silent_until = time.monotonic() + self._retry_after
            raise

    def listen(self, channel: str) -> RedisListener:
        """Subscribe to a channel, over a connection of its own.

        Raises:
            PublisherError: The server cannot be reached or denies access.
        """
        return RedisListener(_new_client(self._url, _CHECK_TIMEOUT), channel, self._server)

    def check(self) -> None:
        """Prove that the server answers and accepts the password, within 3 s.

        Raises:
            PublisherError: It does not.
        """
        self._call(self._client.ping, _CHECK_TIMEOUT)

    def close(self) -> None:
        """Close the connection; messages can no longer be published."""
        # Refused if it was closed before; late if the thread is stuck; needless if the connection is gone.
        with suppress(RuntimeError, Overdue, RedisError):
            # By the thread, as it may be using the connection.
            self._thread.submit(self._client.close).result(self._timeout)
        self._thread.shutdown(wait=False)

    def _is_stuck(self) -> bool:
        return self._stuck is not None and not self._stuck.done()

    def _call(self, send: Callable[[], Any], timeout: float) -> None:
        """Let the thread send something, and wait for it."""
        try:
            future = self._thread.submit(send)
        except RuntimeError as error:
            problem = "the publisher redis is closed"
            raise PublisherError(problem, owner=OWNER) from error
        server = f"the Redis server at {self._server}"
        try:
            future.result(timeout)
        except (Overdue, NoAnswer) as error:
            if not future.cancel():
                self._stuck = future
            problem = f"{server} does not answer in time"
            raise PublisherError(problem, owner=OWNER, next_step=_START) from error
        except (AuthenticationError, NoPermissionError) as error:
            problem = f"{server} denies access: {error}"
            step = f"set the password in {PASSWORD_VARIABLE} and the user in publisher.redis.url"
            raise PublisherError(problem, owner=OWNER, next_step=step) from error
        except (RedisError, OSError, ValueError) as error:
            problem = f"{server} cannot be used: {error}"
            raise PublisherError(problem, owner=OWNER, next_step=_START) from error


def _new_client(url: str, timeout: float) -> redis.Redis:
    return redis.Redis.from_url(
        url,
        password=os.environ.get(PASSWORD_VARIABLE) or None,
        socket_connect_timeout=timeout,
        socket_timeout=timeout,
        # A message that is late is worth less than a run that goes on.
        retry=Retry(NoBackoff(), 0),
        # PUBLISH needs nothing newer, and every server knows it without a question first.
        protocol=2,
    )


def _checked_server(url: str) -> str:
    """Return the server as errors name it; the address itself may hold what nobody should see."""
    try:
        parts = urlsplit(url)
        host, port, password = parts.hostname, parts.port, parts.password
    except ValueError:
        raise _malformed() from None  # its text has the address in it
    if password is not None:
        problem = "publisher.redis.url has a password in it"
        step = f"take it out and set the environment variable {PASSWORD_VARIABLE}"
        raise PublisherError(problem, owner=OWNER, next_step=step)
    if parts.query or parts.fragment:
        raise _malformed()
    if parts.scheme == "unix" and parts.path:
        return parts.path
    if parts.scheme in ("redis", "rediss") and host and _DATABASE.fullmatch(parts.path):
        return f"{host}:{port or 6379}"
    raise _malformed()


def _malformed() -> PublisherError:
    problem = "publisher.redis.url is no address of a Redis server"
    step = f"write redis://[user@]host:port/db; a password belongs into {PASSWORD_VARIABLE}"
    return PublisherError(problem, owner=OWNER, next_step=step)
