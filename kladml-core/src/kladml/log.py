"""Loggers: structlog's calls on top of the standard library's logging, which the application configures.

While a run is under way, every message says of which: its record has the attribute `run`, and `rank` where several
processes train together. A thread that works for a run is started with `contextvars.copy_context().run` as its target,
so that its messages say so, too.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

    from structlog.stdlib import BoundLogger

# The dictionary itself goes along into threads: those of trackers begin before the run has its address.
_FACTS: ContextVar[dict[str, Any] | None] = ContextVar("kladml.log.facts", default=None)


class _LazyLogger:
    """Imports structlog at the first message, so that importing KladML stays quick."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._logger: BoundLogger | None = None

    def __getattr__(self, method: str) -> Any:
        if self._logger is None:
            self._logger = _build(self._name)
        return getattr(self._logger, method)


def _build(name: str) -> BoundLogger:
    import structlog

    logger: BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[structlog.stdlib.filter_by_level, add_run, structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=False,
    )
    return logger


def get_logger(name: str) -> BoundLogger:
    """Return a structlog logger that hands its messages to `logging.getLogger(name)`.

    Key-value pairs become attributes of the log record, where a handler or formatter can find them, and so do `run`
    and `rank` while a run is under way; nothing global is configured here.
    """
    return _LazyLogger(name)  # type: ignore[return-value]


@contextmanager
def log_of_run() -> Iterator[None]:
    """Let what is logged in the block, and in threads that it starts, say what `bind_to_log` is told in it.

    A run inside a run has facts of its own, and so do runs in several threads.
    """
    token = _FACTS.set({})
    try:
        yield
    finally:
        _FACTS.reset(token)


def bind_to_log(**facts: Any) -> None:
    """Add what every message says from now on, until the block of `log_of_run` ends; nothing outside of one."""
    current = _FACTS.get()
    if current is not None:
        current.update(facts)


def add_run(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add `run` and `rank` to an event, as one of structlog's processors; also for loggers of your own.

    What the event says itself stays.
    """
    for name, value in (_FACTS.get() or {}).items():
        event.setdefault(name, value)
    return event
