"""SQLite alone, write-ahead log, `synchronous = NORMAL`: a crash of the machine may cost the last transactions."""

from __future__ import annotations

import functools

from contestants import _raw

LABEL, ORDER = "raw sqlite3, WAL NORMAL", 4
ENVIRONMENT = "mlflow"
CALLS = _raw.CALLS
Tracker = functools.partial(_raw.RawTable, synchronous="NORMAL")
count = _raw.count
