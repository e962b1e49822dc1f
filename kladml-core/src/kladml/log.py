"""Loggers: structlog's calls on top of the standard library's logging, which the application configures."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger


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
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=False,
    )
    return logger


def get_logger(name: str) -> BoundLogger:
    """Return a structlog logger that hands its messages to `logging.getLogger(name)`.

    Key-value pairs become attributes of the log record, where a handler or formatter can find them; nothing
    global is configured here.
    """
    return _LazyLogger(name)  # type: ignore[return-value]
