"""What a metric's name, value and step may be."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from kladml.errors import TrackerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def check_text(name: Any) -> None:
    """Refuse a name that is no text.

    Raises:
        TrackerError: It is not.
    """
    if not isinstance(name, str):
        problem = f"the name {name!r} of a metric is no text but a {type(name).__name__}"
        raise TrackerError(problem, next_step="name metrics with a str")


def packed(pack: Callable[..., bytes], number: int, nanoseconds: int, step: Any, metrics: Mapping[str, Any]) -> bytes:
    """Return metrics as the bytes of a record.

    Args:
        pack: Packs a number, a time, a step and the values.
        number: The number of their keys.
        nanoseconds: Their time.
        step: Their step; one that was counted with a float, such as 3.0, is whole.
        metrics: The metrics.

    Raises:
        TrackerError: Something is no number; names what.
    """
    try:
        return pack(number, nanoseconds, step or 0, *metrics.values())
    except (struct.error, TypeError, ValueError, OverflowError) as error:
        if isinstance(step, float) and step.is_integer():
            return packed(pack, number, nanoseconds, int(step), metrics)
        raise _no_number(metrics, step, nanoseconds) from error


def _no_number(metrics: Mapping[str, Any], step: Any, nanoseconds: Any) -> TrackerError:
    """Return the error for metrics that cannot be packed, which names what is wrong.

    Args:
        metrics: The metrics.
        step: Their step.
        nanoseconds: Their time.
    """
    for key, value in metrics.items():
        if not _fits("<d", value):
            kind = type(value).__name__
            text = "whole number of more than 1,024 bits" if isinstance(value, int) else kind
            problem = f"the metric '{key}' is no number but a {text}"
            return TrackerError(problem, next_step="log numbers, such as loss.item()")
    if not _fits("<q", step or 0):
        problem = f"the step {step!r} of {', '.join(metrics)} is no whole number of 64 bits"
        return TrackerError(problem, next_step="count steps with an int")
    problem = f"the time {nanoseconds!r} of {', '.join(metrics)} is no number of nanoseconds"
    return TrackerError(problem, next_step="give whole milliseconds since 1970")


def _fits(layout: str, value: Any) -> bool:
    try:
        struct.pack(layout, value)
    except Exception:  # noqa: BLE001 - whatever a value of the user's raises
        return False
    return True
