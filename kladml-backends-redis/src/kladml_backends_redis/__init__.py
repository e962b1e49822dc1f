"""KladML's publisher over Redis: a run's events, live, to whoever listens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kladml_backends_redis.publisher import RedisPublisher

__all__ = ["RedisPublisher"]


def __getattr__(name: str) -> Any:
    if name == "RedisPublisher":
        # redis is imported when the class is needed, not with the package.
        from kladml_backends_redis.publisher import RedisPublisher

        return RedisPublisher
    message = f"module '{__name__}' has no attribute '{name}'"
    raise AttributeError(message)
