"""The settings of the Redis publisher."""

from __future__ import annotations

from dataclasses import dataclass, field

OWNER = "kladml-backends-redis"
PASSWORD_VARIABLE = "KLADML_REDIS_PASSWORD"  # noqa: S105 - the name of the variable


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Settings of the publisher `redis`.

    The password is no setting: the environment variable `KLADML_REDIS_PASSWORD` has it.
    """

    url: str = field(
        default="redis://127.0.0.1:6379/0",
        metadata={"doc": "Address of the server: redis://[user@]host:port/db, rediss:// for TLS, or unix://path."},
    )
    timeout: float = field(
        default=0.5,
        metadata={"doc": "Longest time in seconds, below 1, that publishing a message may hold up a run."},
    )
    retry_after: float = field(
        default=5.0,
        metadata={"doc": "Seconds after a failure in which messages are dropped without asking the server again."},
    )
