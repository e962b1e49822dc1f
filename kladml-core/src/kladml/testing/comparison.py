"""Comparing large values: where `CI` is set, pytest takes minutes to explain how they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def difference(found: Sequence[Any], expected: Sequence[Any]) -> str | None:
    """Return where two sequences differ first, or None when they are equal.

    Args:
        found: What a backend gave.
        expected: What it should have given.
    """
    if found == expected:  # at once for the megabytes of a weights file
        return None
    for position, (one, other) in enumerate(zip(found, expected, strict=False)):
        if one != other:
            return f"item {position} is {one!r} instead of {other!r}"
    if len(found) != len(expected):
        return f"there are {len(found)} items instead of {len(expected)}"
    return None
