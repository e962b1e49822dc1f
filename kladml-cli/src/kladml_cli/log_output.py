"""What KladML logs, on standard error: short lines for people, or JSON lines for collectors."""

from __future__ import annotations

import json
import logging
import os
import sys
import textwrap
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from kladml_cli.terminal import printable, wants_colour, width

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

FORMAT_VARIABLE = "KLADML_LOG_FORMAT"
FORMATS = ("lines", "json")

LOGGERS = (
    "kladml",
    "kladml_backends_aws",
    "kladml_backends_console",
    "kladml_backends_local",
    "kladml_backends_mlflow",
    "kladml_backends_redis",
    "kladml_cli",
)
"""The packages of KladML's own distributions; other loggers are left to whoever they belong to."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_SHORT = frozenset({"run", "rank"})
"""What a line for people does not repeat: the run's first line names it, and the others are of the same one."""


@contextmanager
def log_to_stderr(level: int) -> Iterator[None]:
    """Show what KladML logs for as long as the context lasts, and leave logging as it was.

    Args:
        level: The least level that is shown.
    """
    handler = _StderrHandler()
    handler.setFormatter(JsonFormatter() if is_json() else LineFormatter(sys.stderr))
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    set_log_level(level)
    try:
        yield
    finally:
        for logger, (old_level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(old_level)
            logger.propagate = propagate


def check_format() -> None:
    """Refuse a format of log lines that there is not.

    Raises:
        ConfigError: The variable names another one.
    """
    name = os.environ.get(FORMAT_VARIABLE)
    if name and name not in FORMATS:
        from kladml.errors import ConfigError

        problem = f"${FORMAT_VARIABLE} must be {' or '.join(FORMATS)}, not {name!r}"
        raise ConfigError(problem, next_step=f"set it to one of them, or unset it, which means {FORMATS[0]}")


def is_json() -> bool:
    """Tell whether standard error is read by a collector of log lines, not by people."""
    return os.environ.get(FORMAT_VARIABLE) == "json"


def json_line(level: int, message: str, **facts: Any) -> str:
    """Return what a command says itself as a log line in JSON.

    Args:
        level: Level of the line.
        message: What is said.
        facts: What else the line holds.
    """
    line = {"name": "kladml_cli", "levelno": level, "levelname": logging.getLevelName(level), "msg": message}
    return JsonFormatter().format(logging.makeLogRecord({**line, **facts}))


def set_log_level(level: int) -> None:
    """Change the least level that is shown."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(level)


class LineFormatter(logging.Formatter):
    """One short line a message: dim on a terminal, and a warning says that it is one.

    Args:
        stream: Where the lines go in the end; a progress bar may stand between.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._wraps = stream.isatty()
        self._wants_colour = wants_colour(stream)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, wrapped to a terminal's width."""
        prefix = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        facts = "".join(f" {name}={value}" for name, value in _facts(record).items() if name not in _SHORT)
        text = f"{prefix}{record.getMessage()}{facts}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        text = printable(text, kept="\n\t")
        if self._wraps:
            text = "\n".join(_wrapped(line) for line in text.splitlines())
        if not self._wants_colour:
            return text
        return click.style(text, fg="yellow") if record.levelno >= logging.WARNING else click.style(text, dim=True)


def _wrapped(line: str) -> str:
    return textwrap.fill(line, width(), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


class JsonFormatter(logging.Formatter):
    """One JSON object a message: `time`, `level`, `logger`, `message`, and what else the record holds."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class _StderrHandler(logging.Handler):
    """Writes to what `sys.stderr` is at that moment: a progress bar puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.format(record)}\n")
        except Exception:  # noqa: BLE001 - logging must not end a run
            self.handleError(record)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    """Return the key-value pairs that the message was logged with."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
