"""Signals that ask a training to stop."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name))
"""Signals after which a training saves a checkpoint and stops; SIGUSR1 is what SLURM sends before its time limit."""


class Interruption:
    """Remembers the first signal that asked the training to stop.

    Attributes:
        signal_number: The signal, or 0.
    """

    def __init__(self) -> None:
        self.signal_number = 0
        self._interrupted = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Remember signals meanwhile instead of what they did before; a second Ctrl-C does that at once.

        Outside the main thread, which alone gets signals, nothing changes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._remember) for number in SIGNALS}
        self._before_interrupt = before[signal.SIGINT]
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _remember(self, number: int, frame: Any) -> None:
        if number == signal.SIGINT and self._interrupted:
            handler = self._before_interrupt
            signal.signal(signal.SIGINT, signal.SIG_DFL if handler is None else handler)
            if callable(handler):
                handler(number, frame)
            raise KeyboardInterrupt
        self._interrupted = self._interrupted or number == signal.SIGINT
        self.signal_number = self.signal_number or number


def name_of(signal_number: int) -> str:
    """Return a signal's name, such as `SIGTERM`."""
    return signal.Signals(signal_number).name
