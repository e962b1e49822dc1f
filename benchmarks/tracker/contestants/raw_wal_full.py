"""SQLite alone, write-ahead log, `synchronous = FULL`: a transaction survives a crash of the machine."""

from __future__ import annotations

import functools

from contestants import _raw

LABEL, ORDER = "raw sqlite3, WAL FULL", 5
ENVIRONMENT = "mlflow"
CALLS = _raw.CALLS
Tracker = functools.partial(_raw.RawTable, synchronous="FULL")
count = _raw.count
