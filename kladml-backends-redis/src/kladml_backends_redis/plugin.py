"""The plugin `redis` of kind publisher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kladml.plugins import hookimpl

if TYPE_CHECKING:
    from kladml.interfaces import PublisherInterface


@hookimpl
def kladml_register_publisher() -> type[PublisherInterface]:
    """Return the Redis publisher."""
    from kladml_backends_redis.publisher import RedisPublisher

    return RedisPublisher
