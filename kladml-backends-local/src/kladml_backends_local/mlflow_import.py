"""Using MLflow without its side effects: no telemetry, no warnings, no lines on the terminal."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TELEMETRY_SWITCH = "MLFLOW_DISABLE_TELEMETRY"


@contextmanager
def quiet_import() -> Iterator[None]:
    """Import and open MLflow inside of this block.

    MLflow decides at its import whether it sends telemetry, and then gives the machine an identifier in the
    user's home. The switch is set while the block lasts, and not left in the environment, which child
    processes would inherit.

    Warnings of MLflow, SQLAlchemy and Alembic about one another are no business of the user's.
    """
    before = os.environ.get(_TELEMETRY_SWITCH)
    os.environ[_TELEMETRY_SWITCH] = "true"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with quiet():
                yield
    finally:
        if before is None:
            del os.environ[_TELEMETRY_SWITCH]
        else:
            os.environ[_TELEMETRY_SWITCH] = before


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the log lines that MLflow and Alembic write in this thread off the terminal.

    What went wrong reaches the user as an error of KladML; nobody needs the traceback that MLflow logs
    before it raises.
    """
    from mlflow.utils.logging_utils import suppress_logs_in_thread

    with suppress_logs_in_thread():
        yield
