"""Receiving what runs publish on a Redis channel."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from kladml.errors import PublisherError
from kladml.interfaces import Listener
from kladml_backends_redis.settings import OWNER

if TYPE_CHECKING:
    import redis

_SUBSCRIBING = 3.0


class RedisListener(Listener):
    """Receives the messages of one channel.

    Args:
        client: A connection of its own, which is closed with the listener.
        channel: Name of the channel.
        server: The server as errors name it.

    Raises:
        PublisherError: The server cannot be reached or denies access.
    """

    def __init__(self, client: redis.Redis, channel: str, server: str) -> None:
        self._client = client
        self._server = server
        self._subscription: Any = client.pubsub()  # type: ignore[no-untyped-call]
        try:
            self._subscribe(channel)
        except BaseException:
            self.close()
            raise

    def next(self, timeout: float) -> dict[str, Any] | None:
        """Return the next message that is a JSON object, or None if there is none within so many seconds.

        Raises:
            PublisherError: The connection was lost.
        """
        found = self._receive(timeout, "message")
        return None if found is None else dict(found)

    def close(self) -> None:
        """Close the connection."""
        with suppress(RedisError, OSError):
            self._subscription.close()
        with suppress(RedisError, OSError):
            self._client.close()

    def _subscribe(self, channel: str) -> None:
        try:
            self._subscription.subscribe(channel)
        except (RedisError, OSError, ValueError) as error:
            raise self._failed(str(error)) from error
        # What is published before the server has confirmed would be lost unseen.
        if self._receive(_SUBSCRIBING, "subscribe") is None:
            reason = "it does not answer in time"
            raise self._failed(reason)

    def _receive(self, timeout: float, kind: str) -> dict[str, Any] | None:
        until = time.monotonic() + timeout
        while True:
            left = max(until - time.monotonic(), 0.0)
            try:
                received = self._subscription.get_message(timeout=left)
            except (RedisError, OSError, ValueError) as error:
                raise self._failed(str(error)) from error
            if received is not None and received["type"] == kind:
                content = received if kind != "message" else _decoded(received["data"])
                if content is not None:
                    return content
            if received is None and left == 0.0:
                return None

    def _failed(self, why: str) -> PublisherError:
        problem = f"nothing can be received from the Redis server at {self._server}: {why}"
        return PublisherError(problem, owner=OWNER, next_step="start it, or set publisher.redis.url")


def _decoded(data: bytes) -> dict[str, Any] | None:
    """Return a message; None for what is none of a run's: anybody may publish on a channel."""
    try:
        content = json.loads(data)
    except ValueError:
        return None
    return content if isinstance(content, dict) and "event" in content else None
