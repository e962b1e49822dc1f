"""Numbers as MLflow keeps them in a database."""

from __future__ import annotations

import math
import sys


def stored_number(value: float) -> tuple[float, int]:
    """Return a number as MLflow stores it, and whether (1 or 0) it stands for NaN."""
    if math.isnan(value):
        return 0.0, 1
    if math.isinf(value):
        return math.copysign(1.7976931348623157e308, value), 0
    return value, 0


def restored_number(value: float, is_nan: int) -> float:
    """Return the number that `stored_number` stands for."""
    if is_nan:
        return math.nan
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value
