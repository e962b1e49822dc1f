"""The command's exit statuses."""

from __future__ import annotations

import signal

INTERRUPTED = 130
USER_SIGNAL = 128 + getattr(signal, "SIGUSR1", 10)
CLOSED_PIPE = 141
TERMINATED = 143

EXIT_STATUSES = {
    0: "done",
    1: "your own code failed",
    2: "wrong usage",
    3: "configuration or workspace",
    4: "plugin",
    5: "backend",
    6: "data or model",
    7: "training",
    8: "stopped by a hook",
    9: "runs differ",
    INTERRUPTED: "Ctrl-C",
    USER_SIGNAL: "SIGUSR1",
    CLOSED_PIPE: "output closed",
    TERMINATED: "SIGTERM",
}
"""What each exit status means; those of KladML's errors are their classes' `exit_code`."""
