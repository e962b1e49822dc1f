"""Messages as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any


def encode(message: Mapping[str, Any]) -> bytes:
    """Return a message as one JSON object in UTF-8.

    JSON has no NaN and no infinities; they become the strings `"NaN"`, `"Infinity"` and `"-Infinity"`, as in the
    JSON mapping of Protocol Buffers. `float()` in Python and `Number()` in JavaScript read them back. Numbers of
    other libraries, such as NumPy's, become JSON numbers.

    Raises:
        TypeError: Something in the message is not JSON-able.
        ValueError: A text has no UTF-8 form, or the message contains itself.
    """
    try:
        text = json.dumps(_plain(message), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except RecursionError as error:
        problem = "it contains itself"
        raise ValueError(problem) from error
    return text.encode()


def _plain(value: Any) -> Any:
    """Return a value with JSON's own types inside; what has none is left for `json` to refuse."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    return _plain_real(float(value)) if isinstance(value, Real) else value


def _plain_real(value: float) -> float | str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value
